"""The formats in which people have chains, by name, and how one is recognised. `docs/corpus.md` says what each keeps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from understudy.core.errors import DataError, nearest
from understudy.corpus.formats.batch import BATCH
from understudy.corpus.formats.chat import MESSAGES, SHAREGPT
from understudy.corpus.formats.flat import ALPACA, JSONL, PROMPT_COMPLETION
from understudy.corpus.formats.record import FIELDS, FileFormat, Row
from understudy.corpus.formats.think import THINK
from understudy.corpus.tables import read_objects

UNDERSTUDY = "understudy"
"""Our Parquet: no format of rows, every chain comes back exactly."""

FORMATS: Mapping[str, FileFormat] = {f.name: f for f in (JSONL, PROMPT_COMPLETION, MESSAGES, SHAREGPT, ALPACA, THINK, BATCH)}
NAMES = (UNDERSTUDY, *FORMATS)
LOOKED_AT = 20
"""So many rows decide what a file is."""


def names_of(found: FileFormat, given: Mapping[str, str]) -> Mapping[str, str]:
    """Our field -> the row's: what was ``given``, else what the format calls it, else our own name."""
    return {**FIELDS, **found.names, **given}


def check_name(name: str) -> None:
    """Raises ValueError where no format is called ``name``."""
    if name not in NAMES:
        raise ValueError(f"format = {name!r}: is unknown{nearest(name, NAMES)} (known: {', '.join(NAMES)})")


def format_of(path: Path, name: str, given: Mapping[str, str]) -> FileFormat:
    """The format called ``name``, or the one that the first rows of ``path`` are in where ``name`` is "".

    Raises DataError where the rows are not of that format, of none that is known, or of several.
    """
    rows: list[Row] = [row for _, row in islice(read_objects(path), LOOKED_AT)]
    if not rows:
        raise DataError(f"{path}: has no rows")

    def fits(found: FileFormat, some: list[Row]) -> bool:
        return found.fits(some, names_of(found, given))

    # Texts with thoughts are read as such in every format: `think` is what has no other form.
    fitting = [f for f in FORMATS.values() if f is not THINK and fits(f, rows[:1])] or [f for f in [THINK] if fits(f, rows)]
    has = f"its first row has: {', '.join(rows[0])}"
    if name:
        if not fits(FORMATS[name], rows[:1]) and not fits(FORMATS[name], rows):
            like = f"; it looks like {' or '.join(f.name for f in fitting)}" if fitting else ""
            raise DataError(f"{path}: not in the format {name!r}, which needs {FORMATS[name].needs}; {has}{like}")
        return FORMATS[name]
    if JSONL in fitting and "text" in given:  # plain fields, whose names were given
        return JSONL
    if len(fitting) > 1:
        names = ", ".join(f.name for f in fitting)
        raise DataError(f"{path}: could be {names}; choose one with format = ... (--format); {has}")
    if not fitting:
        raise DataError(
            f"{path}: is in no known format ({', '.join(NAMES)}); {has}. Map the fields of plain rows (text=FIELD, "
            "problem=FIELD, question=FIELD), or name a format (--format) to see what it needs"
        )
    return fitting[0]
