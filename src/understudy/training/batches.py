"""From examples to batches: tokens with a loss weight each, and an order that is a pure function of (seed, step)."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch

from understudy.core.tokens import Tokenizer, Turn, encode_prompt, encode_reply
from understudy.core.values import Example, grouped


@dataclass(frozen=True)
class EncodedExample:
    """One example as the model sees it: ``source`` and ``target`` token ids, the loss weight of each target token (its
    segment's; the end token has that of the last segment), and ``weight`` and ``group`` of the `Example`."""

    problem: str
    chain: str | None
    source: tuple[int, ...]
    target: tuple[int, ...]
    weights: tuple[float, ...]
    weight: float = 1.0
    group: str = "main"

    @property
    def size(self) -> float:
        """How much its target counts: the sum of its weights' sizes."""
        return sum(map(abs, self.weights))

    def __len__(self) -> int:
        """Tokens that are read and learned."""
        return len(self.source) + len(self.target)


def digest_examples(examples: Iterable[EncodedExample], *, words: int) -> str:
    """Digest what a student learns, with the number of ``words`` in its vocabulary."""
    content = hashlib.blake2b(str(words).encode(), digest_size=16)
    for example in examples:
        content.update(repr(example).encode())
    return content.hexdigest()


def encode(example: Example, tokenizer: Tokenizer, *, seq2seq: bool, turn: Turn | None = None) -> EncodedExample:
    """The tokens of ``example``; segments are tokenised each on its own, and the end token comes last: the tokenizer's, or
    for messages the one that ends the assistant's ``turn``."""
    assert example.target, f"example of problem {example.problem!r} has nothing to learn"
    assert bool(example.messages) == (turn is not None), f"example of problem {example.problem!r}: messages need their turn"
    learned: list[tuple[int, float]] = []
    for i, segment in enumerate(example.target):
        learned += [(token, segment.weight) for token in encode_reply(tokenizer, segment.text, turn if i == 0 else None)]
    learned.append((tokenizer.eos_token_id if turn is None else turn.end, example.target[-1].weight))
    target, weights = zip(*learned, strict=True)
    source = encode_prompt(tokenizer, example.messages or example.source, seq2seq=seq2seq)
    return EncodedExample(example.problem, example.chain, source, target, weights, example.weight, example.group)


def join_turns(examples: Sequence[EncodedExample], context: int) -> list[EncodedExample]:
    """Join the turns of one conversation into one example, so that the question is read once and not again for every turn. An
    example whose source begins with the whole example before it, source and reply, is appended to that one.

    For causal models only: each reply is still learned from the same tokens before it. A reply that another turn follows loses its
    end token, because its stop string ends it. Examples stay apart where they would be longer than ``context`` together.
    """
    joined: list[EncodedExample] = []
    for example in examples:
        previous = joined[-1] if joined else None
        if previous is None or not _continues(previous, example) or len(example) > context:
            joined.append(example)
            continue
        tokens = previous.target[:-1]
        inserted = example.source[len(previous.source) + len(tokens) :]
        weights = (*previous.weights[:-1], *[0.0] * len(inserted), *example.weights)
        joined[-1] = replace(previous, target=(*tokens, *inserted, *example.target), weights=weights)
    return joined


def _continues(first: EncodedExample, later: EncodedExample) -> bool:
    context = first.source + first.target[:-1]
    same = (first.problem, first.chain, first.weight, first.group) == (later.problem, later.chain, later.weight, later.group)
    return same and first.chain is not None and len(later.source) > len(context) and later.source[: len(context)] == context


class VisitOrder:
    """Which examples each step takes: those of its ``batch_size`` visits. ``visits`` and ``per_visit`` as in `TrainingOptions`.

    ``largest`` is the number of examples in the largest step. ``tokens`` is the mean number of tokens in a step, read and learned,
    where every visit is equally likely, and so is every example of a loss group in it.
    """

    def __init__(self, examples: Sequence[EncodedExample], *, visits: str, batch_size: int, seed: int, per_visit: int = 1) -> None:
        visited = grouped((example.problem if visits == "problem" else str(i), i) for i, example in enumerate(examples))
        self.groups = [list(grouped((examples[i].group, i) for i in indices).values()) for indices in visited.values()]
        self.batch_size, self.seed, self.per_visit = batch_size, seed, per_visit
        self.largest = batch_size * max(sum(min(per_visit, len(group)) for group in groups) for groups in self.groups)
        visit_tokens = (sum(min(per_visit, len(g)) * fmean(len(examples[i]) for i in g) for g in groups) for groups in self.groups)
        self.tokens = batch_size * fmean(visit_tokens)
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of step ``step`` (from 0): of the next ``batch_size`` visits of an endless row of epochs."""
        return [i for visit in range(self.batch_size) for i in self._visit(step * self.batch_size + visit)]

    def _visit(self, visit: int) -> list[int]:
        epoch, position = divmod(visit, len(self.groups))
        if self._epoch[0] != epoch:
            # One generator per epoch draws the order and then a choice for every problem. All loss groups of a problem share the
            # choice, so two tasks that a method made of the same chains, in the same order, get the same chain. A visit that
            # takes several examples takes the chosen one and those after it.
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.groups))
            u = rng.random(len(self.groups))
            self._epoch = epoch, [[i for group in self.groups[p] for i in self._draw(group, u[p])] for p in order]
        return self._epoch[1][position]

    def _draw(self, group: Sequence[int], u: float) -> list[int]:
        start = int(u * len(group))
        return [group[(start + i) % len(group)] for i in range(min(self.per_visit, len(group)))]


@dataclass(frozen=True)
class TrainingBatch:
    """A part of a training step, as an objective sees it. B examples, T positions of the longest one.

    ``inputs``: what the model is called with, where the sources may be keys and values that were computed before.
    ``targets`` [B, T], integers: the token that the logits at each position should give.
    ``weights`` [B, T], float32: how much the loss of each target adds to the loss of the whole step; 0 where there is nothing to
    learn (the source, padding). They are divided by the size of the step already, so a sum over all parts is the step's loss.
    ``bearing``: an index of [B, T], the rows [n] and the columns [n] of the positions that bear loss;
    it is made on the processor, because a GPU would have to be waited for to count them.
    """

    inputs: dict[str, Any]
    targets: torch.Tensor
    weights: torch.Tensor
    bearing: tuple[torch.Tensor, ...]

    def to(self, device: torch.device) -> "TrainingBatch":
        """The same on ``device``."""
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        bearing = tuple(index.to(device) for index in self.bearing)
        return TrainingBatch(inputs, self.targets.to(device), self.weights.to(device), bearing)


def scale_losses(examples: Sequence[EncodedExample], *, reduction: str) -> list[float]:
    """What a token of weight 1 of each of a step's ``examples`` adds to its loss, which is the sum over loss groups of

        ``token``:    sum over the group's tokens of nll x token's weight x example's weight / sum of the tokens' weights' sizes
        ``example``:  mean over the group's examples of the example's weight x its own such quotient

    So each group is a mean of its own (Distilling step-by-step, arXiv 2305.02301), whatever the lengths; and the weight of an
    example scales what it adds, and never the divisor (SCoTD's wrong chains at -0.1: models/automodel.py of the authors' code).
    """
    totals: dict[str, float] = defaultdict(float)
    for e in examples:
        totals[e.group] += e.size if reduction == "token" else 1
    return [e.weight / totals[e.group] / (1 if reduction == "token" else e.size) for e in examples]


def collate(examples: Sequence[EncodedExample], scales: Sequence[float], *, pad: int, start: int | None) -> TrainingBatch:
    """Right-padded tensors. ``scales``: of these examples in the loss of their whole step. ``start``: the token that a
    sequence-to-sequence decoder begins with; None for a causal model."""
    weights = [tuple(weight * scale for weight in e.weights) for e, scale in zip(examples, scales, strict=True)]
    if start is None:
        rows = [e.source + e.target for e in examples]
        input_ids, targets = [row[:-1] for row in rows], [row[1:] for row in rows]
        weights = [(0.0,) * (len(e.source) - 1) + row for e, row in zip(examples, weights, strict=True)]
    else:
        input_ids, targets = [e.source for e in examples], [e.target for e in examples]
    inputs = {"input_ids": pad_rows(input_ids, pad), "attention_mask": pad_rows([[1] * len(row) for row in input_ids], 0)}
    if start is not None:
        inputs["decoder_input_ids"] = pad_rows([(start, *row[:-1]) for row in targets], pad)
    weights_BT = pad_rows(weights, 0)
    return TrainingBatch(inputs, pad_rows(targets, pad), weights_BT, weights_BT.nonzero(as_tuple=True))


def pad_rows(rows: Sequence[Sequence[float]], value: int) -> torch.Tensor:
    """[rows, longest], with ``value`` after the end of each."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
