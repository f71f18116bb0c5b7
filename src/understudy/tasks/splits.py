"""Splits, and the rule on questions that are on both sides of one."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.core.errors import DataError
from understudy.core.values import Problem


@dataclass(frozen=True)
class Overlap:
    """``dropped``: problems that left train (or dev) since a held-out split has the same question with the same choices.
    ``near``: held-out problems whose question differs from one in train by case, blanks, punctuation or numbers only."""

    dropped: tuple[str, ...] = ()
    near: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"dropped": list(self.dropped), "near-duplicates": self.near}


def check_overlap(
    problems: Sequence[Problem], *, held_out: Sequence[str], rule: Literal["error", "drop"]
) -> tuple[list[Problem], Overlap]:
    """``problems`` without those outside the ``held_out`` splits whose question and choices a held-out one has too.

    ``rule`` "error" raises DataError naming them instead. Near-duplicates are counted, never an error.
    """
    held = defaultdict(list)
    for problem in problems:
        if problem.split in held_out:
            held[_exact(problem)].append(problem.id)
    same = {p.id: held[_exact(p)][0] for p in problems if p.split not in held_out and _exact(p) in held}
    if same and rule == "error":
        shown = ", ".join(f"{a} = {b}" for a, b in list(same.items())[:5])
        raise DataError(
            f"{len(same)} problems outside {', '.join(held_out)} have the same question and choices as one in it: {shown}"
            f'{", ..." if len(same) > 5 else ""}; set study.overlap = "drop" to leave them out of training'
        )
    kept = [p for p in problems if p.id not in same]
    learned = {_near(p) for p in kept if p.split not in held_out}
    near = sum(p.split in held_out and _near(p) in learned for p in kept)
    return kept, Overlap(tuple(same), near)


def split(problems: Sequence[Problem], sizes: Mapping[str, int], *, seed: int) -> list[Problem]:
    """``problems`` in seeded random order, the first ``sizes`` of them in each split, the rest left out.

    Raises DataError where there are too few.
    """
    if sum(sizes.values()) > len(problems):
        raise DataError(f"sizes = {dict(sizes)} ask for {sum(sizes.values())} problems, there are {len(problems)}")
    order = sorted(problems, key=lambda p: p.id)
    random.Random(f"split\x1f{seed}").shuffle(order)
    names = [name for name, n in sizes.items() for _ in range(n)]
    return [replace(problem, split=name) for problem, name in zip(order, names, strict=False)]


def check_ids(problems: Sequence[Problem]) -> None:
    """Raise DataError where two problems have one id."""
    twice = [name for name, n in Counter(p.id for p in problems).items() if n > 1]
    if twice:
        raise DataError(f"{len(twice)} ids are used twice, the first is {twice[0]!r}: give every problem an id of its own")


def _exact(problem: Problem) -> tuple[str, str, tuple[str, ...]]:
    return " ".join(problem.context.split()), " ".join(problem.question.split()), tuple(sorted(problem.choices))


def _near(problem: Problem) -> tuple[str, ...]:
    text = " ".join([problem.context, problem.question, *sorted(problem.choices)])
    return tuple("0" if word[0].isdigit() else word for word in re.findall(r"\w+", text.casefold()))
