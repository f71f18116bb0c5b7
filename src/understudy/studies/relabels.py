"""Verdicts on single chains: those of people, which replace the first check's, and those of an engine, for the check ``judged``.
Each is a line in a file (docs/view.md, docs/judge.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from understudy.studies.schema import read_lines

FILE = "relabels.jsonl"
JUDGED = "judged"
Ruling = Literal["correct", "wrong", "undecidable"]
RULINGS: tuple[str, ...] = get_args(Ruling)


@dataclass(frozen=True)
class Relabel:
    """The verdict of a person or an engine (``rater``) on the ``chain`` with this id: its ``outcome``, for a ``reason``. It
    replaces that of ``check`` (by default the study's first), which was ``was``. ``at``: when, in UTC."""

    chain: str
    outcome: Ruling
    rater: str
    reason: str = ""
    was: str = ""
    at: str = ""
    check: str = ""


def read_relabels(path: Path, first: str = "") -> dict[tuple[str, str], Relabel]:
    """Read the last verdict on each (check, chain); ``first`` is the name of the first check. Raises DataError naming the line, or
    the file if it does not exist."""
    return {(relabel.check or first, relabel.chain): relabel for _, relabel in read_lines(Relabel, path)}
