"""One student trained by several processes is the student that one process trains, but for rounding."""

import multiprocessing
import os
import re
from pathlib import Path

import pytest
import torch
from checkpoints import make
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from understudy.core.errors import StudyError, UnderstudyError
from understudy.core.plugins import load
from understudy.core.values import Example
from understudy.training import loop
from understudy.training.loop import train
from understudy.training.options import Lora, StudentOptions, TrainingOptions
from understudy.training.packing import collate_packed
from understudy.training.ranks import Ranks

EXAMPLES = [
    Example.of("student", f"Q: What is {i} + {i}?\nA:", f" {'very ' * (i % 3)}{i + k}", problem=f"p{i}", chain=f"q{i}c{k}")
    for i in range(9)
    for k in range(3)
]


@pytest.fixture
def forked(monkeypatch):
    """The other processes come from one that has the libraries already (forked.py); what they are given is pickled, as when they
    start anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: context)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return {family: str(make(family, tmp_path_factory.mktemp(family))) for family in ("llama", "t5")}


@pytest.fixture
def checkpoint(checkpoints):
    return checkpoints["llama"]


def options(**more):
    fixed = {"steps": 4, "batch_size": 5, "micro_batch": 2, "learning_rate": 1e-3, "checks": 2, "save_every": 3, "device": "cpu"}
    return TrainingOptions(**fixed | {"precision": "float32"} | more)


def trained(out, checkpoint, **more):
    score = more.pop("score", lambda directory: float(len(list(directory.iterdir()))))
    return train(EXAMPLES, student=StudentOptions(checkpoint=checkpoint), options=options(**more), out=out, seed=3, score=score)


@pytest.mark.parametrize(
    ("family", "how"),
    [
        pytest.param("llama", {}, id="DDP"),
        pytest.param("llama", {"chains_per_visit": 3, "micro_batch": 0}, id="DDP with shared prompts"),
        pytest.param("llama", {"sharded": True, "chains_per_visit": 3, "micro_batch": 0}, id="FSDP with shared prompts"),
        pytest.param("llama", {"sharded": True}, id="FSDP"),
        pytest.param("t5", {}, id="T5, DDP"),
        pytest.param("t5", {"chains_per_visit": 3}, id="T5, DDP with shared prompts"),
        pytest.param("t5", {"sharded": True, "chains_per_visit": 3}, id="T5, FSDP, which shares none"),
    ],
)
def test_two_processes_give_the_losses_and_the_student_of_one(forked, tmp_path, checkpoints, family, how, monkeypatch):
    checkpoint, groups = checkpoints[family], []

    def collate(model, examples, scales, rows, **more):
        groups.extend(group for row in rows for group in row)
        return collate_packed(model, examples, scales, rows, **more)

    monkeypatch.setattr(loop, "collate_packed", collate)
    alone = {name: value for name, value in how.items() if name != "sharded"}
    one, two = trained(tmp_path / "one", checkpoint, **alone), trained(tmp_path / "two", checkpoint, processes=2, **how)
    assert [loss for _, loss in two.losses] == pytest.approx([loss for _, loss in one.losses], abs=1e-5)
    assert (two.dev, two.seen_tokens, two.tokens, two.micro_batch) == (one.dev, one.seen_tokens, one.tokens, one.micro_batch)
    assert any("read once for every chain" in note for note in two.notes) == (family == "t5" and "sharded" in how)
    assert any(len(group) > 1 for group in groups) == (family == "llama" and len(how) == 3), "others read prompts first"
    expected, found = (load_file(result.checkpoint / "model.safetensors") for result in (one, two))
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=2e-5, rtol=1e-4)


def test_a_student_from_scratch_and_an_adapter_are_those_of_one_process(forked, tmp_path, checkpoint):
    students = (StudentOptions(hidden=32, layers=2, heads=2), StudentOptions(checkpoint=checkpoint, lora=Lora(rank=2)))
    for i, student in enumerate(students):
        results = [
            train(
                EXAMPLES, student=student, options=options(processes=n), out=tmp_path / f"{i}-{n}", seed=3, vocabulary=["Q A very"]
            )
            for n in (1, 2)
        ]
        one, two = ([loss for _, loss in result.losses] for result in results)
        assert two == pytest.approx(one, abs=1e-4)


def test_an_interrupted_training_goes_on_exactly(forked, tmp_path, checkpoint):
    whole = trained(tmp_path / "whole", checkpoint, processes=2, sharded=True)

    class StoppedError(Exception):
        pass

    def stop(_stage, done, _total, _note=""):
        if done == 3:
            raise StoppedError

    student, steps = StudentOptions(checkpoint=checkpoint), options(processes=2, save_every=2, sharded=True)
    with pytest.raises(StoppedError):
        train(EXAMPLES, student=student, options=steps, out=tmp_path / "cut", seed=3, score=lambda _: 1.0, progress=stop)
    resumed = train(EXAMPLES, student=student, options=steps, out=tmp_path / "cut", seed=3, score=lambda _: 1.0)
    assert resumed.losses == whole.losses
    expected, found = (load_file(result / "student" / "model.safetensors") for result in (tmp_path / "whole", tmp_path / "cut"))
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


OBJECTIVE = """
import os, signal
import torch.distributed as dist
from understudy.training.objectives import cross_entropy

def worst(model, batch):
    if dist.get_rank() == 1:
        END
    return cross_entropy(model, batch)

UNDERSTUDY = {"objective": {"NAME": worst}}
"""


@pytest.mark.parametrize(
    ("name", "end", "says"),
    [
        ("raises", 'raise ValueError("no such luck")', "a process of the training failed: ValueError: no such luck"),
        ("killed", "os.kill(os.getpid(), signal.SIGKILL)", "a process of the training ended without a message (exit code -9)"),
    ],
)
def test_the_end_of_one_process_is_told_and_ends_the_others(tmp_path, checkpoint, name, end, says):
    plugin = tmp_path / f"{name}.py"
    plugin.write_text(OBJECTIVE.replace("END", end).replace("NAME", name))
    load(plugin)
    with pytest.raises(UnderstudyError, match=re.escape(says)):
        trained(tmp_path / "out", checkpoint, processes=2, objective=name)
    assert not multiprocessing.active_children()


def test_what_cannot_be_trained_together_is_refused(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="sharded = true: one process has nothing to share"):
        TrainingOptions(sharded=True)
    with pytest.raises(StudyError, match=r'training.optimizer = "muon" needs whole matrices'):
        options(processes=2, sharded=True).settle(StudentOptions())
    with pytest.raises(StudyError, match=r"student.lora needs whole matrices"):
        options(processes=2, sharded=True).settle(StudentOptions(checkpoint=checkpoint, lora=Lora()))


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 7), st.booleans())
def test_every_example_of_a_step_is_in_one_part_of_one_process(n, size, at_once, mixed):
    examples, scales = list(range(n)), [1.0 + i for i in range(n)]
    parts = [Ranks(rank, size).split(examples, scales, at_once, mixed=mixed) for rank in range(size)]
    assert len({tuple(map(len, own)) for own in parts}) == 1, "each exchanges as often as the others"
    assert all(1 <= len(part) <= at_once for own in parts for part in own)
    taken = [pair for own in parts for part in own for pair in part if pair[1]]
    assert sorted(taken) == list(zip(examples, scales, strict=True))
