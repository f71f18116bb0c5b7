"""The formats of chains by name, and how a format is recognised. `docs/corpus.md` says what each format keeps."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from understudy.core.errors import DataError, with_known
from understudy.corpus.formats.batch import BATCH
from understudy.corpus.formats.chat import MESSAGES, SHAREGPT
from understudy.corpus.formats.flat import ALPACA, JSONL, PROMPT_COMPLETION, THINK
from understudy.corpus.formats.record import FIELDS, FileFormat, Row
from understudy.corpus.tables import read_objects

UNDERSTUDY = "understudy"
"""Understudy's Parquet, which gives every chain back exactly."""

FORMATS: Mapping[str, FileFormat] = {f.name: f for f in (JSONL, PROMPT_COMPLETION, MESSAGES, SHAREGPT, ALPACA, THINK, BATCH)}
NAMES = (UNDERSTUDY, *FORMATS)


def map_names(layout: FileFormat, fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return our field -> the row's: the ``fields`` one, else the format's, else the default."""
    return {**FIELDS, **layout.names, **fields}


def check_name(name: str) -> None:
    """Raise DataError if no format is called ``name``."""
    if name not in NAMES:
        raise DataError(f"unknown format {with_known(name, NAMES)}")


def recognise_format(path: Path, name: str, fields: Mapping[str, str], *, skip_bad: bool = False) -> FileFormat:
    """Return the format called ``name``, or, if ``name`` is "", the format of the first 20 rows of ``path``.

    ``skip_bad`` leaves out damaged lines. Raises DataError if the rows do not fit the named format, or fit no known format, or
    several.
    """
    rows: list[Row] = [row for _, row in islice(read_objects(path, [] if skip_bad else None), 20)]
    if not rows:
        raise DataError(f"{path}: the file has no rows")

    def fits(layout: FileFormat, sample: list[Row]) -> bool:
        return layout.fits(sample, map_names(layout, fields))

    # Every format reads thoughts, so `think` is only for rows that fit no other format.
    candidates = [f for f in FORMATS.values() if f is not THINK and fits(f, rows[:1])] or [f for f in [THINK] if fits(f, rows)]
    row_fields = f"its first row has: {', '.join(rows[0])}"
    if name:
        if not fits(FORMATS[name], rows[:1]) and not fits(FORMATS[name], rows):
            suggestion = f"; it looks like {' or '.join(f.name for f in candidates)}" if candidates else ""
            raise DataError(f"{path}: not in the format {name!r}, which needs {FORMATS[name].needs}; {row_fields}{suggestion}")
        return FORMATS[name]
    if JSONL in candidates and "text" in fields:  # the user has named the plain fields
        return JSONL
    if len(candidates) > 1:
        raise DataError(f"{path}: may be {' or '.join(f.name for f in candidates)}; set format = ... (--format); {row_fields}")
    if not candidates:
        message = f"{path}: in no known format ({', '.join(NAMES)}); {row_fields}. Map the fields of plain rows (text=FIELD,"
        raise DataError(f"{message} problem=FIELD, question=FIELD), or name the format to see what it needs")
    return candidates[0]
