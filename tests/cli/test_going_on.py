"""Adding data later: a second study goes on from the student of the first one, and gains by it."""

import json

from command import understudy

FIRST = """
[study]
name = "first"
[task]
name = "diary"
train = 80
dev = 8
test = 8
longer_test = 0
max_steps = 2
[teacher]
samples = 2
slip = 0.0
misread = 0.0
[student]
hidden = 32
layers = 1
heads = 2
[training]
steps = 60
batch_size = 16
checks = 1
[[arms]]
name = "a"
method = "scotd"
"""
MORE = """
[[arms]]
name = "more"
method = "scotd"
student = { checkpoint = "runs/first/students/a" }
[[arms]]
name = "adapted"
method = "scotd"
student = { checkpoint = "runs/first/students/a", lora = { rank = 4 } }
[[arms]]
name = "other"
method = "answer_only"
student = { checkpoint = "runs/first/students/a" }
"""


def test_a_second_study_goes_on_from_the_student_of_the_first_and_gains(tmp_path):
    (tmp_path / "first.toml").write_text(FIRST)
    first = understudy("run", "first.toml", cwd=tmp_path)
    assert first.code == 0, first.out + first.err
    second = FIRST.replace('"first"', '"second"').replace("train = 80", "train = 160").replace("steps = 60", "steps = 20")
    (tmp_path / "second.toml").write_text(second.replace('name = "diary"', 'name = "diary"\n') + MORE)
    dry = understudy("run", "second.toml", "--dry-run", cwd=tmp_path)
    assert "MiB at 512 tokens, 16 at once" in dry.out, dry.out + dry.err
    ran = understudy("train", "second.toml", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    assert "trained by scotd, by answer_only now" in ran.out
    losses = {}
    for path in (tmp_path / "runs" / "second" / "stages").glob("student-*"):
        label = json.loads((path / "manifest.json").read_text())["label"]
        losses[label] = [loss for _, loss in json.loads((path / "curve.json").read_text())["losses"]]
    assert losses["more"][0] < 0.6 * losses["a"][0], "it begins where the first one ended"
    assert losses["more"][-1] < losses["a"][-1]
    assert losses["adapted"][0] < 0.6 * losses["a"][0]
