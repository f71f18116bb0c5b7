"""Writes reference.md, every key of a study file, from the code: `python docs/reference.py > docs/reference.md`.

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
from collections.abc import Iterator
from typing import Annotated, Any

import annotated_types
from pydantic.fields import FieldInfo

from understudy.core.asks import AtLeast
from understudy.core.prompt_format import PromptFormat
from understudy.core.registry import ENGINES, METHODS, TASKS, find
from understudy.sampling.allocation import Allocation
from understudy.sampling.budget import Budget, Price
from understudy.selection.select import Selection
from understudy.studies.load import HEAD
from understudy.studies.options import Arm, Corpus, Decode, Evaluation, Exemplars, Point, Role, Teacher
from understudy.studies.study import Study
from understudy.tasks.files import OtherFile
from understudy.training.options import Lora, StudentOptions, TrainingOptions

TITLE = """# Every key of a study file

What the tables are for, with examples, is in [study.md](study.md). This page is written from the code by
`python docs/reference.py > docs/reference.md`. Defaults stand in brackets; a key without one need not be given unless it says so.

"""
TASK = """## [task]

`name`, which must be given, says whose keys the others are: those of your own [files](#files), of a procedural world
([diary](#diary), [materials](#materials), [scales](#scales)), of a published set ([tasks.md](tasks.md): what each wants, its paper
and licence), or of a task of your own ([extending.md](extending.md)).
"""
ENGINE = """### Engines

Each engine has keys of its own, which stand in the same table. A key of another engine is an error that names that engine.
[teachers.md](teachers.md) says what each engine does; [extending.md](extending.md#an-engine) how to add one.
"""
OPTIONS = """## Methods

The `options` of an arm, and of [[teacher]](#teacher), for each `method`.
"""
OURS = ("files", "diary", "materials", "scales")
PLAYERS = ("procedural", "recorded", "transformers", "endpoint")
TABLES = {
    "[study]": Study,
    **{name: find("task", name) for name in [*OURS, *sorted(set(TASKS) - set(OURS))]},
    "others": OtherFile,
    "[exemplars]": Exemplars,
    "[teacher]": Teacher,
    **{name: find("engine", name) for name in [*PLAYERS, *sorted(set(ENGINES) - set(PLAYERS))]},
    "allocation": Allocation,
    "price": Price,
    "budget": Budget,
    "[corpus]": Corpus,
    "[student]": StudentOptions,
    "lora": Lora,
    "[training]": TrainingOptions,
    "[evaluation]": Evaluation,
    "[[arms]]": Arm,
    "select": Selection,
    "decode": Decode,
    "roles": Role,
    "point": Point,
    **{name: find("method", name) for name in sorted(METHODS)},
    "format": PromptFormat,
}
BEFORE = {"files": TASK, PLAYERS[0]: ENGINE, min(METHODS): OPTIONS}
INTRO = {Study: "The study as a whole."}
NAMES = {str: "text", int: "whole number", float: "number", bool: "true / false", Any: "value"}
LIMITS = {annotated_types.Ge: "at least", annotated_types.Gt: "above", annotated_types.Le: "at most", annotated_types.Lt: "below"}
LIMITS[AtLeast] = "at least"


def page() -> str:
    """The whole page."""
    return TITLE + "\n".join(part for title in TABLES for part in section(title))


def section(title: str) -> Iterator[str]:
    """One table of the study: what it is for, and a row for each key."""
    options = TABLES[title]
    if title in BEFORE:
        yield BEFORE[title]
    about = meanings(options)
    rows = [f"| `{f.name}` | {value(f, options)} | {linked(' '.join(about[f.name].split()), cell=True)} |" for f in keys(options)]
    intro = INTRO.get(options, linked(inspect.getdoc(options) or ""))
    head = f"{'##' if title.startswith('[') else '###'} {title}"
    yield f"{head}\n\n{intro}\n\n| key | value | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def keys(options: Any) -> list[dataclasses.Field[Any]]:
    """The fields that the table may set. The study's other fields are tables of their own, and so are the keys of an engine."""
    fields = [f for f in dataclasses.fields(options) if f.init and f.name != "engine_options"]
    return [f for f in fields if options is not Study or f.name in HEAD]


def value(field: dataclasses.Field[Any], options: Any) -> str:
    """A key's type, and its default in brackets."""
    hints = typing.get_type_hints(options, include_extras=True)
    kind = "[table](#methods)" if field.name == "options" else type_name(hints[field.name])
    if field.default is dataclasses.MISSING:
        return kind if field.default_factory is not dataclasses.MISSING else f"{kind}, must be given"
    if field.default in (None, "", ()):
        return kind
    return f"{kind} [{json.dumps(field.default)}]"


def type_name(hint: Any) -> str:
    """A type as a person says it; the table of another class is a link to it."""
    if hint in NAMES:
        return NAMES[hint]
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return ", ".join(part for part in (type_name(inside[0]), " and ".join(limits(inside[1:]))) if part)
    if origin is typing.Literal:
        return " / ".join(f"`{one}`" for one in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(one) for one in inside if one is not types.NoneType)
    if origin is tuple:
        return f"list of {type_name(inside[0]).replace('list of', 'lists of').removesuffix('s')}s"
    title = next((title for title, options in TABLES.items() if options is hint), None)
    return f"[table](#{title})" if title else "table"


def limits(marks: tuple[Any, ...]) -> Iterator[str]:
    """What an Annotated type allows, "at least 1". An unknown mark is an error, so that no limit is left out of the page."""
    for mark in (mark for field in marks for mark in (field.metadata if isinstance(field, FieldInfo) else [field])):
        if isinstance(mark, annotated_types.MinLen):
            yield "not empty"
            continue
        (bound,) = dataclasses.asdict(mark).values()
        yield f"{LIMITS[type(mark)]} {bound}"


def meanings(options: Any) -> dict[str, str]:
    """field -> the string that stands below it, "" where there is none."""
    found = {}
    for base in filter(dataclasses.is_dataclass, reversed(options.__mro__)):
        (node,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(node, ast.ClassDef)
        for line, below in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                says = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
                found[line.target.id] = str(says)
    return found


def linked(text: str, *, cell: bool = False) -> str:
    """A docstring as Markdown: its marks, and links to the tables and pages that it names."""
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.S)
    text = re.sub(r"\[(\w+)\]", lambda m: f"[{m[0]}](#{m[1]})" if m[0] in TABLES else m[0], text)
    text = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)
    return text.replace("|", "\\|") if cell else text


if __name__ == "__main__":
    print(page(), end="")
