"""Options are frozen dataclasses. Their fields are the keys of a table of the study; most of them decide what a stage makes."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from understudy.core.values import JSON

_UNKEYED = "unkeyed"


def unkeyed(default: Any = dataclasses.MISSING, *, factory: Any = dataclasses.MISSING) -> Any:
    """Declare a field that does not decide what a stage makes (how to reach a server, a title). The stage's key leaves it out."""
    return dataclasses.field(default=default, default_factory=factory, metadata={_UNKEYED: True})


def keyed_fields(options: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass that decide what is made from it."""
    return [field for field in dataclasses.fields(options) if not field.metadata.get(_UNKEYED)]


def describe(value: Any) -> JSON:
    """Return ``value`` as JSON that names everything it decides; keys are digests of this JSON.

    A value with its own ``key`` (a stage) becomes that key. A dataclass includes its class name, since two classes may have equal
    fields.
    """
    if isinstance(getattr(value, "key", None), str):
        return value.key
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in keyed_fields(value)}
        return {"class": type(value).__qualname__, **fields}
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, frozenset):
        return sorted((describe(item) for item in value), key=str)  # a set's own order differs from process to process
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [describe(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def plain(options: Any) -> Any:
    """Return options as JSON values, for cards and saved plans."""
    return json.loads(json.dumps(dataclasses.asdict(options) if dataclasses.is_dataclass(options) else options, default=str))  # type: ignore[arg-type]
