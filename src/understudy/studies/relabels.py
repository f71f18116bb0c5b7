"""What people say of single chains, in the place of the first check's verdicts: a file with a line for each (docs/view.md)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from understudy.studies.schema import read_lines

FILE = "relabels.jsonl"
Said = Literal["correct", "wrong", "undecidable"]
SAID: tuple[str, ...] = get_args(Said)


@dataclass(frozen=True)
class Relabel:
    """The person ``rater`` says ``outcome`` of the ``chain`` with this id, for a ``reason``; the check said ``was``. ``at``: when,
    in UTC."""

    chain: str
    outcome: Said
    rater: str
    reason: str = ""
    was: str = ""
    at: str = ""


def read_relabels(path: Path) -> dict[str, Relabel]:
    """chain -> the last one of it. Raises DataError naming the line, or the file where there is none."""
    return {relabel.chain: relabel for _, relabel in read_lines(Relabel, path)}
