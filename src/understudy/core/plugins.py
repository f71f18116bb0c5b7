"""A Python file written by the user that adds engines, tasks, methods, checks and objectives; see docs/extending.md.

The file lists the names it adds at its end::

    UNDERSTUDY = {"task": {"game24": Game24}, "check": {"game24": check}}

It is imported once, under a private module name that depends on its text. So a changed file becomes another module. The keys of
the stages that use it contain its digest.
"""

import hashlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType

from understudy.core.errors import StudyError, with_known
from understudy.core.registry import BUILT_IN, PluginObject, add, check_plugin


def load(path: Path, *, digest: str | None = None) -> str:
    """Import the file ``path``, register what it adds, and return the digest of its text. A second call does nothing.

    If ``digest`` is given, the text must have it. Raises StudyError if the digest differs, the file cannot be read or imported,
    its ``UNDERSTUDY`` has another form, or a name is taken.
    """
    path = path.resolve()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StudyError(f"plug-in {path}: cannot be read ({error.strerror or error})") from None
    text_digest = hashlib.blake2b(text).hexdigest()[:16]
    if digest not in (None, text_digest):
        raise StudyError(f"plug-in {path}: changed while the study ran; run it again")
    name = f"understudy_plugin_{text_digest}"
    module = sys.modules.get(name) or _import(name, path)
    add(str(path), {key: PluginObject(plugin, name, str(path), text_digest) for key, plugin in _list_entries(module, path)})
    return text_digest


class _PluginLoader(importlib.machinery.SourceFileLoader):
    """A loader that always compiles the text: a cached compilation may be that of a file that changed within the same second."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the name is the loader's
        return self.source_to_code(self.get_data(self.path), self.path)


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=_PluginLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their annotations there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise StudyError(f"plug-in {path}{_find_line(error, path)}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _find_line(error: Exception, path: Path) -> str:
    """Return the line of the error in ``path``, as ", line 3"; "" where it is unknown."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _list_entries(module: ModuleType, path: Path) -> Iterator[tuple[tuple[str, str], object]]:
    """Yield ((table, name), object) for everything that the file adds."""
    table = getattr(module, "UNDERSTUDY", None)
    if not isinstance(table, dict) or not table:
        raise StudyError(f'plug-in {path}: it must define what it adds: UNDERSTUDY = {{"method": {{"my_method": MyMethod}}}}')
    for kind, names in table.items():
        if kind not in BUILT_IN:
            raise StudyError(f"plug-in {path}: UNDERSTUDY has an unknown key {with_known(str(kind), BUILT_IN)}")
        if not isinstance(names, dict) or not all(isinstance(name, str) and name for name in names):
            raise StudyError(f"plug-in {path}: UNDERSTUDY[{kind!r}] must map names to objects, not {names!r}")
        for name, plugin in names.items():
            check_plugin(kind, plugin, f"plug-in {path}: {kind} {name!r}")
            yield (kind, name), plugin
