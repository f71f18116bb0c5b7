"""From a file of questions to a first study, which `understudy init` writes: which field is what, which answers, which splits."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from understudy.core.errors import DataError
from understudy.corpus.directories import roles_of, splits_of
from understudy.corpus.tables import Row, read_objects
from understudy.tasks.rows import Layout, measure_fit

NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "query", "input", "prompt", "instruction", "text", "body", "sentence", "stem"),
    "answer": (
        *("answer", "gold", "label", "target", "answerkey", "answer_key", "final_answer", "correct_answer", "correct_option"),
        *("answers", "answer_index", "answer_idx", "correct", "result", "ground_truth", "solution", "output", "response"),
    ),
    "choices": ("choices", "options", "endings", "candidates", "answer_choices"),
    "accepted": ("accepted", "aliases", "accepted_answers"),
    "id": ("id", "qid", "question_id", "uid", "idx", "index", "problem_id"),
    "context": ("context", "passage", "paragraph", "background", "facts"),
    "rationale": ("rationale", "explanation", "reasoning", "cot", "chain_of_thought", "chain", "solution"),
}
"""Our field -> what data sets call it, most usual first."""

_OPTION = re.compile(r"(?P<prefix>(?:option|choice|opt|op|ending|alternative|sol)[_ ]?|)(?P<label>[a-h]|[0-9])", re.I)
"""A field that is one option: option_a, choice1, opa, ending0, or A alone."""

LOOKED_AT = 500
ENOUGH = 0.95
"""The share of rows that has to fit what is guessed."""


class Guess(NamedTuple):
    """What a file seems to hold: ``fields`` (ours -> theirs, also where they are called alike), how its rows are read
    (``layout``), the share of answers that fit (``measure_fit``; None: it has no
    answers), the ``rows`` of each of its splits (``""``: it has none), and the first row's ``example``."""

    fields: Mapping[str, str | tuple[str, ...]]
    layout: Layout
    fit: float | None
    rows: Mapping[str, int]
    example: Mapping[str, Any]


def guess(path: Path) -> Guess:
    """Look at ``path``. Raises DataError where it cannot be read or no question is recognised."""
    sources = _sources(path)
    first = next(iter(sources.values()))
    rows = list(islice(read_objects(first), LOOKED_AT))
    if not rows:
        raise DataError(f"{first}: has no rows")
    fields = _fields([row for _, row in rows])
    if "question" not in fields:
        has = f"its fields: {', '.join(rows[0][1])}"
        raise DataError(f"{first}: no field looks like a question ({has}); rename one, or name it: task.fields.question")
    layout, share = _layout(rows, fields)
    counts = {name: sum(1 for _ in read_objects(source)) for name, source in sources.items()}
    return Guess(fields, layout, share, counts, rows[0][1])


def _sources(path: Path) -> dict[str, Path]:
    """Our split -> where it is; ``""`` is not split yet."""
    splits = splits_of(path) if path.is_dir() else {}
    roles = roles_of(list(splits)) if len(splits) > 1 else {}
    if roles and "train" not in roles:
        raise DataError(f"{path}: has no split train (it has: {', '.join(splits)}); name one, as in {path / next(iter(splits))}")
    return {ours: path / name for ours, name in roles.items()} or {"": path}


def _fields(rows: Sequence[Row]) -> dict[str, str | tuple[str, ...]]:
    there = {name.lower(): name for row in rows for name, value in row.items() if value not in (None, "", [], {})}
    fields: dict[str, str | tuple[str, ...]] = {}
    for ours, names in NAMES.items():
        theirs = next((there[n] for n in names if n in there and there[n] not in fields.values()), None)
        if theirs is not None and (ours != "question" or isinstance(rows[0].get(theirs), str)):
            fields[ours] = theirs
    if "body" in there and fields.get("question") == there.get("question"):
        fields["question"] = f"{{{there['body']}}} {{{there['question']}}}"  # SVAMP and ASDiv tell first, and ask apart
    if "choices" not in fields and (options := _option_fields(list(there.values()))):
        fields["choices"] = options
    return fields


def _option_fields(names: Sequence[str]) -> tuple[str, ...]:
    """The fields that are an option each, in order; () where there are none."""
    series: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _OPTION.fullmatch(name):
            series.setdefault(match["prefix"].lower(), {})[match["label"].lower()] = name
    for prefix, labelled in series.items():
        for labels in ("abcdefgh", "123456789", "0123456789") if prefix else ("abcdefgh",):
            run = [labelled[label] for label in labels if label in labelled]
            if len(run) > 1 and len(run) == len(labelled) and labels[0] in labelled:
                return tuple(run)
    return ()


def _layout(rows: Sequence[tuple[str, Row]], fields: Mapping[str, str | tuple[str, ...]]) -> tuple[Layout, float | None]:
    """The most special kind of answers that enough rows fit, else text; and the share that fits, None where there are none."""
    mapped = {ours: theirs for ours, theirs in fields.items() if ours != theirs}
    usual = Layout("option" if "choices" in fields else "text", mapped)
    if "answer" not in fields:
        return usual, None
    if "choices" not in fields:
        numbers = Layout("number", mapped), Layout("number", mapped, decimal="comma")
        for layout in (Layout("option", mapped, choices_in="question"), Layout("yes_no", mapped), *numbers, Layout("date", mapped)):
            if (share := measure_fit(rows, layout)) >= ENOUGH:
                return layout, share
    return usual, measure_fit(rows, usual)


def study_text(path: Path, found: Guess, *, to: Path, relative: str) -> str:
    """A commented study for the file, to be written to ``to``; ``relative``: the file's path as seen from there."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in to.stem).strip("-") or "study"
    layout = found.layout
    said = "# no answers were found: the teacher can be sampled, nothing can be scored"
    if found.fit is not None:
        said = f"# guessed; {found.fit:.0%} of the answers fit. Others: option, yes_no, number, date, text, expression"
    lines = _sizes(found)
    if layout.choices_in != "field":
        lines += f'choices_in = "{layout.choices_in}"  # the options stand in its text\n'
    if layout.decimal == "comma":
        lines += 'decimal = "comma"         # "3,5" is three and a half\n'
    fields = "".join(f"{ours} = {json.dumps(theirs, ensure_ascii=False)}\n" for ours, theirs in layout.fields.items())
    table = f"\n[task.fields]           # our name = the file's\n{fields}" if fields else ""
    shown = "[exemplars]\nn = 3                    # solved questions in each prompt; they leave training\n\n"
    exemplars = shown if "rationale" in found.fields else ""
    template = Template((files("understudy.studies") / "first_study.txt").read_text(encoding="utf-8"))
    names = {"file": path.name, "study": to, "name": json.dumps(name), "path": json.dumps(relative)}
    return template.substitute(names, said=said, kind=layout.kind, lines=lines, table=table, exemplars=exemplars)


def _sizes(found: Guess) -> str:
    """What is held out of train: a tenth for each of dev and test that the data do not have."""
    own = {name: n for name, n in found.rows.items() if name}
    comment = f"# its own splits: {', '.join(f'{name} {n}' for name, n in own.items())}\n" if own else ""
    held = max(1, found.rows.get("", found.rows.get("train", 0)) // 10)
    drawn = {name: held for name in ("dev", "test") if name not in own}
    if not drawn:
        return comment
    if not own:
        drawn = {"train": found.rows[""] - 2 * held, **drawn}
    sizes = ", ".join(f"{name} = {n}" for name, n in drawn.items())
    return f"{comment}sizes = {{ {sizes} }}{'  # taken from train' if own else ''}\n"
