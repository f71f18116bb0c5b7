"""Several examples in one row, so that little of a batch is padding; none sees another.

Each example is a segment of its row with positions of its own, and the attention mask lets a token see the earlier ones of its
segment alone. Loss and gradients are those of padded rows (tests/training/test_packing.py holds them equal for each family of
decoders). Legend: R rows, L their length.
"""

from collections.abc import Sequence

import torch

from understudy.engines.local.rows import additive
from understudy.training.batches import EncodedExample, TrainingBatch, collate, pad_rows

WORTH = 0.1
"""Share of the columns that must be saved."""


def pack(examples: Sequence[EncodedExample]) -> list[list[int]]:
    """Indices of ``examples`` by row: the longest first, each into the first row that has room (first-fit decreasing).

    A row is twice as long as the longest example: shorter ones fit badly together, in longer ones attention would cost more than
    padding does.
    """
    length = 2 * max(map(len, examples))
    rows: list[list[int]] = []
    for i in sorted(range(len(examples)), key=lambda i: -len(examples[i])):
        row = next((row for row in rows if sum(len(examples[j]) for j in (*row, i)) <= length), None)
        if row is None:
            rows.append(row := [])
        row.append(i)
    return rows


def is_worth_packing(examples: Sequence[EncodedExample], rows: Sequence[Sequence[int]]) -> bool:
    """Whether ``rows`` have so many columns fewer than padded rows of one example."""
    packed = len(rows) * max(sum(len(examples[i]) for i in row) for row in rows)
    return packed < (1 - WORTH) * len(examples) * max(map(len, examples))


def collate_packed(
    examples: Sequence[EncodedExample], scales: Sequence[float], rows: Sequence[Sequence[int]], *, pad: int, like: torch.Tensor
) -> TrainingBatch:
    """The batch of `collate` for a decoder, with the examples of each of ``rows`` in one. The attention mask, which is
    large, is made on the device of ``like``, in its precision."""
    single = [collate([e], [scale], pad=pad, start=None) for e, scale in zip(examples, scales, strict=True)]

    def join(parts: Sequence[torch.Tensor], value: int) -> torch.Tensor:
        return pad_rows([torch.cat([parts[i] for i in row]).tolist() for row in rows], value)

    lengths = [one.targets.shape[1] for one in single]
    segment_RL = join([torch.full((n,), i + 1) for i, n in enumerate(lengths)], 0)
    column, placed_RL = torch.arange(segment_RL.shape[1], device=like.device), segment_RL.to(like.device)
    unseen = (placed_RL[:, :, None] != placed_RL[:, None, :]) | (column > column[:, None])
    inputs = {
        "input_ids": join([one.inputs["input_ids"][0] for one in single], pad),
        "position_ids": join([torch.arange(n) for n in lengths], 0),
        "attention_mask": additive(unseen[:, None], like.dtype),
    }
    return TrainingBatch(inputs, join([one.targets[0] for one in single], pad), join([one.weights[0] for one in single], 0))
