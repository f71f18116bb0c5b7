"""Objectives: the loss of a step's parts adds up, cross-entropy has torch's value, and what is no loss is an error."""

from pathlib import Path

import pytest
import torch
from known import KnownLogits

from understudy.core import registry
from understudy.core.errors import StudyError
from understudy.core.plugins import load
from understudy.core.registry import find
from understudy.core.values import Example
from understudy.training import loop, objectives
from understudy.training.batches import EncodedExample, collate, scale_losses
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

FOCAL = Path(__file__).resolve().parents[2] / "examples" / "objective" / "focal.py"
ROWS = [EncodedExample("p", None, (1,), (2, 3, 4)[:n], (1.0, 0.5, 1.0)[:n], weight=w) for n, w in ((3, 1.0), (1, -0.5), (2, 1.0))]
LOGITS_BTV = torch.randn(3, 3, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def objective(monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    load(FOCAL)
    return lambda name: find("objective", name)


def loss_of(objective, rows, logits_BTV, scale):
    batch = collate(rows, scale, pad=0, start=0)
    return objective(KnownLogits(logits_BTV[:, : batch.targets.shape[1]]), batch)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_the_losses_of_the_parts_of_a_step_add_up_to_the_steps(objective, name):
    scale = scale_losses(ROWS, reduction="token")
    whole = loss_of(objective(name), ROWS, LOGITS_BTV, scale)
    parts = [loss_of(objective(name), ROWS[i : i + 1], LOGITS_BTV[i : i + 1], scale[i : i + 1]) for i in range(3)]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 2 * 6, 2**20], ids=["a row at once", "two rows at once", "all rows at once"])
@pytest.mark.parametrize("shift", [0.0, -100.0, 1000.0])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_of_tokens_are_those_of_torch(precision, shift, chunk, monkeypatch):
    monkeypatch.setattr(objectives, "CHUNK", chunk)
    scale = scale_losses(ROWS, reduction="token")
    found_BTV, expected_BTV = ((LOGITS_BTV * 9 + shift).to(precision).requires_grad_() for _ in range(2))
    batch = collate(ROWS, scale, pad=0, start=0)
    losses_N = objectives.token_losses(KnownLogits(found_BTV), batch)
    at = batch.bearing
    expected_N = torch.nn.functional.cross_entropy(expected_BTV[at].float(), batch.targets[at], reduction="none")
    torch.testing.assert_close(losses_N, expected_N, atol=1e-6, rtol=1e-6)
    for losses in (losses_N, expected_N):
        (losses * batch.weights[at] * losses.detach()).sum().backward()
    torch.testing.assert_close(found_BTV.grad, expected_BTV.grad, atol=1e-6, rtol=1e-2 if precision is torch.bfloat16 else 1e-6)


def test_where_no_token_bears_loss_the_loss_is_nothing():
    batch = collate([EncodedExample("p", None, (1,), (2, 3), (0.0, 0.0))], [1.0], pad=0, start=0)
    logits_BTV = torch.zeros(1, 2, 6, requires_grad=True)
    loss = objectives.cross_entropy(KnownLogits(logits_BTV), batch)
    loss.backward()
    assert float(loss.detach()) == 0.0 == float(logits_BTV.grad.abs().sum())


def test_the_focal_loss_is_the_cross_entropy_where_nothing_is_known_and_less_where_much_is(objective):
    row, scale = [EncodedExample("p", None, (1,), (2,), (1.0,))], [1.0]
    unlikely, likely = torch.zeros(1, 1, 6), torch.zeros(1, 1, 6)
    unlikely[..., 2], likely[..., 2] = -20.0, 5.0
    plain, focal = objective("cross_entropy"), objective("focal")
    assert float(loss_of(focal, row, unlikely, scale)) == pytest.approx(float(loss_of(plain, row, unlikely, scale)), rel=1e-5)
    p = float(torch.softmax(likely, -1)[0, 0, 2])
    expected = float(loss_of(plain, row, likely, scale)) * (1 - p) ** 2
    assert float(loss_of(focal, row, likely, scale)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("returned", [3.0, torch.ones(2)])
def test_what_is_no_scalar_tensor_is_an_error_that_names_the_objective(tmp_path, monkeypatch, returned):
    monkeypatch.setattr(loop, "find", lambda what, name: lambda model, batch: returned)
    student = StudentOptions(hidden=16, layers=1, heads=2, context=32)
    options = TrainingOptions(steps=1, checks=1, batch_size=1, objective="mine")
    with pytest.raises(StudyError, match=r"training.objective = 'mine': it returned .*, not a scalar tensor"):
        train([Example.of("student", "Q: a", " b", problem="p")], student=student, options=options, out=tmp_path, seed=0)
