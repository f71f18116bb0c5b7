"""How an arm answers: what goes together, what it is called in the results, and who can do it."""

import pytest

from understudy.core.asks import Decoding
from understudy.core.errors import StudyError
from understudy.studies.options import Decode
from understudy.studies.study import load_study

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
        ({"votes": 8, "weighted": True}, Decoding(0.7), "weighted vote of 8 at T=0.7"),
    ],
)
def test_what_is_asked_for_and_what_it_is_called(options, decoding, label):
    made = Decode(**options)
    assert (made.decoding, made.label) == (decoding, label)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 0}, "beams = 0: at least 1"),
        ({"beams": 4, "votes": 2}, "beams = 4 with T=0.7, votes = 2"),
        ({"beams": 4, "temperature": 0.5}, "beams = 4 with T=0.5, votes = 1"),
        ({"beams": 4, "top_p": 0.5}, "beams = 4 with T=0 top_p=0.5, votes = 1"),
    ],
)
def test_what_does_not_go_together_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        Decode(**options)


@pytest.mark.parametrize("setting", ["beams=2"])
def test_only_a_model_on_this_machine_can_be_asked_for_it(tmp_path, setting):
    (tmp_path / "s.toml").write_text(STUDY)
    endpoint = ["teacher.engine=endpoint", "teacher.url=http://localhost:1/v1", "teacher.model=m"]
    for teacher in ([], endpoint):
        with pytest.raises(StudyError, match=rf"arms\['a'\].decode.{setting.partition('=')[0]} = .*only models on this machine"):
            load_study(tmp_path / "s.toml", [*teacher, f"arms.0.decode.{setting}"])
    local = ["teacher.engine=transformers", "teacher.checkpoint=nowhere", f"arms.0.decode.{setting}"]
    assert load_study(tmp_path / "s.toml", local).arms[0].decode.beams == 2
