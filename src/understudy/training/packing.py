"""Several examples in one row, so that little of a batch is padding; none sees another.

Each example is a segment of its row, with positions of its own where the model has absolute ones, and the attention mask lets a
token see its own segment alone. Loss and gradients are those of padded rows (tests/training/test_packing.py holds them equal for
each family). An encoder-decoder has two rows, one of sources and one of targets. Legend: R rows, S and T their columns.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from understudy.engines.local.rows import build_mask
from understudy.training.batches import EncodedExample, TrainingBatch, collate, pad_rows

WORTH = 0.1
"""Share of the cost that must be saved."""
SCORES = 500
"""Attention scores that cost as much as a column: by the bytes that training keeps (`training.memory`) 550 for SmolLM2-135M and 920
for GPT-2 and T5-small, fewer for small students."""


def _count_columns(examples: Sequence[EncodedExample], seq2seq: bool) -> np.ndarray:
    """[examples, 1 or 2]: how many columns each takes of the only row, or of that of sources and that of targets."""
    return np.array([(len(e.source), len(e.target)) if seq2seq else (len(e),) for e in examples])


def pack(examples: Sequence[EncodedExample], *, seq2seq: bool) -> list[list[int]]:
    """Indices of ``examples`` by row: the longest first, each into the row that stays the shortest.

    There are half as many rows as examples, or fewer if most are short: as many as are full with the longest example.
    """
    columns = _count_columns(examples, seq2seq)
    shares = columns / columns.max(0)
    filled = np.zeros((min(-(-len(examples) // 2), math.ceil(shares.sum(0).max())), shares.shape[1]))
    rows: list[list[int]] = [[] for _ in filled]
    for i in np.argsort(-shares.sum(1), kind="stable"):
        row = int((filled + shares[i]).max(1).argmin())
        rows[row].append(int(i))
        filled[row] += shares[i]
    return [row for row in rows if row]


def is_worth_packing(examples: Sequence[EncodedExample], rows: Sequence[Sequence[int]], *, seq2seq: bool) -> bool:
    """Whether ``rows`` cost so much less than padded rows of one example."""
    columns = _count_columns(examples, seq2seq)
    packed = np.max([columns[row].sum(0) for row in rows], axis=0)
    return bool(len(rows) * _estimate_cost(packed) < (1 - WORTH) * len(examples) * _estimate_cost(columns.max(0)))


def _estimate_cost(columns: np.ndarray) -> float:
    """What a row costs, in columns: its own, and the attention scores of each stream with itself and of targets with sources."""
    return float(columns.sum() + ((columns**2).sum() + (columns.prod() if len(columns) == 2 else 0)) / SCORES)


def collate_packed(
    model: Any, examples: Sequence[EncodedExample], scales: Sequence[float], rows: list[list[int]], *, pad: int, start: int | None
) -> TrainingBatch:
    """The batch of `collate` with the examples of each of ``rows`` in one row. Its attention masks are in the precision of
    ``model``; of an encoder-decoder the encoder runs here, so the batch is good for one pass."""
    batches = [collate([e], [scale], pad=pad, start=start) for e, scale in zip(examples, scales, strict=True)]

    def join(tensors: Sequence[torch.Tensor], value: int) -> torch.Tensor:
        return pad_rows([torch.cat([tensors[i] for i in row]).tolist() for row in rows], value).to(model.device)

    def number_segments(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return join([torch.full_like(tensor, i) for i, tensor in enumerate(tensors, 1)], 0)

    def make_mask(visible: torch.Tensor) -> torch.Tensor:
        return build_mask(~visible[:, None], model.dtype)

    input_ids, targets = [batch.inputs["input_ids"][0] for batch in batches], [batch.targets[0] for batch in batches]
    segment_RT = number_segments(targets)
    causal = make_mask((segment_RT[:, :, None] == segment_RT[:, None, :]).tril())
    if start is None:
        positions = join([torch.arange(len(part)) for part in targets], 0)
        inputs = {"input_ids": join(input_ids, pad), "position_ids": positions, "attention_mask": causal}
    else:
        source_RS = number_segments(input_ids)
        encoder_mask = make_mask(source_RS[:, :, None] == source_RS[:, None, :])
        inputs = {
            "encoder_outputs": model.get_encoder()(input_ids=join(input_ids, pad), attention_mask=encoder_mask),
            # Padding sees all sources: a position that sees nothing is NaN in some kernels.
            "attention_mask": make_mask((segment_RT[:, :, None] == source_RS[:, None, :]) | (segment_RT[:, :, None] == 0)),
            "decoder_input_ids": join([batch.inputs["decoder_input_ids"][0] for batch in batches], pad),
            "decoder_attention_mask": causal,
        }
    return TrainingBatch(inputs, join(targets, pad), join([batch.weights[0] for batch in batches], 0))
