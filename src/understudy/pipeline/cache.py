"""The stored stages: each in a directory named by the hash of its inputs and of the code that makes it.

A stage's key is made from its own options and the keys of the stages before it, so a plan knows every key before anything runs.
The manifest is written last: its existence means that the stage is complete.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from understudy.core.errors import DataError, StudyError
from understudy.core.values import digest
from understudy.corpus.directories import read_json
from understudy.corpus.store import write_json

MANIFEST = "manifest.json"
VERSION = 2
"""The version of what a run directory holds besides its ledger."""
OLD_RUN = "made by an earlier Understudy; run the study again: what was paid for is in the ledger and is not asked for again"

DAMAGED = "is damaged; run the study again, which rebuilds it and all that was made from it"

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)  # making one takes milliseconds


@functools.cache
def _read_imports(module: str) -> tuple[str, frozenset[str]]:
    """Return the digest of the source of ``module``, and the modules of ours or of its own package that it imports, even late."""
    spec = _find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return "", frozenset()
    source = Path(spec.origin).read_text(encoding="utf-8")
    package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source_module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {source_module} | {f"{source_module}.{alias.name}" for alias in node.names}
    imported = {name for name in names if name.split(".")[0] in ("understudy", module.partition(".")[0]) and _find_spec(name)}
    return digest(source, size=32), frozenset(imported)


@functools.cache
def _find_spec(module: str) -> ModuleSpec | None:
    """Find the spec of ``module``; None if it is not a module (the object in `from package.module import object`). Nothing is
    imported: `importlib.util.find_spec` would import the parent package, and torch takes seconds."""
    package = module.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(module)
    parent = _find_spec(package)
    if parent is None or parent.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, parent.submodule_search_locations)


def hash_code(modules: Iterable[str], libraries: Iterable[str] = ()) -> str:
    """Hash the source of ``modules``, with everything of ours and of their own packages that they import, and the versions of
    ``libraries``."""
    digests: dict[str, str] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module not in digests:
            digests[module], imports = _read_imports(module)
            todo.extend(imports)
    return digest([sorted(digests.items()), [[name, find_version(name)] for name in sorted(libraries)]])


def find_version(library: str) -> str:
    """Return the version of an installed library; "" if it is not installed, so that earlier stages can be planned and run."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(library)
    return ""


class FileDigests(dict[str, str]):
    """path -> hash of the file's bytes: how a stage depends on files of the user."""

    @property
    def key(self) -> str:
        """The files by name and content, in their order, without their directories: a study may be moved or copied."""
        return ", ".join(f"{Path(path).name} {content}" for path, content in self.items())


def digest_files(paths: Iterable[Path], option: str) -> FileDigests:
    """Digest the files ``paths``. Raises StudyError for a missing file, naming the option ``option``."""
    digests = FileDigests()
    for path in paths:
        if not path.is_file():
            raise StudyError(f"{option}: there is no file {path}")
        digests[str(path)] = _digest_once(path, path.stat().st_ino, path.stat().st_ctime_ns)
    return digests


def digest_file(path: Path, *_version: int) -> str:
    """Digest a file; ``_version`` tells `_digest_once` one content of the file from another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


_digest_once = functools.cache(digest_file)
"""For the files that decide stages: all students of a plan may start from the same gigabytes."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Manifest:
    """The manifest beside the files of a finished stage. ``needs``: keys of the stages that it was made from. ``inputs``: what
    decided it, for people. ``summary``: its `StageSummary`. ``files``: the stage's files -> their digests."""

    kind: str
    label: str
    made: str
    seconds: float
    needs: tuple[str, ...]
    inputs: Mapping[str, Any]
    summary: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION


def is_done(directory: Path) -> bool:
    return (directory / MANIFEST).is_file()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Mark the stage in ``directory`` as done, adding to ``manifest`` the digests of the stage's files and its own."""
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != MANIFEST)
    manifest = replace(manifest, files={str(path.relative_to(directory)): digest_file(path) for path in paths})
    write_json(directory / MANIFEST, asdict(replace(manifest, files={**manifest.files, MANIFEST: digest(asdict(manifest))})))


def find_damage(directory: Path, *, deep: bool) -> str:
    """Say what is wrong with the files of a finished stage: one is missing, or its bytes have changed; "" if nothing is wrong.
    ``deep``: also check the directories below, which hold a student's weights and take long to read."""
    try:
        manifest = read_manifest(directory)
    except DataError as error:
        return "" if OLD_RUN in str(error) else str(error).partition(";")[0]
    files = dict(manifest.files)
    if files.pop(MANIFEST, "") not in ("", digest(asdict(replace(manifest, files=files)))):
        return f"{directory / MANIFEST}: is damaged: its bytes are not those that were written"
    for name, content in files.items():
        path = directory / name
        if not path.is_file():
            return f"{path}: is missing"
        if (deep or path.parent == directory) and digest_file(path) != content:
            return f"{path}: is damaged: its bytes are not those that were written"
    return ""


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a finished stage. Raises DataError for one of an earlier Understudy, and for a damaged one."""
    path = directory / MANIFEST
    body = read_json(path)
    try:
        return cast(Manifest, _adapter(Manifest).validate_python(body))
    except ValidationError:
        raise DataError(f"{path}: {OLD_RUN if body.get('version') != VERSION else DAMAGED}") from None


def find_manifest(directory: Path) -> Manifest | None:
    """Read the manifest of a stage; None if the stage is not finished, not a stage, or made by an earlier Understudy (nothing of
    today was made from such a one)."""
    with suppress(DataError):
        return read_manifest(directory)
    return None


def read_summary(directory: Path, kind: type[T]) -> T:
    """Read the summary of a finished stage, as the dataclass ``kind`` that wrote it."""
    try:
        return cast(T, _adapter(kind).validate_python(read_manifest(directory).summary))
    except ValidationError:
        raise DataError(f"{directory / MANIFEST}: {DAMAGED}") from None


def remove_dependents(run: Path, key: str) -> None:
    """Delete every stage in ``run`` that was made from the stage ``key``, the latest first: if this is interrupted, the next call
    still finds the others."""
    manifests = {path: find_manifest(path) for path in (run / "stages").iterdir()}
    needs = {path: set(manifest.needs) for path, manifest in manifests.items() if manifest is not None}
    stale, keys = [], {key}
    while dependents := [path for path in needs if path not in stale and needs[path] & keys]:
        stale += dependents
        keys |= {path.name.partition("-")[2] for path in dependents}
    for path in reversed(stale):
        remove(path)


def remove(directory: Path) -> None:
    """Delete a stage; the manifest goes first, so an interrupted removal never looks complete."""
    (directory / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(directory)
