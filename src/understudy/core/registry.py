"""Everything that a study may name: name -> "module:object", imported on first use.

A name is built in (``registry.toml``), or comes from an installed package by an entry point (groups ``understudy.methods``,
``understudy.tasks``, ``understudy.engines``, ``understudy.checks``, ``understudy.objectives``), or from a Python file that the user
names (`core.plugins`). Nothing else is ever imported: a card or a study cannot name a module.
"""

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Any, NamedTuple

from understudy.core.errors import StudyError, with_known
from understudy.core.protocols import EngineOptions

Names = Mapping[str, str]
"""name -> module:object."""

BUILT_IN: Mapping[str, Names] = tomllib.loads((files("understudy.core") / "registry.toml").read_text("utf-8"))
"""Kind -> the built-in names."""
METHODS, TASKS, CHECKS, ENGINES = (BUILT_IN[kind] for kind in ("method", "task", "check", "engine"))
_CLASSES = {"method": ("roles", "needs", "format"), "task": ("problems",), "engine": ("open",)}
"""The objects that must be dataclasses of options, and the members that each must have."""
_FUNCTIONS = {"check": "(problem, chain) -> Verdict", "objective": "(model, batch) -> loss"}


class PluginObject(NamedTuple):
    """An object that the file ``path`` adds. ``module`` is the private name it is imported under, ``digest`` that of its text."""

    object: Any
    module: str
    path: str
    digest: str


_added: dict[tuple[str, str], PluginObject] = {}


def find(kind: str, name: str) -> Any:
    """Return the object registered as ``name`` in the table of ``kind`` (method, task, engine, check, objective).

    Raises StudyError, naming the nearest known name if there is no such object, or saying why an installed package's object cannot
    be used.
    """
    entry = _look_up(kind, name)
    if isinstance(entry, PluginObject):
        return entry.object
    if name in BUILT_IN[kind]:
        return entry.load()
    label = f"{kind} {name!r} of the installed package {_name_package(entry)}"
    try:
        plugin = entry.load()
    except Exception as error:
        raise StudyError(f"{label}: {entry.value} cannot be imported: {type(error).__name__}: {error}") from error
    check_plugin(kind, plugin, label)
    return plugin


def find_module(kind: str, name: str) -> str:
    """Return the module that holds the object registered as ``name``; its source decides what the object does."""
    return _look_up(kind, name).module


def find_added(kind: str, name: str) -> PluginObject | None:
    """Return what a file added as ``name``; None where the name is built in, an installed package's, or unknown."""
    return _added.get((kind, name))


def add(path: str, entries: Mapping[tuple[str, str], PluginObject]) -> None:
    """Register ``entries`` ((what, name) -> object) of the file ``path``, replacing what the same file added before.

    Raises StudyError if a name is taken, and then adds nothing.
    """
    for (kind, name), entry in entries.items():
        previous = _added.get((kind, name))
        if name in BUILT_IN[kind]:
            raise StudyError(f"{path}: {kind} {name!r} is built in; give yours another name")
        if taken := _list_plugins(kind).get(name):
            raise StudyError(f"{path}: {kind} {name!r} comes from the installed package {_name_package(taken)}; rename yours")
        if previous is not None and previous.path != path and previous.digest != entry.digest:
            raise StudyError(f"{path}: {kind} {name!r} is already defined in {previous.path}; rename one")
    for key in [key for key, entry in _added.items() if entry.path == path]:
        del _added[key]
    _added.update(entries)


def check_plugin(kind: str, candidate: object, label: str) -> None:
    """Raise StudyError if ``candidate`` lacks what every ``kind`` has. ``label`` is how the message names the candidate."""
    if kind in _FUNCTIONS:
        if not callable(candidate):
            raise StudyError(f"{label}: is not callable; it must be a function {_FUNCTIONS[kind]} (docs/extending.md)")
        return
    fields = [f.name for f in dataclasses.fields(candidate)] if dataclasses.is_dataclass(candidate) else []
    if kind == "engine" and not (isinstance(candidate, type) and issubclass(candidate, EngineOptions)):
        raise StudyError(f"{label}: is not a subclass of understudy.core.protocols.EngineOptions (docs/extending.md)")
    abstract: frozenset[str] = getattr(candidate, "__abstractmethods__", frozenset())
    missing = [name for name in _CLASSES[kind] if name in abstract or (not hasattr(candidate, name) and name not in fields)]
    if kind == "method" and not hasattr(candidate, "sample"):
        missing += [name for name in ("examples", "solve") if not hasattr(candidate, name)]
    if missing:
        description = f"a class with {', '.join(_CLASSES[kind])}"
        if kind == "method":
            description += ", and sample (to ask a teacher), examples and solve (to teach and ask students), or all of them"
        raise StudyError(f"{label}: lacks {', '.join(missing)}; a {kind} is {description} (docs/extending.md)")
    if not (isinstance(candidate, type) and dataclasses.is_dataclass(candidate)):
        raise StudyError(f"{label}: is not a dataclass; its fields are the options that a study may set (docs/extending.md)")


def _look_up(kind: str, name: str) -> EntryPoint | PluginObject:
    built_in = {n: EntryPoint(n, target, kind) for n, target in BUILT_IN[kind].items()}
    additions = {n: entry for (k, n), entry in _added.items() if k == kind}
    table: dict[str, EntryPoint | PluginObject] = {**built_in, **_list_plugins(kind), **additions}
    if name not in table:
        raise StudyError(f"unknown {kind} {with_known(name, sorted(table))}; plug-ins can add more (study.plugins, --plugin)")
    return table[name]


@functools.cache
def _list_plugins(kind: str) -> Mapping[str, EntryPoint]:
    """Return name -> entry point of an installed package."""
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"understudy.{kind}s"):
        if point.name in BUILT_IN[kind]:
            raise StudyError(f"the installed package {_name_package(point)} provides the built-in {kind} {point.name!r}; remove it")
        if point.name in points and points[point.name].value != point.value:
            packages = f"{_name_package(points[point.name])} and {_name_package(point)}"
            raise StudyError(f"the installed packages {packages} both provide the {kind} {point.name!r}; remove one")
        points[point.name] = point
    return points


def _name_package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
