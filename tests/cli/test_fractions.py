"""Nested parts of the training problems: the same ones for every method, with every seed."""

import json
import re

from command import understudy

STUDY = """
[study]
name = "s"
seeds = 2
[task]
name = "diary"
train = 40
dev = 8
test = 8
longer_test = 8
[teacher]
samples = 2
[student]
hidden = 32
layers = 1
heads = 2
[training]
steps = 1
batch_size = 4
checks = 1
[evaluation]
dev_problems = 2
"""
ARMS = [("scotd", 0.1), ("scotd", 0.3), ("scotd", 1.0), ("answer_only", 0.3)]


def summaries(run, kind):
    found = [(path.parent, json.loads(path.read_text())) for path in run.glob(f"stages/{kind}-*/manifest.json")]
    return {manifest["label"]: (where, manifest["summary"]) for where, manifest in found}


def test_smaller_fractions_are_inside_larger_ones_for_every_method_and_seed_and_words_are_shared(tmp_path):
    arms = [f'[[arms]]\nname = "{method} {part}"\nmethod = "{method}"\nfraction = {part}\n' for method, part in ARMS]
    (tmp_path / "s.toml").write_text(STUDY + "".join(arms))
    ran = understudy("train", "s.toml", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    run = tmp_path / "runs" / "s"
    selected = summaries(run, "selection")
    parts = {label: set(json.loads((where / "problems.json").read_text())) for label, (where, _) in selected.items()}
    assert [len(parts[f"scotd {part}"]) for part in (0.1, 0.3, 1.0)] == [4, 12, 40]
    assert parts["scotd 0.1"] < parts["scotd 0.3"] < parts["scotd 1.0"]
    assert selected["scotd 0.1"][1]["dropped"]["not in the fraction"] == 72
    assert selected["scotd 0.1"][1]["problems"] == 4
    assert "answer_only 0.3" not in selected, "the arms of one fraction share their selection"
    students = summaries(run, "student")
    assert len(students) == 8
    for seed in (0, 1):
        assert students[f"answer_only 0.3, seed {seed}"][1]["problems"] == 12, "gold labels, too"
        seen = json.loads((students[f"scotd 0.1, seed {seed}"][0] / "seen.json").read_text())
        assert {row["problem"] for row in seen["shown"]} <= parts["scotd 0.1"]
    assert len({student["vocabulary"] for _, student in students.values()}) == 1
    to = ("--to", "gold.jsonl", "--format", "messages", "--no-terms", "--arm", "answer_only 0.3", "--what", "examples", "--json")
    # an arm's examples are exported of a finished run
    assert understudy("run", "s.toml", cwd=tmp_path).code == 0
    assert json.loads(understudy("export", "runs/s", *to, cwd=tmp_path).out)["examples"] == 12
    notes = json.loads((run / "results.json").read_text())["notes"]
    assert any(re.fullmatch(r"Learned from 4 of the training problems \(fraction 0.1\): .*scotd 0.1.*", note) for note in notes), (
        notes
    )


def test_a_fraction_that_is_none_is_named(tmp_path):
    for value in ("0.0", "1.5", "-1.0"):
        (tmp_path / "s.toml").write_text(f'{STUDY}[[arms]]\nname = "a"\nmethod = "scotd"\nfraction = {value}\n')
        ran = understudy("run", "s.toml", cwd=tmp_path)
        assert (ran.code, f"arms[0].fraction = {value}: " in ran.err) == (2, True), ran.err
