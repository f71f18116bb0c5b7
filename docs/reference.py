"""Writes study.md, the reference of every key of a study file, from the code: `python docs/reference.py > docs/study.md`.

What a table is for stands in its class's docstring, what a key means in the string below its field. A test compares.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import types
import typing
from typing import Any

from understudy.core.prompting import Format
from understudy.core.registry import METHODS, TASKS, find
from understudy.selection.select import Selection
from understudy.studies.options import Arm, Decode, Evaluation, Exemplars, Teacher
from understudy.studies.study import _HEAD as HEAD
from understudy.studies.study import Study
from understudy.training.options import StudentOptions, TrainingOptions

TITLE = """# The study file

One TOML file. Unknown keys are errors that name the nearest one; `--set table.key=value` overrides any key. Paths are relative
to the file. Examples: [the demo](../src/understudy/studies/presets/demo.toml), [coin flip](../studies/coin-flip.toml),
[QuaRel](../studies/quarel.toml). This page is written from the code by `python docs/reference.py > docs/study.md`.
"""
END = """Arms that agree in everything that a stage depends on share it: two arms that only decode otherwise train one student.
"""


def page() -> str:
    """The whole page."""
    parts = [TITLE, table("[study]", Study, only=HEAD)]
    parts += [table(f'[task] name = "{name}"', find("task", name)) for name in sorted(TASKS)]
    tables = {"[exemplars]": Exemplars, "[teacher]": Teacher, "[student]": StudentOptions, "[training]": TrainingOptions}
    parts += [table(title, options) for title, options in tables.items()]
    parts += [table("[evaluation]", Evaluation), table("[[arms]]", Arm), END]
    parts += [table("select", Selection, level=3), table("decode", Decode, level=3)]
    parts += [table(f'options of method = "{name}"', find("method", name), level=3) for name in sorted(METHODS)]
    parts += [table("format, in the options of every method", Format, level=3)]
    return "\n".join(parts)


def table(title: str, options: Any, *, only: tuple[str, ...] = (), level: int = 2) -> str:
    """One table of the study: what it is for, and a row for each key."""
    about = docs(options)
    intro = "" if only else f"{plain(inspect.getdoc(options) or '')}\n\n"
    rows = [f"| {key(f)} | {says(f, options)} | {plain(about[f.name], one_line=True)} |" for f in shown(options, only)]
    return f"{'#' * level} {title}\n\n{intro}| key | value | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def shown(options: Any, only: tuple[str, ...]) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(options) if f.init and (f.name in only if only else True)]


def key(field: dataclasses.Field[Any]) -> str:
    return f"`{field.name}`"


def says(field: dataclasses.Field[Any], options: Any) -> str:
    """Its type, and its default in brackets."""
    kind = type_name(typing.get_type_hints(options)[field.name])
    if field.default is dataclasses.MISSING:
        return kind if field.default_factory is not dataclasses.MISSING else f"{kind}, must be given"
    if field.default in (None, "", ()):
        return kind
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"{kind} [{json.dumps(value)}]"


NAMES = {str: "text", int: "number", float: "number", bool: "true / false", Any: "value"}


def type_name(hint: Any) -> str:
    """A type as a person says it."""
    if hint in NAMES:
        return NAMES[hint]
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " / ".join(f"`{value}`" for value in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_name(i) for i in inside if i is not type(None)))
    if origin in (tuple, list):
        return f"list of {type_name(inside[0])}s" if inside[0] in NAMES else "list of tables"
    return "table"


def docs(options: Any) -> dict[str, str]:
    """field -> the string that stands below it, and a message where one has none."""
    (node,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(options))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for line, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            said = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
            found[line.target.id] = inspect.cleandoc(str(said)) if said is not None else ""
    return found


def plain(text: str, *, one_line: bool = False) -> str:
    """Our docstrings' marks as Markdown's."""
    marked = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.S)
    return " ".join(marked.split()).replace("|", "\\|") if one_line else marked


if __name__ == "__main__":
    print(page(), end="")
