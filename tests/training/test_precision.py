"""The precision of a training: what "auto" is on which processor, and Muon in float32 against torch's own in bfloat16."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from understudy.core.values import Example
from understudy.engines.local import device
from understudy.engines.local.device import settle_precision
from understudy.training.loop import train
from understudy.training.optimizer import Muon, Optimizer, orthogonalise
from understudy.training.options import StudentOptions, TrainingOptions, complete_recipe
from understudy.training.student import make_student

SHAPES = [(6, 6), (6, 16), (16, 6), (6, 6), (16, 6), (5, 1)]


def machine(root: Path, text: str | None) -> Path:
    if text is not None:
        (root / "proc").mkdir()
        (root / "proc" / "cpuinfo").write_text(text)
    return root


@pytest.mark.parametrize(
    ("cpuinfo", "limit", "settled"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile\n", None, "bfloat16"),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile\n", "AVX2", "float32"),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile\n", "avx512_core_bf16", "float32"),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile\n", "AVX512_CORE_AMX", "bfloat16"),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile\n", "DEFAULT", "bfloat16"),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n", None, "float32"),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", None, "float32"),
        ("", None, "float32"),
        (None, None, "float32"),
    ],
    ids=["amx", "limited", "lower case", "limit above", "default", "avx512", "arm", "empty", "no Linux"],
)
def test_auto_is_bfloat16_where_there_are_matrix_units_that_torch_may_use(tmp_path, monkeypatch, cpuinfo, limit, settled):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert settle_precision("auto", root=machine(tmp_path, cpuinfo)) == settled
    assert settle_precision("bfloat16", tmp_path) == "bfloat16"
    assert settle_precision("float32", tmp_path) == "float32"


@pytest.mark.parametrize(
    ("student", "settled"),
    [
        (StudentOptions(hidden=128, heads=8), "float32"),
        (StudentOptions(hidden=256, heads=8), "bfloat16"),
        (StudentOptions(checkpoint="any", hidden=128), "bfloat16"),
    ],
    ids=["narrow", "wide", "checkpoint"],
)
def test_auto_is_float32_for_a_narrow_student_from_scratch_even_where_there_are_matrix_units(monkeypatch, student, settled):
    monkeypatch.setattr(device, "_read_cpu_flags", lambda _root: ["amx_bf16"])
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    on_cpu = TrainingOptions(device="cpu")
    assert on_cpu.settle(student).precision == settled
    assert replace(on_cpu, precision="bfloat16").settle(student).precision == "bfloat16"
    assert replace(on_cpu, precision="float32").settle(student).precision == "float32"


def parameters(dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def steps(maker, found, n, begin=0, **options):
    """The parameters after ``n`` steps on gradients that depend on the step and on the parameters."""
    optimizer = maker(found, lr=0.02, weight_decay=0.1, **options)
    for step in range(begin, begin + n):
        generator = torch.Generator().manual_seed(step)
        for parameter in found:
            parameter.grad = 0.1 * parameter.detach() + torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_torchs_within_the_rounding_of_bfloat16(nesterov):
    before, ours, theirs = parameters(), parameters(), parameters()
    steps(Muon, ours, 5, nesterov=nesterov)
    steps(torch.optim.Muon, theirs, 5, nesterov=nesterov)
    for start, one, other in zip(before, ours, theirs, strict=True):
        assert (one - other).norm() < 0.02 * (other - start).norm()
        assert not torch.equal(one, other), "torch's is in bfloat16"


def test_muon_is_torchs_exactly_where_both_round_alike(monkeypatch):
    """torch's own with its cast to bfloat16 taken away, in float64."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    ours, theirs = parameters(torch.float64), parameters(torch.float64)
    steps(Muon, ours, 5)
    steps(torch.optim.Muon, theirs, 5)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-11)


def test_matrices_that_are_too_large_to_go_together_change_as_alone(monkeypatch):
    together, alone = parameters(torch.float64), parameters(torch.float64)
    steps(Muon, together, 3)
    monkeypatch.setattr("understudy.training.optimizer.GROUP_SIZE", 1)
    steps(Muon, alone, 3)
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-11)


def test_a_matrix_without_a_gradient_stays_as_it_is():
    with_one, without = parameters()[:2]
    with_one.grad, before = torch.randn_like(with_one), without.detach().clone()
    Muon([with_one, without]).step()
    assert torch.equal(without, before)


def test_orthogonalised_matrices_have_singular_values_near_one():
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, (3.4445, -4.7750, 2.0315), steps=5, eps=1e-7))
    assert values.min() > 0.6
    assert values.max() < 1.3


EXAMPLES = [Example.of("student", f"Q: {i}?\nA:", f" It is {i}{' and more' * (i % 4)}.", problem=f"p{i}") for i in range(12)]
WORDS = ["".join(s.text for s in e.segments) for e in EXAMPLES]
SMALL = StudentOptions(hidden=32, layers=2, heads=2)


@pytest.mark.parametrize(("precision", "maker"), [("float32", Muon), ("bfloat16", torch.optim.Muon)])
def test_the_optimizer_of_a_precision_and_the_state_it_goes_on_from(precision, maker):
    recipe = complete_recipe(TrainingOptions(), SMALL)
    found = []
    for broken in (False, True):
        model, _ = make_student(SMALL, WORDS, seed=0)
        optimizer = Optimizer(model, recipe, 6, precision=precision)
        assert type(optimizer.optimizers[0]) is maker
        for step in range(6):
            if broken and step == 3:
                tensors = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
                optimizer = Optimizer(model, recipe, 6, precision=precision)
                optimizer.restore(tensors)
            for i, parameter in enumerate(optimizer.parameters):
                parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + i))
            optimizer.step(step)
        found.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_auto_trains_as_the_precision_that_it_is_settled_to(tmp_path, monkeypatch):
    def losses(name, precision):
        options = TrainingOptions(steps=4, batch_size=10, checks=1, precision=precision)
        trained = train(EXAMPLES, student=SMALL, options=options, out=tmp_path / name, seed=0, vocabulary=WORDS)
        return trained.losses, trained.micro_batch

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert losses("auto", "auto") == losses("float32", "float32")
    assert losses("again", "auto")[1] == 8, "parts of like lengths, with less padding"


def test_parts_of_like_lengths_are_the_same_step(tmp_path):
    """In float32 a step's examples are sorted by length and go through the model in parts."""
    found = []
    for micro in (0, 12):
        options = TrainingOptions(steps=6, batch_size=12, checks=1, precision="float32", micro_batch=micro)
        found.append(train(EXAMPLES, student=SMALL, options=options, out=tmp_path / str(micro), seed=0, vocabulary=WORDS))
    assert [t.micro_batch for t in found] == [8, 12]
    assert [v for _, v in found[0].losses] == pytest.approx([v for _, v in found[1].losses], abs=1e-4)
