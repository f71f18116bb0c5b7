"""From examples to batches: tokens with a loss weight each, and an order that is a pure function of (seed, step)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from understudy.core.tokens import Tokenizer, Turn, encode_messages, encode_reply, encode_source
from understudy.core.values import Example


@dataclass(frozen=True)
class Tokens:
    """One example as the model sees it: ``source`` and ``target`` token ids, the loss weight of each target token (its
    segment's times the example's; the end token has that of the last segment)."""

    problem: str
    chain: str | None
    source: tuple[int, ...]
    target: tuple[int, ...]
    weights: tuple[float, ...]


def encode(example: Example, tokenizer: Tokenizer, *, seq2seq: bool, turn: Turn | None = None) -> Tokens:
    """The tokens of ``example``; segments are tokenised each on its own, and the end token comes last: the tokenizer's, or
    for messages the one that ends the assistant's ``turn``."""
    assert example.target, f"example of problem {example.problem!r} has nothing to learn"
    assert bool(example.messages) == (turn is not None), f"example of problem {example.problem!r}: messages need their turn"
    target: list[int] = []
    weights: list[float] = []
    for i, segment in enumerate(example.target):
        ids = encode_reply(tokenizer, segment.text, turn if i == 0 else None)
        target += ids
        weights += [segment.weight * example.weight] * len(ids)
    target.append(tokenizer.eos_token_id if turn is None else turn.end)
    weights.append(example.target[-1].weight * example.weight)
    if example.messages:
        source = encode_messages(tokenizer, example.messages)
    else:
        source = encode_source(tokenizer, example.source, seq2seq=seq2seq)
    return Tokens(example.problem, example.chain, tuple(source), tuple(target), tuple(weights))


class Order:
    """Which examples each step takes. ``visits`` as in `TrainingOptions`."""

    def __init__(self, examples: Sequence[Tokens], *, visits: str, batch_size: int, seed: int) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for i, example in enumerate(examples):
            groups[example.problem if visits == "problem" else str(i)].append(i)
        self.groups, self.batch_size, self.seed = list(groups.values()), batch_size, seed
        self._epoch: tuple[int, list[int]] = (-1, [])

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of step ``step`` (from 0): the next ``batch_size`` visits of an endless row of epochs."""
        return [self._visit(step * self.batch_size + i) for i in range(self.batch_size)]

    def _visit(self, visit: int) -> int:
        epoch, place = divmod(visit, len(self.groups))
        if self._epoch[0] != epoch:
            # One generator per epoch draws the order and then a choice for every group.
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.groups))
            u = rng.random(len(self.groups))
            self._epoch = epoch, [self.groups[g][int(u[g] * len(self.groups[g]))] for g in order]
        return self._epoch[1][place]


@dataclass(frozen=True)
class Batch:
    """``inputs`` for the model; ``targets`` [B, T] and ``weights`` [B, T] (0: no loss) for its logits."""

    inputs: dict[str, torch.Tensor]
    targets: torch.Tensor
    weights: torch.Tensor


def collate(examples: Sequence[Tokens], *, pad: int, start: int | None) -> Batch:
    """Right-padded tensors. ``start``: the token that a sequence-to-sequence decoder begins with; None for a causal model."""
    if start is None:
        rows = [e.source + e.target for e in examples]
        ids, mask = _padded([row[:-1] for row in rows], pad)
        targets, _ = _padded([row[1:] for row in rows], pad)
        weights = _weights([(0.0,) * (len(e.source) - 1) + e.weights for e in examples], targets.shape[1])
        return Batch({"input_ids": ids, "attention_mask": mask}, targets, weights)
    ids, mask = _padded([e.source for e in examples], pad)
    targets, _ = _padded([e.target for e in examples], pad)
    told, _ = _padded([(start, *e.target[:-1]) for e in examples], pad)
    weights = _weights([e.weights for e in examples], targets.shape[1])
    return Batch({"input_ids": ids, "attention_mask": mask, "decoder_input_ids": told}, targets, weights)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def _weights(rows: Sequence[Sequence[float]], width: int) -> torch.Tensor:
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows])


def loss(logits_BTV: torch.Tensor, batch: Batch, *, reduction: str, whole: float | None = None) -> torch.Tensor:
    """Cross-entropy of the target tokens in float32, by their weights.

    ``token``: sum over the batch / sum of the weights' sizes. ``example``: the mean over rows of each row's such quotient.
    Only the positions that bear loss are looked at. ``whole``: `weight_of_step`, where the batch is a part of a step: the
    losses of the parts add up to the step's.
    """
    bears = batch.weights != 0
    nll = torch.nn.functional.cross_entropy(logits_BTV[bears].float(), batch.targets[bears], reduction="none")
    weights = batch.weights[bears]
    if reduction == "token":
        return (nll * weights).sum() / (whole or weights.abs().sum())
    row = bears.nonzero()[:, 0]
    size = torch.zeros(len(bears)).index_add(0, row, weights.abs())
    total = torch.zeros(len(bears)).index_add(0, row, nll * weights)
    return (total / size).sum() / (whole or len(bears))


def weight_of_step(examples: Sequence[Tokens], *, reduction: str) -> float:
    """What the loss of a step is divided by: the size of all its weights, or the number of its examples."""
    return sum(abs(w) for e in examples for w in e.weights) if reduction == "token" else float(len(examples))


def leave_out_too_long(examples: Sequence[Tokens], context: int | None, *, seq2seq: bool) -> list[Any]:
    """The examples that fit: a chain that is cut would teach never to end, and a question that is cut is another one."""
    if context is None:
        return list(examples)
    return [e for e in examples if (max(len(e.source), len(e.target)) if seq2seq else len(e.source) + len(e.target)) <= context]
