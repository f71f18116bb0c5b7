"""Objectives: what training minimises. Each is a function (model, batch) -> loss, named by ``training.objective``.

loss = cross_entropy(model, batch)      # a scalar tensor; the losses of the parts of a step add up to the step's
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from understudy.training.batches import TrainingBatch

Objective = Callable[[Any, TrainingBatch], torch.Tensor]
"""(the student in training, a part of a step) -> what the part adds to the loss of the step, a scalar. It is called under the
autocast of ``training.precision``, so logits may be bfloat16. With `training.processes` the student may be a DDP module around the
model: call it, and nothing else."""


@contextmanager
def logits_at(model: Any, places_BT: torch.Tensor) -> Iterator[None]:
    """Let ``model`` compute logits only where ``places_BT`` is true: they are [n, V] then, and not [B, T, V].

    Most positions bear no loss, and logits are the largest tensors of a training.
    """
    output = getattr(model, "module", model).get_output_embeddings()  # DDP puts a module around the model
    hook = output.register_forward_pre_hook(lambda _, arguments: (arguments[0][places_BT],))
    try:
        yield
    finally:
        hook.remove()


def token_losses(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """[n]: the cross-entropy, in float32, of each target token that bears loss, in the order of ``batch.bearing``."""
    bearing_BT = batch.bearing
    with logits_at(model, bearing_BT):
        logits_NV = model(**batch.inputs, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits_NV.float(), batch.targets[bearing_BT], reduction="none")


def cross_entropy(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """The cross-entropy of the target tokens, each times its weight."""
    return (token_losses(model, batch) * batch.weights[batch.bearing]).sum()
