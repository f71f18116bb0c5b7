"""Problems, chains, verdicts and solutions in Parquet: whole or not at all, and back exactly as they were."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.core.errors import DataError
from understudy.core.values import Chain, Problem, Solution, Verdict, from_json, to_json

V = TypeVar("V", Problem, Chain, Verdict, Solution)
_TYPES = {"int": pa.int64(), "int | None": pa.int64(), "float | None": pa.float64(), "float": pa.float64(), "bool": pa.bool_()}
_TEXTS = ("str", "str | None", "Outcome", "AnswerKind")
VERSION = 1


def write_rows(path: Path, kind: type[V], values: Sequence[V], *, card: Mapping[str, Any] | None = None) -> None:
    """Write ``values`` to ``path`` (Parquet): numbers and texts as such, everything nested as JSON text.

    What any other tool reads with one call. ``card`` goes into the schema's metadata. The file appears whole, and is durable
    when this returns.
    """
    columns = {f.name: str(f.type) for f in dataclasses.fields(kind)}
    rows = [to_json(value) for value in values]
    arrays = {
        name: pa.array([_cell(row[name], kept) for row in rows], _TYPES.get(kept, pa.string())) for name, kept in columns.items()
    }
    says = {"kind": kind.__name__, "version": VERSION} | ({} if card is None else {"card": card})
    table = pa.table(arrays).replace_schema_metadata({"understudy": json.dumps(says)})
    with write_whole(path) as file:
        pq.write_table(table, file, compression="zstd")


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at ``path`` when the block ends, whole and durable, or not at all."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no directory {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_rows(path: Path, kind: type[V]) -> Iterator[V]:
    """The values that `write_rows` wrote. Raises DataError for a file that is none of ours."""
    file, says = _open(path)
    if says.get("kind") != kind.__name__ or says.get("version") != VERSION:
        shown = {name: value for name, value in says.items() if name != "card"}
        holds = shown or "something that Understudy did not write"
        raise DataError(f"{path}: holds {holds}, not {kind.__name__} version {VERSION}")
    types = {f.name: str(f.type) for f in dataclasses.fields(kind)}
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            yield from_json(kind, {name: _value(value, types[name]) for name, value in row.items()})


def read_written_card(path: Path) -> Mapping[str, Any] | None:
    """The card that `write_rows` was given, None where there was none."""
    card = _open(path)[1].get("card")
    return card if isinstance(card, dict) else None


def is_ours(path: Path) -> bool:
    """Whether `write_rows` wrote ``path``: another tool's Parquet is a table like any other."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    return bool(_open(path)[1])


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        says = json.loads((file.schema_arrow.metadata or {}).get(b"understudy", b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a Parquet file ({error})") from None
    return file, says


def _cell(value: Any, kept: str) -> Any:
    if kept in _TYPES:
        return value
    return value if kept in _TEXTS else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _value(value: Any, kept: str) -> Any:
    return value if kept in _TYPES or kept in _TEXTS else json.loads(value)
