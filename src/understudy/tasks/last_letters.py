"""Last letters: the last letters of four names, joined (Wei et al. 2022, arXiv 2201.11903). MIT licence (the file).

    {"examples": [{"question": "Take the last letters of each words in \\"Ana Ben Eva Tom\\" and concatenate them.", "answer":
     "anam"}, ...]}

Get: github.com/kojima-takeshi188/zero_shot_cot (arXiv 2205.11916), dataset/last_letters/last_letters.json, 500 questions. There are
no splits: `test` and `dev` questions are drawn by seed, the rest is train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.core.values import Problem
from understudy.tasks.data_sets import ALL, Row, all_files, at_least_one, find, hold_out, read


@dataclass(frozen=True)
class LastLetters:
    """Last letters: answers of kind ``text``."""

    root: str = "."
    """The directory that holds the set (docs/tasks.md), relative to the study file."""
    dev: int = 50
    """So many questions, drawn by seed."""
    test: int = 150
    """So many questions, drawn by seed; the rest is train."""

    def __post_init__(self) -> None:
        at_least_one(dev=self.dev, test=self.test)

    def _found(self) -> dict[str, list[Path]]:
        return find(self.root, {ALL: ["last_letters.json", "last_letters/last_letters.json"]})

    def files(self) -> list[Path]:
        """What the problems are read from."""
        return all_files(self._found())

    def problems(self, *, seed: int) -> list[Problem]:
        """Every problem with its split. Raises DataError naming file, row and field."""
        return hold_out(read(self._found(), _problem, name="last-letters"), seed=seed, dev=self.dev, test=self.test)


def _problem(row: Row) -> Problem:
    return Problem("", row.text("question"), "text", row.gold(row.text("answer"), "answer", "text"))
