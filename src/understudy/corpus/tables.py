"""Rows of other people's files: JSON Lines, JSON, CSV, TSV, Parquet; errors name file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError

Row = dict[str, Any]
FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


def read_objects(path: Path) -> Iterator[tuple[str, Row]]:
    """(where it stands, row) of every row of ``path``, by the end of its name; blank lines are skipped.

    Raises DataError naming file and line (or row) where it cannot be read or a row is no object.
    """
    readers = {".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower(), _json_lines)
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _object(where, _parsed(where, line, "the file must have one JSON object a line"))


def _json(path: Path) -> Iterator[tuple[str, Row]]:
    found = _parsed(str(path), path.read_text(encoding="utf-8-sig"), "the file must be a JSON array of objects")
    if isinstance(found, dict):
        lists = {name: value for name, value in found.items() if isinstance(value, list)}
        if len(lists) != 1:
            named = ", ".join(lists) or "none"
            raise DataError(f"{path}: an object with {len(lists)} lists ({named}); the file must be a JSON array of objects")
        (found,) = lists.values()
    if not isinstance(found, list):
        raise DataError(f"{path}: {str(found)[:60]!r} is not a JSON array of objects")
    for number, row in enumerate(found, 1):
        where = f"{path}, row {number}"
        yield where, _object(where, row)


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", restkey="", strict=True)
        try:
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if "" in row:
                    raise DataError(f"{where}: more fields than the first line names ({', '.join(reader.fieldnames or ())})")
                yield where, {name: value for name, value in row.items() if value not in ("", None)}
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: not a table ({error})") from None


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a Parquet file that can be read ({error})") from None


def _parsed(where: str, text: str, must: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); {must}") from None


def _object(where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: {str(row)[:60]!r} is not a JSON object")
    return row
