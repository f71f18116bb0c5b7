"""Two symbolic tasks (Wei et al. 2022, arXiv 2201.11903): coin flip and last letters. MIT licence (the files).

    {"examples": [{"question": "A coin is heads up. Ana flips the coin. Ben does not flip the coin. Eva does not flip the coin. Tom
     flips the coin. Is the coin still heads up? Note that \\"flip\\" here means \\"reverse\\".", "answer": "yes"}, ...]}
    {"examples": [{"question": "Take the last letters of each words in \\"Ana Ben Eva Tom\\" and concatenate them.", "answer":
     "anam"}, ...]}

Get: github.com/kojima-takeshi188/zero_shot_cot (arXiv 2205.11916), dataset/coin_flip/coin_flip.json and
dataset/last_letters/last_letters.json, 500 questions each. There are no splits: `test` and `dev` questions are drawn by seed, and
the rest is train.
"""

from dataclasses import dataclass
from typing import ClassVar

from understudy.core.values import AnswerKind, Problem
from understudy.tasks.data_sets import ALL, AtLeastOne, FilePatterns, PublishedRow, PublishedSet


@dataclass(frozen=True)
class _Symbolic(PublishedSet):
    dev: AtLeastOne = 50
    """The number of dev questions, drawn by seed."""
    test: AtLeastOne = 150
    """The number of test questions, drawn by seed. The rest is train."""

    prefix: ClassVar[str]
    kind: ClassVar[AnswerKind]

    def layouts(self) -> list[FilePatterns]:
        file = self.prefix.replace("-", "_")
        return [{ALL: [f"{file}.json", f"{file}/{file}.json"]}]

    def problem(self, row: PublishedRow) -> Problem:
        return Problem("", row.text("question"), self.kind, row.gold(row.text("answer"), "answer", self.kind))


@dataclass(frozen=True)
class CoinFlip(_Symbolic):
    """Coin flip: whether a coin is still heads up after four people. Answers of kind ``yes_no``."""

    prefix = "coin-flip"
    kind = "yes_no"


@dataclass(frozen=True)
class LastLetters(_Symbolic):
    """Last letters: the last letters of four names, joined. Answers of kind ``text``."""

    prefix = "last-letters"
    kind = "text"
