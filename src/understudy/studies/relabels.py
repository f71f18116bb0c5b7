"""What people say of single chains, in the place of the first check's verdicts, and what an engine says, for the check ``judged``:
a line for each in a file (docs/view.md, docs/judge.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from understudy.studies.schema import read_lines

FILE = "relabels.jsonl"
JUDGED = "judged"
Said = Literal["correct", "wrong", "undecidable"]
SAID: tuple[str, ...] = get_args(Said)


@dataclass(frozen=True)
class Relabel:
    """The person or engine ``rater`` says ``outcome`` of the ``chain`` with this id, for a ``reason``, in the place of ``check``
    (by default the study's first one), which said ``was``. ``at``: when, in UTC."""

    chain: str
    outcome: Said
    rater: str
    reason: str = ""
    was: str = ""
    at: str = ""
    check: str = ""


def read_relabels(path: Path, first: str = "") -> dict[tuple[str, str], Relabel]:
    """(check, chain) -> the last one of it; ``first`` is the name of the first check. Raises DataError naming the line, or the file
    where there is none."""
    return {(relabel.check or first, relabel.chain): relabel for _, relabel in read_lines(Relabel, path)}
