"""How an arm answers: what goes together, what it is called in the results, and who can do it."""

import pytest

from understudy.core.asks import Decoding
from understudy.core.errors import StudyError
from understudy.studies.load import load_study
from understudy.studies.options import Decode
from understudy.studies.schema import build

STUDY = """
[study]
name = "s"
[task]
name = "diary"
[[arms]]
name = "a"
method = "few_shot"
model = "teacher"
"""


@pytest.mark.parametrize(
    ("options", "decoding", "label"),
    [
        ({}, Decoding(), "greedy"),
        ({"beams": 4}, Decoding(beams=4), "beam search, 4 beams"),
        ({"calculator": True}, Decoding(calculator=True), "greedy, calculator"),
        ({"votes": 4, "calculator": True}, Decoding(0.7, calculator=True), "vote of 4 at T=0.7, calculator"),
        ({"temperature": 0.3}, Decoding(0.3), "T=0.3"),
        ({"votes": 2, "top_p": 0.9}, Decoding(0.7, 0.9), "vote of 2 at T=0.7 top_p=0.9"),
        ({"votes": 8, "weighted": True}, Decoding(0.7), "weighted vote of 8 at T=0.7"),
    ],
)
def test_what_is_asked_for_and_what_it_is_called(options, decoding, label):
    made = Decode(**options)
    assert (made.decoding, made.label) == (decoding, label)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 0}, "decode.beams = 0: input should be greater than or equal to 1"),
        ({"beams": 4, "votes": 2}, "beams = 4 with T=0.7, votes = 2"),
        ({"beams": 4, "temperature": 0.5}, "beams = 4 with T=0.5, votes = 1"),
        ({"beams": 4, "top_p": 0.5}, "beams = 4 with T=0 top_p=0.5, votes = 1"),
        ({"beams": 4, "calculator": True}, "beams = 4 with calculator = true"),
    ],
)
def test_what_does_not_go_together_is_named(options, says):
    with pytest.raises(StudyError, match=says):
        build(Decode, options, "decode")


ENDPOINT = ["teacher.engine=endpoint", "teacher.url=http://localhost:1/v1", "teacher.model=m"]
CHECKPOINT = ["teacher.engine=transformers", "teacher.checkpoint=nowhere"]


@pytest.mark.parametrize(
    ("teacher", "setting", "can"),
    [
        ([], "beams=2", False),
        (ENDPOINT, "beams=2", False),
        (CHECKPOINT, "beams=2", True),
        ([], "calculator=true", False),
        (ENDPOINT, "calculator=true", False),
        (CHECKPOINT, "calculator=true", True),
    ],
)
def test_a_teacher_that_cannot_do_it_is_refused_before_it_is_asked(tmp_path, teacher, setting, can):
    (tmp_path / "s.toml").write_text(STUDY)
    options = [*teacher, f"arms.0.decode.{setting}"]
    if can:
        assert load_study(tmp_path / "s.toml", options).arms[0].decode != Decode()
    else:
        with pytest.raises(StudyError, match=rf"arms\['a'\].decode.{setting.partition('=')[0]} = .*: only models on this machine"):
            load_study(tmp_path / "s.toml", options)
