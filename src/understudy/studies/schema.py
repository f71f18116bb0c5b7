"""Build frozen dataclasses of options from TOML tables, strictly: an unknown key is an error that names the nearest known one."""

import dataclasses
import functools
import inspect
import json
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from understudy.core.asks import T
from understudy.core.errors import DataError, StudyError, with_known
from understudy.corpus.tables import read_objects


def list_keys(kind: Any) -> list[str]:
    """List the keys of the table that the options dataclass ``kind`` is built from."""
    return [field.name for field in dataclasses.fields(kind) if field.init]


def refuse_unknown(table: Iterable[str], allowed: Collection[str], problem: str, label: str = "known") -> None:
    """Raise StudyError for a key of ``table`` that is not ``allowed``."""
    for key in table:
        if key not in allowed:
            raise StudyError(f"{problem} {with_known(key, allowed, label)}")


def build(kind: type[T], table: Any, location: str) -> T:
    """Build the options dataclass ``kind`` from ``table``; ``location`` is the table's name in messages ("" at the top).

    Fields that are dataclasses (or tuples of them) are built from their sub-tables. Types are checked as in JSON: a list may be a
    tuple, an integer may be a float, and nothing else is converted. Raises StudyError.
    """
    if not isinstance(table, Mapping):
        raise StudyError(f"{location}: must be a table of options, not {table!r}")
    refuse_unknown(table, list_keys(kind), f"{location}: unknown key")
    values = {key: convert_value(kind, key, value, f"{location}.{key}".lstrip(".")) for key, value in table.items()}
    missing = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty and p.name not in values]
    if missing:
        raise StudyError(f"{location}: {', '.join(missing)} must be given")
    try:
        return kind(**values)
    except StudyError:
        raise
    except ValueError as error:
        raise StudyError(f"{location}: {error}") from None


def read_lines(kind: type[T], path: Path) -> list[tuple[str, T]]:
    """Read every line of the JSON Lines file ``path`` as (place, value). Raises DataError naming the line, or the file if it does
    not exist."""
    try:
        return [(location, build(kind, row, location)) for location, row in read_objects(path)]
    except StudyError as error:
        raise DataError(f"{error}; correct or remove the line") from None


@functools.cache
def _read_hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@functools.cache  # making one takes milliseconds
def _make_adapter(kind: type, key: str) -> Any:
    return TypeAdapter(_read_hints(kind)[key])


def convert_value(kind: type, key: str, value: Any, location: str) -> Any:
    """Convert the ``value`` of a table for the field ``key`` of the options dataclass ``kind``; ``location`` is its name in
    messages. Raises StudyError."""
    hint = _read_hints(kind)[key]
    if (inner := _find_dataclass(hint)) is not None:
        if typing.get_origin(hint) is Mapping:
            if not isinstance(value, Mapping):
                raise StudyError(f"{location}: must be a table of tables, not {value!r}")
            return {name: build(inner, item, f"{location}.{name}") for name, item in value.items()}
        if typing.get_origin(hint) is tuple:
            if not isinstance(value, list | tuple):
                raise StudyError(f"{location}: must be a list of tables, not {value!r}")
            return tuple(build(inner, item, f"{location}[{i}]") for i, item in enumerate(value))
        return None if value is None else build(inner, value, location)
    try:
        return _make_adapter(kind, key).validate_json(json.dumps(value, allow_nan=False), strict=True)
    except (ValidationError, TypeError, ValueError) as error:
        reasons = dict.fromkeys(entry["msg"] for entry in error.errors()) if isinstance(error, ValidationError) else [str(error)]
        reason = "; or ".join(reasons)  # one for each type that it may have
        raise StudyError(f"{location} = {value!r}: {reason[0].lower()}{reason[1:]}") from None


def _find_dataclass(hint: Any) -> Any:
    """Find the dataclass in ``X``, ``X | None``, ``tuple[X, ...]`` or ``Mapping[str, X]``; None if there is none."""
    if dataclasses.is_dataclass(hint):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple, Mapping):
        return next((a for a in typing.get_args(hint) if dataclasses.is_dataclass(a)), None)
    return None
