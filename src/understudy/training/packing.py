"""Several examples in one row, so that little of a batch is padding, and prompts that come several times are read once.

Examples with one source form a group: a decoder reads the source once, and each of their chains goes on from its end. A row has
several groups. The attention mask lets a token see the source of its group and its own chain, nothing else, and positions are
those of rows with one example, where the model has absolute ones. Loss and gradients are those of padded rows
(tests/training/test_packing.py holds them equal for each family). An encoder-decoder has two rows, one of sources and one of
targets. Legend: R rows, S and T their columns.
"""

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import torch

from understudy.core.values import grouped
from understudy.engines.local.rows import build_mask
from understudy.training.batches import EncodedExample, TrainingBatch, pad_rows

WORTH = 0.1
"""Share of the cost that must be saved."""
SCORES = 500
"""Attention scores that cost as much as a column: by the bytes that training keeps (`training.memory`) 550 for SmolLM2-135M and 920
for GPT-2 and T5-small, fewer for small students. Decoders on a GPU keep none (`training.loop`)."""

Row = list[list[int]]
"""The groups of a row: indices of examples with one source."""


def pack(examples: Sequence[EncodedExample], *, seq2seq: bool, scores: int = SCORES) -> list[Row]:
    """Put ``examples`` into rows: the longest group first, each into the row that stays the shortest. ``scores``: how many
    attention scores cost as much as a column.

    There are half as many rows as examples, or fewer if most are short: as many as are full with the longest group. A row for each
    group is better where these are of about one length.
    """
    groups = _find_groups(examples, scores)
    columns = _count_columns(examples, groups, seq2seq)
    shares = columns / columns.max(0)
    filled = np.zeros((min(-(-len(examples) // 2), math.ceil(shares.sum(0).max())), shares.shape[1]))
    rows: list[Row] = [[] for _ in filled]
    for i in np.argsort(-shares.sum(1), kind="stable"):
        row = int((filled + shares[i]).max(1).argmin())
        rows[row].append(groups[i])
        filled[row] += shares[i]
    rows = [row for row in rows if row]
    return min(rows, [[group] for group in groups], key=lambda layout: _estimate_cost(examples, layout, seq2seq, scores))


def is_worth_packing(examples: Sequence[EncodedExample], rows: Sequence[Row], *, seq2seq: bool, scores: int = SCORES) -> bool:
    """Whether ``rows`` cost so much less than padded rows of one example."""
    padded = [[[i]] for i in range(len(examples))]
    return _estimate_cost(examples, rows, seq2seq, scores) < (1 - WORTH) * _estimate_cost(examples, padded, seq2seq, scores)


def _find_groups(examples: Sequence[EncodedExample], scores: int) -> Row:
    """Group the indices of ``examples`` by source. Chains are cheapest where the t columns of a group's targets and the s of its
    source have t ** 2 = s * (s + scores); with more, reading the source again costs less than the scores."""
    groups: Row = []
    for source, indices in grouped((e.source, i) for i, e in enumerate(examples)).items():
        columns = sum(len(examples[i].target) for i in indices)
        parts = round(columns / math.sqrt(len(source) * (len(source) + scores)))
        groups += [part.tolist() for part in np.array_split(indices, min(max(1, parts), len(indices)))]
    return groups


def _count_columns(examples: Sequence[EncodedExample], groups: Row, seq2seq: bool) -> np.ndarray:
    """[groups, 1 or 2]: how many columns each takes of the only row, or of that of sources and that of targets."""
    both = np.array([(len(examples[group[0]].source), sum(len(examples[i].target) for i in group)) for group in groups])
    return both if seq2seq else both.sum(1, keepdims=True)


def _estimate_cost(examples: Sequence[EncodedExample], rows: Sequence[Row], seq2seq: bool, scores: int) -> float:
    """What ``rows`` cost, in columns: their own, and the scores of each stream with itself and of targets with sources."""
    columns = np.max([_count_columns(examples, row, seq2seq).sum(0) for row in rows], axis=0)
    return len(rows) * float(columns.sum() + ((columns**2).sum() + (columns.prod() if seq2seq else 0)) / scores)


def _lay_out(
    examples: Sequence[EncodedExample], scales: Sequence[float], row: Row, *, pad: int, start: int | None
) -> list[tuple[int, int, int, int, int, float]]:
    """List the columns of a decoder's ``row``: token, position, group, chain (0: the source), target and its weight. The last token
    of a source is repeated for each chain, whose first token it is to give."""
    columns = []
    for number, group in enumerate(row, 1):
        source = examples[group[0]].source
        if start is None:
            columns += [(token, position, number, 0, pad, 0.0) for position, token in enumerate(source[:-1])]
        for chain, i in enumerate(group, 1):
            target = examples[i].target
            tokens = (source[-1] if start is None else start, *target[:-1])
            for token, position, learned, weight in zip(tokens, count(len(source) - 1), target, examples[i].weights, strict=False):
                columns.append((token, position, number, chain, learned, weight * scales[i]))
    return columns


def collate_packed(
    model: Any, examples: Sequence[EncodedExample], scales: Sequence[float], rows: Sequence[Row], *, pad: int, start: int | None
) -> TrainingBatch:
    """The batch of `collate` with the examples of each of ``rows`` in one row. Its attention masks are in the precision of
    ``model``; of an encoder-decoder the encoder runs here, so the batch is good for one pass."""

    def make_mask(visible: torch.Tensor) -> torch.Tensor:
        return build_mask(~visible[:, None], model.dtype)

    laid_out = [zip(*_lay_out(examples, scales, row, pad=pad, start=start), strict=True) for row in rows]
    columns = [pad_rows(column, value) for column, value in zip(zip(*laid_out, strict=True), (pad, 0, 0, 0, pad, 0), strict=True)]
    # Counted before they are copied: a GPU would have to be waited for.
    bearing = [index.to(model.device) for index in columns[-1].nonzero(as_tuple=True)]
    input_ids, positions, group_RT, chain_RT, targets, weights = (column.to(model.device) for column in columns)
    visible = (group_RT[:, :, None] == group_RT[:, None]) & ((chain_RT[:, None] == chain_RT[:, :, None]) | (chain_RT[:, None] == 0))
    causal = make_mask(visible.tril())
    if start is None:
        inputs = {"input_ids": input_ids, "position_ids": positions, "attention_mask": causal}
    else:
        sources = [[(token, n) for n, group in enumerate(row, 1) for token in examples[group[0]].source] for row in rows]
        columns = [pad_rows([[pair[i] for pair in row] for row in sources], value) for i, value in ((0, pad), (1, 0))]
        source_ids, source_RS = (column.to(model.device) for column in columns)
        encoder_mask = make_mask(source_RS[:, :, None] == source_RS[:, None, :])
        inputs = {
            "encoder_outputs": model.get_encoder()(input_ids=source_ids, attention_mask=encoder_mask),
            # Padding sees all sources: a position that sees nothing is NaN in some kernels.
            "attention_mask": make_mask((group_RT[:, :, None] == source_RS[:, None, :]) | (group_RT[:, :, None] == 0)),
            "decoder_input_ids": input_ids,
            "decoder_attention_mask": causal,
        }
    return TrainingBatch(inputs, targets, weights, tuple(bearing))
