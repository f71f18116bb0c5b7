"""The rule for questions that are both in a held-out split and outside it."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.core.errors import DataError
from understudy.core.values import Problem


@dataclass(frozen=True)
class Overlap:
    """``dropped``: problems that left train (or dev) since a held-out split has the same question with the same choices.
    ``near_key``: held-out problems whose question differs from one in train by case, blanks, punctuation or numbers only."""

    dropped: tuple[str, ...] = ()
    near: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"dropped": list(self.dropped), "near-duplicates": self.near}


def check_overlap(
    problems: Sequence[Problem], *, held_out: Sequence[str], rule: Literal["error", "drop"]
) -> tuple[list[Problem], Overlap]:
    """``problems`` without those outside the ``held_out`` splits that share question and choices with a held-out problem.

    With the ``rule`` "error" such problems raise a DataError that names them. Near-duplicates are counted and never an error.
    """
    keys = defaultdict(list)
    for problem in problems:
        if problem.split in held_out:
            keys[exact_key(problem)].append(problem.id)
    same = {p.id: keys[exact_key(p)][0] for p in problems if p.split not in held_out and exact_key(p) in keys}
    if same and rule == "error":
        pairs = ", ".join(f"{a} = {b}" for a, b in list(same.items())[:5])
        raise DataError(
            f"{len(same)} problems outside {', '.join(held_out)} have the question and choices of a problem in it: {pairs}"
            f'{", ..." if len(same) > 5 else ""}; set study.overlap = "drop" to drop them from training'
        )
    kept = [p for p in problems if p.id not in same]
    learned = {near_key(p) for p in kept if p.split not in held_out}
    return kept, Overlap(tuple(same), sum(p.split in held_out and near_key(p) in learned for p in kept))


def exact_key(problem: Problem) -> tuple[str, str, tuple[str, ...]]:
    """A key that is equal for the same question with the same choices in any order."""
    return " ".join(problem.context.split()), " ".join(problem.question.split()), tuple(sorted(problem.choices))


def near_key(problem: Problem) -> tuple[str, ...]:
    """A key that is equal for questions that differ only by case, blanks, punctuation or numbers."""
    text = " ".join([problem.context, problem.question, *sorted(problem.choices)])
    return tuple("0" if word[0].isdigit() else word for word in re.findall(r"\w+", text.casefold()))
