"""A study whose student and teacher are a GGUF file: planned, run, and said so in the card, the chains and the report."""

import json

import pytest
from command import understudy

pytest.importorskip("gguf", reason="gguf is not installed: pip install 'understudy[gguf]'")

from gguf_files import write_gguf

from understudy.corpus.card import read_corpus_card

STUDY = """
[study]
seeds = 1
name = "s"
[task]
name = "diary"
train = 16
dev = 4
test = 8
longer_test = 0
max_steps = 1
[teacher]
samples = 1
slip = 0.0
misread = 0.0
[student]
checkpoint = "small.gguf"
[training]
steps = 2
batch_size = 4
optimizer = "adamw"
checks = 1
[evaluation]
splits = ["test"]
[[arms]]
name = "a"
method = "answer_only"
options = { max_tokens = 4 }
[[arms]]
name = "before"
method = "answer_only"
options = { max_tokens = 4 }
model = "untrained"
"""
SAYS = "de-quantised from Q4_1 (small.gguf, licence mit)"


@pytest.fixture
def root(tmp_path):
    write_gguf(tmp_path / "small.gguf", type="Q4_1")
    (tmp_path / "s.toml").write_text(STUDY)
    return tmp_path


def test_a_student_from_a_file_is_planned_trained_and_reported(root):
    dry = understudy("run", "s.toml", "--dry-run", cwd=root)
    assert dry.code == 0 and "MiB at 128 tokens" in dry.out, dry.out + dry.err
    ran = understudy("run", "s.toml", cwd=root)
    assert ran.code == 0, ran.out + ran.err
    assert SAYS in " ".join(ran.out.split())
    run = root / "runs" / "s"
    assert json.loads((run / "students" / "a" / "understudy.json").read_text())["weights"] == SAYS
    assert f"The weights of a, before, before any training, are {SAYS}." in (run / "report.html").read_text()
    again = understudy("run", "s.toml", cwd=root)
    assert again.code == 0, again.out + again.err


def test_the_chains_of_a_teacher_from_a_file_say_so(root):
    teacher = (
        "teacher.engine=transformers",
        "teacher.checkpoint=small.gguf",
        "teacher.first_look=0",
        "teacher.options.max_tokens=4",
    )
    text = STUDY.replace("slip = 0.0\nmisread = 0.0\n", "")
    (root / "s.toml").write_text(text)
    sampled = understudy("sample", "s.toml", *(word for one in teacher for word in ("--set", one)), cwd=root)
    assert sampled.code == 0, sampled.out + sampled.err
    (chains,) = (root / "runs" / "s" / "stages").glob("chains-*/chains.parquet")
    assert read_corpus_card(chains).sampling["weights"] == SAYS


def test_a_file_that_cannot_be_read_is_named_before_anything_is_asked(root):
    whole = (root / "small.gguf").read_bytes()
    (root / "small.gguf").write_bytes(whole[:-100])
    ran = understudy("run", "s.toml", cwd=root)
    assert ran.code == 2 and "small.gguf: cannot be read as the GGUF file of a model" in " ".join(ran.err.split()), ran.err
    assert "Traceback" not in ran.err
    assert not (root / "runs" / "s" / "stages").exists()
