"""Teachers' prompts in plain text files by method, purpose and subject: ``methods/prompts/decompose-questions-maths.txt``.

    # Lines at the top that begin with "#" say where the idea comes from. They are not sent.
    Split the problem into sub-questions ...
    [examples]
    Q: Ana has 4 coins ...            solved examples, which the exemplars of a study replace
    Q1: ...
    [/examples]
    Q: {{question}}
    Q1:

A user's own files of the same names replace these (``teacher.prompts``). A prompt is filled in one pass, so the text of a problem
or a model is never read as a template.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from understudy.core.errors import StudyError, suggest, with_known
from understudy.core.values import Problem

_HEAD = re.compile(r"\A(?:#[^\n]*\n)*\n*")
_PART = re.compile(r"\{\{(\w+)\}\}|\[examples\]\n(.*?)\[/examples\]\n", re.S)


def choose_subject(problem: Problem, subject: str = "auto") -> str:
    """Return the subject (maths, science, commonsense) that suits the answer kind of ``problem``, unless ``subject`` names one."""
    if subject != "auto":
        return subject
    if problem.choices or problem.kind == "option":
        return "science"
    return "maths" if problem.kind in ("number", "expression") else "commonsense"


def load_prompts(method: str, directory: Path | None = None) -> dict[str, str]:
    """Return name -> text for every prompt of ``method``. A prompt in ``directory`` replaces ours of the same name.

    Raises StudyError if ``directory`` is not a directory, or if one of its prompts has an unknown name, other fields than ours, or
    is not UTF-8.
    """
    built_in = {file.name.removesuffix(".txt"): file for file in files("understudy.methods").joinpath("prompts").iterdir()}
    texts = {name: file.read_text("utf-8") for name, file in built_in.items() if name.startswith(f"{method}-")}
    if directory is not None:
        if not directory.is_dir():
            raise StudyError(f"teacher.prompts = {str(directory)!r}: no such directory; give the directory of your prompt files")
        for path in sorted(directory.glob("*.txt")):
            if path.stem not in built_in:
                raise StudyError(f"{path}: no method has a prompt with this name{suggest(path.stem, built_in)}")
            if path.stem in texts:
                texts[path.stem] = _read_user_prompt(path, model=texts[path.stem])
    return dict(sorted(texts.items()))


def fill(text: str, values: Mapping[str, str], *, examples: str = "") -> str:
    """Fill the fields of the prompt ``text`` and drop its head. ``examples``, unless "", replace its own examples.

    Raises StudyError for a field without a value.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return examples or match[2]
        if match[1] not in values:
            raise StudyError(f"a prompt uses {match[0]}: unknown field {with_known(match[1], values)}")
        return values[match[1]]

    return _PART.sub(value, _HEAD.sub("", text)).rstrip("\n")


def _read_user_prompt(path: Path, *, model: str) -> str:
    """Read a user's prompt. It must have the same fields as ours, or the teacher would not see the question."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8; save the prompt as UTF-8") from None
    required, used = _find_fields(model), _find_fields(text)
    if required != used:
        wrong = ", ".join(f"{{{{{name}}}}} is {'missing' if name in required else 'unknown'}" for name in sorted(required ^ used))
        raise StudyError(f"{path}: {wrong}; it must use {' and '.join(f'{{{{{name}}}}}' for name in sorted(required))}")
    if len(re.findall(r"(?m)^\[/?examples\]$", text)) != 2 * len([m for m in _PART.finditer(text) if m[2] is not None]):
        raise StudyError(f"{path}: [examples] and then [/examples] must each stand alone on a line, in this order")
    return text


def _find_fields(text: str) -> set[str]:
    """Return the fields of a prompt outside its examples."""
    return {match[1] for match in _PART.finditer(_HEAD.sub("", text)) if match[1]}
