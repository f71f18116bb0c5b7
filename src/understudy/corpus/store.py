"""Store problems, chains, verdicts and solutions in Parquet. A file is written whole or not at all, and read back exactly."""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.core.errors import DataError
from understudy.core.values import V, from_json

_TYPES = {"int": pa.int64(), "int | None": pa.int64(), "float | None": pa.float64(), "bool": pa.bool_()}
_FLAT = {*_TYPES, "str", "str | None", "Outcome", "AnswerKind"}
"""Values of these types are stored as they are, all others as JSON text."""
VERSION = 1
ROWS = 10_000
"""The number of rows that are written, and read, at once."""
_NESTED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=dataclasses.asdict)


def write_rows(path: Path, kind: type[V], values: Iterable[V], *, card: Mapping[str, Any] | None = None) -> None:
    """Write ``values`` to ``path`` (Parquet): numbers and texts as they are, nested values as JSON text. They are read `ROWS` at a
    time, so they need not all be in memory.

    Any other tool can read the file with one call. ``card`` goes into the schema's metadata. The file appears whole, and it is
    durable when this returns.
    """
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    header = {"kind": kind.__name__, "version": VERSION} | ({} if card is None else {"card": card})
    columns = [(name, _TYPES.get(type_, pa.string())) for name, type_ in types.items()]
    schema, rows = pa.schema(columns, {"understudy": json.dumps(header)}), iter(values)
    with write_whole(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, ROWS)):
            writer.write_table(pa.table({name: _make_column(path, name, type_, batch) for name, type_ in types.items()}, schema))


def _make_column(path: Path, name: str, type_: str, values: Sequence[Any]) -> pa.Array:
    """Return the field ``name`` of all ``values``. Raises DataError for a value that cannot be stored: half of a surrogate pair, a
    number beyond 64 bits, an infinite one, or lists in lists without end."""
    try:
        cells = [getattr(value, name) for value in values]
        return pa.array(cells if type_ in _FLAT else list(map(_NESTED.encode, cells)), _TYPES.get(type_, pa.string()))
    except (ValueError, OverflowError, RecursionError, pa.ArrowException) as error:
        if len(values) > 1:
            for value in values:
                _make_column(path, name, type_, [value])
        problem = getattr(values[0], "problem", None) or getattr(values[0], "id", "")
        text = repr(getattr(values[0], name))[:60].encode(errors="backslashreplace").decode()
        raise DataError(f"{path}: {name} = {text} of problem {problem!r} cannot be stored ({error}); correct its row") from None


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at ``path`` when the block ends, whole and durable, or not at all."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: the directory {path.parent} does not exist; create it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` whole or not at all, and durably."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all, and durably."""
    with write_whole(path) as file:
        file.write(text.encode())


def read_rows(path: Path, kind: type[V], rows: range | None = None) -> Iterator[V]:
    """Yield the values that `write_rows` wrote, or only those of ``rows``. Raises DataError for any other file."""
    file, header = _open(path)
    if header.get("kind") != kind.__name__ or header.get("version") != VERSION:
        contents = {name: value for name, value in header.items() if name != "card"} or "something that Understudy did not write"
        raise DataError(f"{path}: holds {contents}, not {kind.__name__} version {VERSION}")
    nested, group_start = {f.name for f in dataclasses.fields(kind) if str(f.type) not in _FLAT}, 0
    selected = range(file.metadata.num_rows) if rows is None else rows
    for group in range(file.num_row_groups):  # reading them in one go would keep all groups in memory
        size = file.metadata.row_group(group).num_rows
        start, stop = max(0, selected.start - group_start), min(size, selected.stop - group_start)
        group_start += size
        if start < stop:
            for row in file.read_row_group(group).slice(start, stop - start).to_pylist():
                yield from_json(kind, {name: json.loads(value) if name in nested else value for name, value in row.items()})


def read_header(path: Path) -> dict[str, Any]:
    """Return what `write_rows` noted in ``path`` besides the rows: ``kind``, ``version`` and ``card``. {} for any other file:
    Parquet of another tool is an ordinary table."""
    return _open(path)[1] if path.suffix.lower() == ".parquet" and path.is_file() else {}


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        header = json.loads((file.schema_arrow.metadata or {}).get(b"understudy", b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise DataError(f"{path}: not a Parquet file ({error})") from None
    return file, header
