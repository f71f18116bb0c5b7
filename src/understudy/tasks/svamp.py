"""SVAMP: one- and two-step word problems, varied so that shallow reading fails (Patel et al. 2021, arXiv 2103.07191). MIT licence.

    {"ID": "chal-1", "Body": "A box of chalk costs 9 coins. There is a discount of 2 coins on each box", "Question": "How much do
     you pay for a box?", "Equation": "( 9.0 - 2.0 )", "Answer": 7.0, "Type": "Subtraction"}

Get: github.com/arkilpatel/SVAMP, SVAMP.json, or huggingface.co/datasets/ChilleD/SVAMP (the same fields, 700 train and 300 test; as
in uses of both in public code). SVAMP.json, 1,000 problems, has no splits: `test` and `dev` of them are drawn by seed, the rest
is train; of the hub's copy `dev` problems are held out of train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.core.answers import numbers_used
from understudy.core.values import Problem
from understudy.tasks.data_sets import ALL, Row, all_files, at_least_one, find, hold_out, hub, read


@dataclass(frozen=True)
class SVAMP:
    """SVAMP: answers of kind ``number``. Of the hub's copy test is the published one."""

    root: str = "."
    """The directory that holds the set (docs/tasks.md), relative to the study file."""
    dev: int = 100
    """So many problems, drawn by seed."""
    test: int = 300
    """So many problems, drawn by seed, where none are published; the rest is train."""

    def __post_init__(self) -> None:
        at_least_one(dev=self.dev, test=self.test)

    def _found(self) -> dict[str, list[Path]]:
        return find(self.root, {ALL: ["SVAMP.json"]}, hub(train="train", test="test"))

    def files(self) -> list[Path]:
        """What the problems are read from."""
        return all_files(self._found())

    def problems(self, *, seed: int) -> list[Problem]:
        """Every problem with its split. Raises DataError naming file, row and field."""
        return hold_out(read(self._found(), _problem, name="svamp"), seed=seed, dev=self.dev, test=self.test)


def _problem(row: Row) -> Problem:
    body, equation = row.text("Body"), row.text("Equation")
    return Problem(
        id=row.text("ID"),
        question=f"{body}{'' if body[-1] in '.?!,;' else '.'} {row.text('Question')}",
        kind="number",
        answer=row.gold(row.get("Answer"), "Answer", "number"),
        meta={"equation": equation, "type": row.text("Type"), "steps": max(1, len(numbers_used(equation)) - 1)},
    )
