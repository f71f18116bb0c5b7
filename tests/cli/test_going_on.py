"""Adding data later: a second study goes on from the student of the first one, and gains by it."""

import json

from command import understudy

from understudy.pipeline.stages.student import read_learned

FIRST = """
[study]
seeds = 1
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
precision = "float32"
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
    second = (
        FIRST.replace('"first"', '"second"')
        .replace("train = 80", "train = 160")
        .replace("steps = 60", "steps = 20")
        .replace("checks = 1", "checks = 2")
    )
    (tmp_path / "second.toml").write_text(second.replace('name = "diary"', 'name = "diary"\n') + MORE)
    dry = understudy("run", "second.toml", "--dry-run", cwd=tmp_path)
    assert "MiB at 512 tokens, 8 at once" in dry.out, dry.out + dry.err
    ran = understudy("train", "second.toml", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    assert "trained by scotd; now it is trained by answer_only" in ran.out
    losses, learned = {}, {}
    for path in (tmp_path / "runs" / "second" / "stages").glob("student-*"):
        label = json.loads((path / "manifest.json").read_text())["label"]
        learned[label] = read_learned(str(path / "student"))
        losses[label] = [loss for _, loss in json.loads((path / "curve.json").read_text())["losses"]]
    assert losses["more"][0] < 0.6 * losses["a"][0], "it begins where the first one ended"
    assert losses["more"][-1] < losses["a"][-1]
    assert losses["adapted"][0] < 0.6 * losses["a"][0]
    before = read_learned(str(tmp_path / "runs" / "first" / "students" / "a"))
    assert (len(before), len(learned["a"])) == (80, 168), "what it learned, and the dev questions that it was chosen by"
    assert learned["more"] == learned["adapted"] == learned["other"] == learned["a"] | before, "what they learned, and their start"


def test_a_study_that_was_moved_has_nothing_to_do_but_to_make_damaged_files_again(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "first.toml").write_text(FIRST.replace("steps = 60", "steps = 4"))
    assert understudy("train", "first.toml", cwd=here).code == 0
    here.rename(there)
    checked = understudy("check", "first.toml", cwd=there).out
    assert "0 stages to do" in checked and "maj@2, pass@2" in checked and "effective chains per problem" in checked, checked
    assert "held-out question" in checked, "whether questions of the test are near ones that are learned from"
    again = understudy("train", "first.toml", cwd=there)
    assert "0 stages to do" in again.out, again.out + again.err
    stages = there / "runs" / "first" / "stages"
    (chains,) = stages.glob("chains-*/chains.parquet")
    (weights,) = stages.glob("student-*/student/model.safetensors")
    (manifest,) = stages.glob("selection-*/manifest.json")
    before = chains.read_bytes(), weights.read_bytes()
    chains.write_bytes(before[0][:-1])
    weights.write_bytes(before[1][:5000] + bytes([before[1][5000] ^ 1]) + before[1][5001:])
    manifest.write_text("{")
    assert "chains.parquet: is damaged" in understudy("export", "runs/first", "--to", "c.jsonl", "--format", "jsonl", cwd=there).err
    mended = understudy("train", "first.toml", cwd=there)
    assert mended.code == 0 and "1 stage to do" in mended.out and "2 stages to do" in mended.out, mended.out + mended.err
    for name in ("chains.parquet: is damaged", "model.safetensors: is damaged", "manifest.json: not JSON"):
        assert name in mended.out.replace("\n", ""), mended.out
    assert (chains.read_bytes(), weights.read_bytes()) == before
