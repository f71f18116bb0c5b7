"""A step of training calls nothing that torch refuses on a GPU when it is told to be deterministic, as resuming exactly needs."""

import re
from functools import partial

import pytest
import torch
from checkpoints import FAMILIES, make
from torch.utils._python_dispatch import TorchDispatchMode

from understudy.core.values import Example
from understudy.training import loop, ranks
from understudy.training.options import StudentOptions, TrainingOptions

REFUSED = re.compile(
    r"_pool\dd(_.*)?_backward|max_unpool|upsample_.*_backward|reflection_pad\dd_backward|nll_loss2d|ctc_loss|embedding_bag|^put_?$|"
    r"histc|bincount|median|kthvalue|grid_sampler|scatter_reduce|cumsum"
)
"""The operators of the list in the documentation of `torch.use_deterministic_algorithms`. Of NLLLoss only the one for pictures: the
other raises nothing."""


class _Watch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.refused = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator._schema.name.removeprefix("aten::")
        integers = name == "cumsum" and not (args[0].is_floating_point() or args[0].is_complex())
        if REFUSED.search(name) and not integers:
            self.refused.add(name)
        return operator(*args, **(kwargs or {}))


def test_the_watch_sees_what_is_refused():
    with _Watch() as watch:
        torch.ones(3).cumsum(0)
        torch.ones(3, dtype=torch.int64).cumsum(0)
        torch.ones(3).histc()
    assert watch.refused == {"cumsum", "histc"}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_operator_of_a_step_is_refused(tmp_path, monkeypatch, family):
    monkeypatch.setattr(ranks, "choose_attention", lambda model, _device: model.set_attn_implementation("sdpa"))  # as on a GPU
    shares, layouts = iter((True, False)), []
    for function in (loop.read_once, loop.collate_packed):
        note = partial(lambda function, *args, **more: (layouts.append(function.__name__), function(*args, **more))[1], function)
        monkeypatch.setattr(loop, function.__name__, note)
    monkeypatch.setattr(loop._Training, "_choose_part_size", lambda *_: 6)
    monkeypatch.setattr(loop, "is_worth_sharing", lambda *_, **__: next(shares))
    examples = [
        Example.of("student", f"Q: How many coins has {'Ana ' * n}?\nA:", f" So the answer is: {i}", problem=str(n), chain=str(i))
        for n in (1, 9)
        for i in range(3)
    ]
    student = StudentOptions(checkpoint=str(make(family, tmp_path / "start")))
    options = TrainingOptions(steps=2, batch_size=2, chains_per_visit=3, checks=1, device="cpu", precision="bfloat16")
    with _Watch() as watch:
        loop.train(examples, student=student, options=options, out=tmp_path / "out", seed=0)
    assert not watch.refused
    assert layouts == ["read_once", "collate_packed"]


EXAMPLES = [Example.of("student", "How many?", f" {i}", problem=str(i)) for i in range(4)]


def train_and_note(monkeypatch, out, device):
    """The modes of two steps, and of the check between them, of a training that believes to run on ``device``."""
    modes = []

    def note(function):
        def noting(self, *args):
            self.device = device
            modes.append(torch.get_deterministic_debug_mode())
            return function(self, *args)

        return noting

    for name in ("_step", "_check"):
        monkeypatch.setattr(loop._Training, name, note(getattr(loop._Training, name)))
    settle = loop._Training._settle_micro_batch
    monkeypatch.setattr(
        loop._Training, "_settle_micro_batch", lambda self, *args: (settle(self, *args), setattr(self, "device", device))
    )
    student = StudentOptions(hidden=16, layers=1, heads=2, context=64)
    options = TrainingOptions(steps=2, checks=2, batch_size=1, device="cpu", precision="float32")
    loop.train(EXAMPLES, student=student, options=options, out=out, seed=0)
    return modes


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
def test_steps_on_a_gpu_are_deterministic_and_nothing_else_is(tmp_path, monkeypatch):
    assert train_and_note(monkeypatch, tmp_path, "cuda") == [2, 0, 2, 0]
    assert torch.get_deterministic_debug_mode() == 0


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
def test_an_error_in_a_step_leaves_no_mode_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no such luck")

    monkeypatch.setattr(loop._Training, "_add_gradients", fail)
    with pytest.raises(ValueError, match="no such luck"):
        train_and_note(monkeypatch, tmp_path, "cuda")
    assert torch.get_deterministic_debug_mode() == 0


def test_what_the_host_program_chose_holds_on_a_processor(tmp_path, monkeypatch):
    torch.set_deterministic_debug_mode("warn")
    try:
        assert train_and_note(monkeypatch, tmp_path, "cpu") == [1, 1, 1, 1]
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")
