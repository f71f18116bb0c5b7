"""Objectives: what training minimises. Each is a function (model, batch) -> loss, named by ``training.objective``.

loss = cross_entropy(model, batch)      # a scalar tensor; the losses of the parts of a step add up to the step's
"""

from collections.abc import Callable
from typing import Any

import torch

from understudy.training.batches import TrainingBatch

Objective = Callable[[Any, TrainingBatch], torch.Tensor]
"""(the student in training, a part of a step) -> what the part adds to the loss of the step, a scalar. It is called under the
autocast of ``training.precision``, so logits may be bfloat16."""


def token_losses(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """[n]: the cross-entropy, in float32, of each target token that bears loss, in the order of ``batch.bearing``."""
    logits_BTV = model(**batch.inputs, use_cache=False).logits
    bearing_BT = batch.bearing
    return torch.nn.functional.cross_entropy(logits_BTV[bearing_BT].float(), batch.targets[bearing_BT], reduction="none")


def cross_entropy(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """The cross-entropy of the target tokens, each times its weight."""
    return (token_losses(model, batch) * batch.weights[batch.bearing]).sum()
