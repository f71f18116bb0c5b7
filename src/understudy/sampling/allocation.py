"""Allocates a fixed number of chains: a few for each question, then more where the answers disagree or none is right.

    asking = plan_rounds(["p1", "p2"], total=20, options=Allocation(first=4))
    next(asking)                                          # {"p1": range(0, 4), "p2": range(0, 4)}
    asking.send({"p1": [...], "p2": [...]})               # the draws of these paths; {"p2": range(4, 8)}, and so on

Chains are asked for in blocks of ``first``. Each block has a place in one order of all blocks: the more doubtful question first,
then the one with fewer chains, then by a hash of its id. The place depends only on the question's own earlier chains, and
``total`` says where the order ends. So the same replies give the same allocation, in whatever order they arrive; a larger total
asks for the same chains and more; and one more question takes only its own chains.
"""

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, NamedTuple

from pydantic import Field

from understudy.core.values import digest


@dataclass(frozen=True)
class Allocation:
    """Ask for more chains where they help; in all, as many as ``samples`` for each question (docs/allocation.md)."""

    first: Annotated[int, Field(ge=1)] = 4
    """Chains of every question before any gets more, and of every further block. Four is the smallest number that, if all agree,
    leaves a chance of at most .05 that another answer leads, the threshold of Adaptive-Consistency (arXiv 2305.11860)."""
    most: int = 120
    """Most chains of one question: four times SCoTD's 30, so that a question that nobody can answer does not take them all. Default
    chosen by this project: in the replays of docs/allocation.md it matters little."""
    right: Annotated[int, Field(ge=0)] = 0
    """Ask first for the questions with fewer than this many chains that the study's check finds right, those with fewest chains
    first; then for the others, as DART does (arXiv 2407.13690). 0: gold answers are not used, and disagreement decides."""

    def __post_init__(self) -> None:
        if self.most < self.first:
            raise ValueError(f"most = {self.most}: must be at least first = {self.first}")


class Draw(NamedTuple):
    """One chain of a question: its ``answer``, None if it has none, was cut off or failed; and whether the check found it
    ``right``."""

    answer: str | None
    right: bool = False


Rounds = Generator[Mapping[str, range], Mapping[str, Sequence[Draw]], None]


def plan_rounds(problems: Sequence[str], total: int, options: Allocation) -> Rounds:
    """Yield which paths of which questions to ask for, and receive the draw of each, until ``total`` are asked for or every
    question has ``options.most``."""
    draws: dict[str, list[Draw]] = {name: [] for name in problems}
    # The lowest level that a question's chains have shown; 1: no chains yet. Questions of a higher level are asked first.
    levels = dict.fromkeys(draws, 1)
    hashes = {name: digest(["allocation", name]) for name in problems}

    def rank(name: str) -> tuple[int, int]:
        return -levels[name], len(draws[name])

    remaining = min(total, options.most * len(draws))
    while remaining:
        candidates = [name for name, past in draws.items() if len(past) < options.most]
        first_rank = min(map(rank, candidates))
        tied = sorted((name for name in candidates if rank(name) == first_rank), key=hashes.__getitem__)
        paths: dict[str, range] = {}
        for name in tied[: math.ceil(remaining / options.first)]:
            start = len(draws[name])
            paths[name] = range(start, min(start + options.first, options.most, start + remaining))
            remaining -= len(paths[name])
        received = yield {name: paths[name] for name in problems if name in paths}
        for name in paths:
            draws[name] += received[name]
            levels[name] = min(levels[name], _compute_level(draws[name], options.right))


def _compute_level(draws: Sequence[Draw], right: int) -> int:
    """Return how much a question needs more chains: the floor of log2 of its doubt, or, with ``right``, 0 until it has that many
    right ones and then -1."""
    if right:
        return 0 if sum(draw.right for draw in draws) < right else -1
    votes = Counter(draw.answer for draw in draws if draw.answer is not None)
    # A teacher that never answers a question counts as agreeing with itself, so that it is not asked forever.
    ranked = [*sorted(votes.values(), reverse=True), 0, 0] if votes else [len(draws), 0]
    return _count_halvings(ranked[0], ranked[1])


@cache
def _count_halvings(leading: int, second: int) -> int:
    """Compute floor(log2(doubt)) exactly. The doubt is the chance, under a uniform prior, that the ``second`` of the two most
    frequent answers is the more probable one: I(1/2; leading + 1, second + 1) (Adaptive-Consistency, arXiv 2305.11860, its Beta
    criterion). For whole numbers that is a binomial tail."""
    tosses = leading + second + 1
    return sum(math.comb(tosses, heads) for heads in range(leading + 1, tosses + 1)).bit_length() - 1 - tosses
