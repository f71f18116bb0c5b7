"""Attention on a CPU for models whose heads share keys and values. It does not copy these for each head.

The eager attention of `transformers` copies them in every layer and step, for every row that is decoded or trained. Legend: B
rows, H heads, G of them with keys and values of their own, T new tokens, S tokens that are seen, D head size.
"""

from typing import Any

from torch import Tensor, float32
from torch.nn import functional
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

GROUPED = "understudy_grouped"
"""Its name in `transformers`."""
FAMILIES = frozenset({"llama", "qwen2", "qwen3"})
"""The model types for which it equals eager attention."""


def attend_grouped(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scaling: float, dropout: float = 0.0, **_: Any
) -> tuple[Tensor, Tensor]:
    """Return the output of attention, [B, T, H, D], and its weights, [B, H, T, S]. ``query``: [B, H, T, D]; ``key`` and
    ``value``: [B, G, S, D]; ``mask``: additive, [B, 1, T, S]."""
    B, H, T, D = query.shape
    G, S = key.shape[1:3]
    scores = (query.reshape(B, G, -1, D) * scaling @ key.transpose(2, 3)).view(B, H, T, S)
    if mask is not None:
        scores = scores + mask
    weights = functional.softmax(scores, dim=-1, dtype=float32).to(query.dtype)
    weights = functional.dropout(weights, p=dropout, training=module.training)
    return (weights.view(B, G, -1, S) @ value).view(B, H, T, D).transpose(1, 2).contiguous(), weights


ALL_ATTENTION_FUNCTIONS.register(GROUPED, attend_grouped)
ALL_MASK_ATTENTION_FUNCTIONS.register(GROUPED, eager_mask)
