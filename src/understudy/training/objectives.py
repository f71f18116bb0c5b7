"""Objectives: what training minimises. Each is a function (model, batch) -> loss, named by ``training.objective``.

loss = cross_entropy(model, batch)      # a scalar tensor; the losses of a step's parts add up to the step's loss
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from understudy.engines.local.draw import CHUNK
from understudy.training.batches import TrainingBatch

Objective = Callable[[Any, TrainingBatch], torch.Tensor]
"""(the student in training, a part of a step) -> what the part adds to the loss of the step, a scalar. It is called under the
autocast of ``training.precision``, so logits may be bfloat16. With `training.processes` the student may be a DDP module around the
model: do nothing with it but call it."""


@contextmanager
def logits_at(model: Any, positions: tuple[torch.Tensor, ...] | slice) -> Iterator[None]:
    """Let ``model`` compute logits only at ``positions``, an index of [B, T]: [n, V] instead of [B, T, V].

    Most positions bear no loss, and logits are the largest tensors of a training.
    """
    output = getattr(model, "module", model).get_output_embeddings()  # DDP puts a module around the model
    hook = output.register_forward_pre_hook(lambda _, arguments: (arguments[0][positions],))
    try:
        yield
    finally:
        hook.remove()


class _TokenLosses(torch.autograd.Function):
    """The cross-entropy of each row of logits. It holds only the logits and their gradient whole; torch's own also keeps a float32
    copy, its softmax and the gradients of both. Legend: N rows, V vocabulary."""

    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits_NV, targets_N)
        return torch.cat([F.cross_entropy(logits_NV[at].float(), targets_N[at], reduction="none") for at in _split_rows(logits_NV)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer_N: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits_NV, targets_N = ctx.saved_tensors
        gradient_NV = torch.empty_like(logits_NV)
        for at in _split_rows(logits_NV):
            change = logits_NV[at].float().softmax(-1)
            change.scatter_add_(1, targets_N[at, None], change.new_full((len(change), 1), -1))
            gradient_NV[at] = change * outer_N[at, None]
        return gradient_NV, None


def _split_rows(logits_NV: torch.Tensor) -> Iterator[slice]:
    """Yield slices of rows, small enough to stay in a core's cache; on a GPU 16 times as large."""
    size = max(1, (16 if logits_NV.is_cuda else 1) * CHUNK // logits_NV.shape[1])
    return (slice(start, start + size) for start in range(0, max(1, len(logits_NV)), size))


def token_losses(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """Return [n]: the float32 cross-entropy of each target token that bears loss, in the order of ``batch.bearing``."""
    with logits_at(model, batch.bearing):
        logits_NV = model(**batch.inputs, use_cache=False).logits
    return _TokenLosses.apply(logits_NV, batch.targets[batch.bearing])  # type: ignore[no-untyped-call, no-any-return]


def cross_entropy(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """Return the sum of the target tokens' cross-entropies, each times its weight."""
    return (token_losses(model, batch) * batch.weights[batch.bearing]).sum()
