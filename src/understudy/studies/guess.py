"""Guess a first study from a file of questions, for `understudy init`: its fields, the kind of its answers, its splits."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from understudy.core.errors import DataError
from understudy.corpus.directories import find_splits, match_splits
from understudy.corpus.tables import Row, read_objects
from understudy.tasks.rows import Layout, measure_fit

NAMES: Mapping[str, Sequence[str]] = tomllib.loads((files("understudy.studies") / "field_names.toml").read_text("utf-8"))
"""Our field -> what data sets call it, the most common name first."""

_OPTION = re.compile(r"(?P<prefix>(?:option|choice|opt|op|ending|alternative|sol)[_ ]?|)(?P<label>[a-h]|[0-9])", re.I)
"""The name of a field that holds one option: option_a, choice1, opa, ending0, or A alone."""


class Guess(NamedTuple):
    """What a file seems to hold. ``fields``: ours -> theirs, even if the names are equal. ``layout``: how its rows are read.
    ``fit``: the share of answers that fit (`measure_fit`), None for a file without answers. ``rows``: split -> how many, under
    ``""`` for a file without splits. ``example``: the first row."""

    fields: Mapping[str, str | tuple[str, ...]]
    layout: Layout
    fit: float | None
    rows: Mapping[str, int]
    example: Mapping[str, Any]


def guess(path: Path) -> Guess:
    """Guess what ``path`` holds. Raises DataError if it cannot be read or no question is recognised."""
    sources = _find_sources(path)
    first = next(iter(sources.values()))
    rows = list(islice(read_objects(first), 500))
    if not rows:
        raise DataError(f"{first}: has no rows")
    fields = _guess_fields([row for _, row in rows])
    if "question" not in fields:
        names = f"its fields: {', '.join(rows[0][1])}"
        fix = "rename one to question, or write the study by hand, with task.fields.question"
        raise DataError(f"{first}: no field looks like a question ({names}); {fix}")
    layout, share = _guess_layout(rows, fields)
    counts = {name: sum(1 for _ in read_objects(source)) for name, source in sources.items()}
    return Guess(fields, layout, share, counts, rows[0][1])


def _find_sources(path: Path) -> dict[str, Path]:
    """Map each of our splits to its path; ``""`` stands for data without splits."""
    splits = find_splits(path) if path.is_dir() else {}
    roles = match_splits(list(splits)) if len(splits) > 1 else {}
    if roles and "train" not in roles:
        raise DataError(f"{path}: has no train split (it has: {', '.join(splits)}); name one, as in {path / next(iter(splits))}")
    return {role: path / name for role, name in roles.items()} or {"": path}


def _guess_fields(rows: Sequence[Row]) -> dict[str, str | tuple[str, ...]]:
    filled = {name.lower(): name for row in rows for name, value in row.items() if value not in (None, "", [], {})}
    fields: dict[str, str | tuple[str, ...]] = {}
    for field, names in NAMES.items():
        column = next((filled[n] for n in names if n in filled and filled[n] not in fields.values()), None)
        is_text = column is not None and all(isinstance(row.get(column) or "", str) for row in rows)
        repeats = field == "id" and column != "id" and len({str(row.get(column or "")) for row in rows}) < len(rows)
        if column is not None and not repeats and (is_text or field not in ("question", "context")):
            fields[field] = column
    if "body" in filled and fields.get("question") == filled.get("question"):
        fields["question"] = f"{{{filled['body']}}} {{{filled['question']}}}"  # SVAMP and ASDiv have story and question apart
    if "choices" not in fields and (options := _find_options(list(filled.values()))):
        fields["choices"] = options
    return fields


def _find_options(names: Sequence[str]) -> tuple[str, ...]:
    """Find the fields that hold one option each, in order; () if there are none."""
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


def _guess_layout(rows: Sequence[tuple[str, Row]], fields: Mapping[str, str | tuple[str, ...]]) -> tuple[Layout, float | None]:
    """Find the most specific kind of answer that 95 % of the rows fit, else text, and the share that fits: None without answers."""
    mapped = {field: column for field, column in fields.items() if field != column}
    default = Layout("option" if "choices" in fields else "text", mapped)
    if "answer" not in fields:
        return default, None
    if "choices" not in fields:
        numbers = Layout("number", mapped), Layout("number", mapped, decimal="comma")
        for layout in (Layout("option", mapped, choices_in="question"), Layout("yes_no", mapped), *numbers, Layout("date", mapped)):
            if (share := measure_fit(rows, layout)) >= 0.95:
                return layout, share
    return default, measure_fit(rows, default)


def write_study(path: Path, guessed: Guess, *, target: Path, relative: str) -> str:
    """Write a commented study for the file, as text. It will be saved as ``target``; ``relative`` is the file's path from there."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in target.stem).strip("-") or "study"
    layout = guessed.layout
    comment = "# no answers were found: the teacher can be sampled, but nothing can be scored"
    if guessed.fit is not None:
        comment = f"# guessed; {guessed.fit:.0%} of the answers fit. Others: option, yes_no, number, date, text, expression"
    lines = _write_sizes(guessed)
    if layout.choices_in != "field":
        lines += f'choices_in = "{layout.choices_in}"  # the options are in its text\n'
    if layout.decimal == "comma":
        lines += 'decimal = "comma"         # "3,5" is three and a half\n'
    fields = "".join(f"{field} = {json.dumps(column, ensure_ascii=False)}\n" for field, column in layout.fields.items())
    table = f"\n[task.fields]           # our name = the file's\n{fields}" if fields else ""
    example = "[exemplars]\nn = 3                    # solved questions in each prompt; they leave training\n\n"
    exemplars = example if "rationale" in guessed.fields else ""
    template = Template((files("understudy.studies") / "first_study.txt").read_text(encoding="utf-8"))
    names = {"file": path.name, "study": target, "name": json.dumps(name), "path": json.dumps(relative, ensure_ascii=False)}
    return template.substitute(names, said=comment, kind=layout.kind, lines=lines, table=table, exemplars=exemplars)


def _write_sizes(guessed: Guess) -> str:
    """Write the ``sizes`` of the splits: a tenth of train for each of dev and test that the data do not have."""
    existing = {name: n for name, n in guessed.rows.items() if name}
    comment = f"# its own splits: {', '.join(f'{name} {n}' for name, n in existing.items())}\n" if existing else ""
    size = max(1, guessed.rows.get("", guessed.rows.get("train", 0)) // 10)
    missing = {name: size for name in ("dev", "test") if name not in existing}
    if not missing:
        return comment
    if not existing:
        missing = {"train": guessed.rows[""] - 2 * size, **missing}
    sizes = ", ".join(f"{name} = {n}" for name, n in missing.items())
    return f"{comment}sizes = {{ {sizes} }}{'  # taken from train' if existing else ''}\n"
