"""Everything that a study may name: name -> "module:object", imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from understudy.core.errors import StudyError, nearest

METHODS: Mapping[str, str] = {
    "answer_only": "understudy.methods.answer_only:AnswerOnly",
    "few_shot": "understudy.methods.few_shot:FewShot",
    "scotd": "understudy.methods.scotd:SCoTD",
    "zero_shot": "understudy.methods.zero_shot:ZeroShot",
}

TASKS: Mapping[str, str] = {
    "diary": "understudy.tasks.worlds.diary:Diary",
    "files": "understudy.tasks.files:Files",
}

CHECKS: Mapping[str, str] = {
    "answer": "understudy.checks.answer:check",
}

_TABLES = {"method": METHODS, "task": TASKS, "check": CHECKS}


def find(what: str, name: str) -> Any:
    """The object registered as ``name`` in the table of ``what`` (method, task, check).

    Raises StudyError naming the nearest known name where there is none. Only registered names are ever imported: a card
    or a study can not name a module.
    """
    table = _TABLES[what]
    if name not in table:
        raise StudyError(f"unknown {what} {name!r}{nearest(name, list(table))} (known: {', '.join(sorted(table))})")
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def object_module(table: Mapping[str, str], name: str) -> str:
    """The module that holds the object registered as ``name``."""
    return table[name].partition(":")[0]
