"""Teachers' prompts in plain text files by method, purpose and subject: ``methods/prompts/decompose-questions-maths.txt``.

    # Lines at the top that begin with "#" say where the idea is from; they are not sent.
    Split the problem into sub-questions ...
    [examples]
    Q: Ana has 4 coins ...            worked examples, which those of the study replace where it has some
    Q1: ...
    [/examples]
    Q: {{question}}
    Q1:

A user's own files of the same names take the place of these: ``teacher.prompts``. Filling is one pass: what a problem or a model
says is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from understudy.core.errors import StudyError, nearest
from understudy.core.values import Problem

_HEAD = re.compile(r"\A(?:#[^\n]*\n)*\n*")
_PART = re.compile(r"\{\{(\w+)\}\}|\[examples\]\n(.*?)\[/examples\]\n", re.S)

SUBJECTS = ("maths", "science", "commonsense")


def subject_of(problem: Problem) -> str:
    """Which of the `SUBJECTS` a prompt for ``problem`` is about where nothing says so: by the kind of its answer."""
    if problem.choices or problem.kind == "option":
        return "science"
    return "maths" if problem.kind in ("number", "expression") else "commonsense"


def load_prompts(method: str, own: Path | None = None) -> dict[str, str]:
    """name -> text of every prompt of ``method``, those in the directory ``own`` before ours.

    Raises StudyError where ``own`` is no directory, or has a prompt whose name none of ours has, that is not UTF-8, or whose fields
    are not those of ours.
    """
    ours = {file.name.removesuffix(".txt"): file for file in files("understudy.methods").joinpath("prompts").iterdir()}
    found = {name: file.read_text("utf-8") for name, file in ours.items() if name.startswith(f"{method}-")}
    if own is not None:
        if not own.is_dir():
            raise StudyError(f"teacher.prompts: there is no directory {own}")
        for path in sorted(own.glob("*.txt")):
            if path.stem not in ours:
                raise StudyError(f"{path}: no method has a prompt of that name{nearest(path.stem, list(ours))}")
            if path.stem in found:
                found[path.stem] = _read_own(path, like=found[path.stem])
    return dict(sorted(found.items()))


def fill(text: str, values: Mapping[str, str], *, examples: str = "") -> str:
    """The prompt ``text`` without its head, ``examples`` (where not "") in the place of its own.

    Raises StudyError for a field that has no value here.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return examples or found[2]
        if found[1] not in values:
            raise StudyError(
                f"a prompt asks for {{{{{found[1]}}}}}{nearest(found[1], list(values))} (there are: {', '.join(values)})"
            )
        return values[found[1]]

    return _PART.sub(value, _HEAD.sub("", text)).rstrip("\n")


def _read_own(path: Path, *, like: str) -> str:
    """A user's prompt in the place of ours, with the same fields, or the teacher would not see what it is asked."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8; save the prompt as UTF-8") from None
    needed, has = _fields(like), _fields(text)
    if needed != has:
        wrong = ", ".join(f"{{{{{name}}}}} is {'missing' if name in needed else 'unknown'}" for name in sorted(needed ^ has))
        raise StudyError(f"{path}: {wrong}; this prompt has {' and '.join(f'{{{{{name}}}}}' for name in sorted(needed))}")
    if len(re.findall(r"(?m)^\[/?examples\]$", text)) != 2 * len([m for m in _PART.finditer(text) if m[2] is not None]):
        raise StudyError(f"{path}: [examples] and [/examples] stand in lines of their own, the second after the first")
    return text


def _fields(text: str) -> set[str]:
    """The fields that are filled in: those outside the examples."""
    return {found[1] for found in _PART.finditer(_HEAD.sub("", text)) if found[1]}
