"""An objective of one's own, with a weight for each token: what the student already knows counts less.

The focal loss (Lin et al. 2017, arXiv 1708.02002): each token's cross-entropy is multiplied by (1 - p) ** GAMMA, where p is the
probability that the student gives to the right token. Copied words and set phrases soon have p near 1 and weigh nothing; numbers
that have to be worked out keep their weight. The paper's balancing factor alpha is left out: there are no two classes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.training.objectives import token_losses

if TYPE_CHECKING:
    import torch

    from understudy.training.batches import TrainingBatch

GAMMA = 2.0
"""2 worked best in the paper."""


def focal(model: Any, batch: TrainingBatch) -> torch.Tensor:
    """The cross-entropy of the target tokens, each times its weight in the batch and (1 - p) ** GAMMA."""
    losses = token_losses(model, batch)
    surprise = 1 - (-losses).exp()
    return (losses * surprise**GAMMA * batch.weights[batch.bearing]).sum()


UNDERSTUDY = {"objective": {"focal": focal}}
