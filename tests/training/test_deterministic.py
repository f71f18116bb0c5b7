"""A step of training calls nothing that torch refuses on a GPU when it is told to be deterministic, as resuming exactly needs."""

import re

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
"""The operators of the list in the documentation of `torch.use_deterministic_algorithms`."""


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
    shares = iter((True, False))  # the first step reads prompts first, the second packs them
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
    assert next(shares, None) is None
