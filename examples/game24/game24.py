"""A task and a check of one's own: the Game of 24. Make 24 from four numbers, each used once, with + - * / and parentheses.

    {"numbers": [4, 6, 10, 2], "split": "train"}                            a row of the puzzles' file
    Q: Make 24 from 4 6 10 2.
    A: 10 - 6 = 4. 4 + 2 = 6. 4 * 6 = 24. So the answer is: (10 - 6) * (4 + 2)

A puzzle has many right answers, so no list of them is kept: the check does the sum. The task also has a teacher, `work`, which
makes it a world: it searches, in random order, and errs at a known rate.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.checks.judge import by_answer
from understudy.core.answers import numbers_used
from understudy.core.answers.arithmetic import evaluate
from understudy.core.errors import DataError
from understudy.core.values import Outcome, Problem
from understudy.core.worlds import WorldSolution
from understudy.corpus.tables import read_objects

QUESTION = re.compile(r"Make (?P<target>\d+) from (?P<numbers>[\d ]+)\.")


@dataclass(frozen=True)
class Game24:
    """The options of the study's [task] table. ``root`` is filled in with the directory of the study file."""

    path: str
    root: str = "."
    target: int = 24

    def files(self) -> list[Path]:
        """What decides the problems: a changed file makes the study do everything after it anew."""
        return [Path(self.root) / self.path]

    def problems(self, *, seed: int) -> Iterator[Problem]:
        for i, (where, row) in enumerate(read_objects(self.files()[0])):
            numbers = row.get("numbers")
            if not isinstance(numbers, list) or not all(isinstance(n, int) and n > 0 for n in numbers):
                raise DataError(f"{where}: field 'numbers' must be a list of positive numbers, not {numbers!r}")
            question = f"Make {self.target} from {' '.join(map(str, numbers))}."
            yield Problem(f"puzzle-{i}", question, "expression", answer=str(self.target), split=row.get("split", "train"))

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> WorldSolution:
        """A working of any question of this task, wrong at the rate ``slip``: what makes it a world, with a teacher of its own."""
        target, numbers = _asked(question)
        wrong = rng.random() < slip
        for steps, expression, value in _tries([(n, str(n)) for n in numbers], [], rng):
            if (value == target) != wrong:
                told = [(f"{step}.", (f"What is {step.partition(' = ')[0]}?",)) for step in steps]
                return WorldSolution.of(told, expression.removeprefix("(").removesuffix(")"), "expression", rng)
        raise ValueError(f"there is no way to make {target}")


@by_answer
def check(problem: Problem, answer: str) -> Outcome:
    """Whether the expression uses every number of the question once and comes to the gold."""
    used = numbers_used(answer)
    if not used:
        return Outcome.UNDECIDABLE
    target, numbers = _asked(problem.question)
    right = evaluate(answer) == target and sorted(used) == sorted(map(str, numbers))
    return Outcome.CORRECT if right else Outcome.WRONG


def _asked(question: str) -> tuple[int, list[int]]:
    found = QUESTION.fullmatch(question)
    if found is None:
        raise ValueError("not a puzzle")
    return int(found["target"]), [int(n) for n in found["numbers"].split()]


def _tries(parts: list[tuple[int, str]], steps: list[str], rng: random.Random) -> Iterator[tuple[list[str], str, int]]:
    """Every way to join whole numbers, in random order: (steps, expression, value)."""
    if len(parts) == 1:
        yield steps, parts[0][1], parts[0][0]
        return
    pairs = [(i, j) for i in range(len(parts)) for j in range(len(parts)) if i != j]
    for i, j in rng.sample(pairs, len(pairs)):
        (a, said_a), (b, said_b) = parts[i], parts[j]
        rest = [part for k, part in enumerate(parts) if k not in (i, j)]
        results = {"+": a + b, "*": a * b, "-": a - b, "/": a // b if b and a % b == 0 else -1}
        for sign, value in rng.sample(sorted(results.items()), 4):
            if value >= 0:
                step = f"{a} {sign} {b} = {value}"
                yield from _tries([*rest, (value, f"({said_a} {sign} {said_b})")], [*steps, step], rng)


UNDERSTUDY = {"task": {"game24": Game24}, "check": {"game24": check}}
