"""Turn a row of a user's file into a `Problem`: the meaning of fields, templates over fields, and answers in canonical form."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Literal, NamedTuple

from understudy.core.answers import normalise
from understudy.core.answers.date import find_form
from understudy.core.errors import DataError, suggest, with_known
from understudy.core.values import COMMA, AnswerKind, Problem
from understudy.corpus.formats.record import write_identifier
from understudy.corpus.tables import Row, collect_bad, read_objects
from understudy.tasks.choices import Options, find_base, find_letter, parse_list, read_field_options, read_options, split_options

FIELDS = ("id", "question", "answer", "accepted", "choices", "context", "rationale")


@dataclass(frozen=True)
class Layout:
    """How to read rows. Raises DataError for impossible fields."""

    kind: AnswerKind
    """The kind of the answers."""
    fields: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Our field -> yours, where the names differ: ``id``, ``question``, ``answer``, ``accepted``, ``choices``, ``context``,
    ``rationale`` (a human one, for exemplars of the teacher's prompt). A name with braces is a template over the row's fields
    (``"{passage}\\n{question}"``), and ``choices`` may be a list of fields. All other fields go to ``meta``."""
    choices_in: Literal["field", "question"] = "field"
    """``question``: the text of the question contains the options, "... (A) sun (B) moon", and they are removed from it."""
    skip_bad: bool = False
    """Leave out and count rows that cannot be read, instead of stopping with an error."""
    answer_base: Literal[0, 1] | None = None
    """The number of the first option if answers are numbers. You need not set it if the data show it: some answer is 0, or equals
    the number of options."""
    decimal: Literal["point", "comma"] = "point"
    """How numbers are written in answers, chains and replies: ``1,234.5``, or ``1.234,5``."""

    def __post_init__(self) -> None:
        for name, column in self.fields.items():
            if name not in FIELDS:
                raise DataError(f"fields: unknown field {with_known(name, FIELDS)}")
            if not isinstance(column, str) and name != "choices":
                raise DataError(f"fields.{name} = {list(column)}: only choices may name several fields; join texts with a template")
            if _is_template(column) and name in ("choices", "accepted"):
                raise DataError(f"fields.{name} = {column!r}: a template makes one text; name the field, or several for choices")
            if isinstance(column, str) and name in ("question", "context"):
                visible = set(find_fields(column)) or {column}
                for gold in map(self.name, ("answer", "accepted", "rationale")):
                    if (set(find_fields(gold)) or {gold}) <= visible:
                        raise DataError(f"fields.{name} = {column!r}: it may not show {gold!r}, which gives away the answer")
            elif isinstance(column, str):
                find_fields(column)
        if self.answer_base is not None and self.kind != "option":
            raise DataError(f"answer_base = {self.answer_base}: only answers of kind 'option' count options, not {self.kind!r}")
        if self.decimal == "comma" and self.kind != "number":
            raise DataError(f'decimal = "comma": only answers of kind "number" have decimals, not {self.kind!r}')
        if self.choices_in == "question" and (self.kind != "option" or "choices" in self.fields):
            raise DataError('choices_in = "question": for kind = "option", and without fields.choices')

    def name(self, key: str) -> str:
        """Return the field, or the template, that our field ``key`` is read from."""
        column = self.fields.get(key, key)
        return column if isinstance(column, str) else ", ".join(column)

    def our_name(self, column: str) -> str:
        """Return our name for the field ``column``."""
        return next((key for key, name in self.fields.items() if name == column), column)


def read_problems(path: Path, layout: Layout, bad: list[str] | None = None, form: str | None = None) -> list[Problem]:
    """Read the problems of a file; ``bad`` and ``form`` as for `make_problems`. Raises DataError naming file, line and field, and
    for a file without problems."""
    return [problem for problem in make_problems(read_question_rows(path, bad), layout, bad, form) if problem is not None]


def read_question_rows(path: Path, bad: list[str] | None = None) -> list[tuple[str, Row]]:
    """Read the rows of ``path``; ``bad`` as for `read_objects`. Raises DataError if there are none."""
    rows = list(read_objects(path, bad))
    if not rows:
        raise DataError(f"{path}: the file has no problems{f' that can be read; {bad[-1]}' if bad else ''}")
    return rows


def make_problems(
    rows: Sequence[tuple[str, Row]], layout: Layout, bad: list[str] | None = None, form: str | None = None
) -> list[Problem | None]:
    """Make the problems of ``rows`` in order. Raises DataError naming file, line and field. If there is a list ``bad``, the
    message goes there instead, and the row's problem is None. ``form`` is that of the answers (`Problem.form`); with None the rows
    decide."""
    row_fields = dict.fromkeys(name for _, row in rows for name in row)
    for key, column in layout.fields.items():
        for name in [column] if isinstance(column, str) else column:
            if not _is_template(name) and name not in row_fields:  # a misspelt field would silently be missing
                raise DataError(f"{rows[0][0]}: fields.{key}: no row has a field {with_known(name, row_fields, 'fields')}")
    return _read_rows(rows, layout, bad, form)


def _read_rows(rows: Sequence[tuple[str, Row]], layout: Layout, bad: list[str] | None, form: str | None) -> list[Problem | None]:
    questions = [collect_bad(bad, _read_question, row, layout, location) for location, row in rows]
    style = _find_style([(row, question) for row, question in zip(rows, questions, strict=True) if question is not None], layout)
    tails = [location.rpartition("/")[2] for location, row in rows if row.get(layout.name("id")) is None]
    style = style._replace(form=style.form if form is None else form, id_parts=1 if len(set(tails)) == len(tails) else 2)
    return [
        None if pair is None else collect_bad(bad, _make_problem, row, layout, location, style, pair)
        for (location, row), pair in zip(rows, questions, strict=True)
    ]


def measure_fit(rows: Sequence[tuple[str, Row]], layout: Layout) -> float:
    """Return the share of rows whose answer ``layout`` can read, among the rows with an answer; 0 if no row has one."""
    answered: list[tuple[str, Row]] = []
    for location, row in rows:
        with suppress(DataError):
            if _list_answers(row, layout, location):
                answered.append((location, row))
    with suppress(DataError):
        problems = _read_rows(answered, layout, [], None)
        return sum(problem is not None and problem.answer is not None for problem in problems) / max(1, len(answered))
    return 0.0


class _Style(NamedTuple):
    """What the layout or the rows together show: the number from which answers count options, the `Problem.form`, and how many
    parts of a row's location make the id of a row without one: "0000.parquet, row 1", or "train/0000.parquet, row 1"."""

    base: int | None
    form: str
    id_parts: int = 1


def _find_style(read: Sequence[tuple[tuple[str, Row], tuple[str, Options]]], layout: Layout) -> _Style:
    raw = ((location, raw, options) for (location, row), (_, options) in read for raw in _list_answers(row, layout, location))
    if layout.kind == "option" and layout.answer_base is None:
        return _Style(find_base(raw), "")
    if layout.kind == "date":
        return _Style(None, find_form([str(date) for _, date, _ in raw]))
    return _Style(layout.answer_base, COMMA if layout.decimal == "comma" else "")


def find_fields(template: str) -> list[str]:
    """Return the fields of a template such as ``"{passage}\\n{question}"``; [] for a plain field name. Raises DataError for a
    damaged template."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError:
        pieces = [("", "", "", None)]
    if any(name == "" or spec or conversion for _, name, spec, conversion in pieces):
        requirement = "write only a field name in braces, as in {question}, and a brace itself as {{ or }}"
        raise DataError(f"fields: {template!r}: {requirement}")
    return [name for _, name, _, _ in pieces if name is not None]


def fill_template(template: str, row: Row, location: str) -> str:
    """Fill ``template`` with the fields of ``row``. An empty field gives an empty text. Raises DataError for a missing field."""
    filled = ""
    for text, name, _, _ in Formatter().parse(template):
        if name is not None and name not in row:
            raise DataError(f"{location}: the template {template!r} needs a field {with_known(name, row, 'the row has')}")
        value = None if name is None else row[name]
        if isinstance(value, list | dict):
            raise DataError(f"{location}: field {name!r} = {value!r} must be a text, because the template {template!r} uses it")
        filled += text if value is None else f"{text}{value}"
    return filled.strip()


def _is_template(name: object) -> bool:
    return isinstance(name, str) and ("{" in name or "}" in name)


def _make_problem(row: Row, layout: Layout, location: str, style: _Style, question_and_options: tuple[str, Options]) -> Problem:
    question, options = question_and_options
    accepted = parse_list(row.get(layout.name("accepted")) or ())
    if not isinstance(accepted, list | tuple):
        raise DataError(f"{location}: field {layout.name('accepted')!r} must be a list, not {accepted!r}")
    answers = [("answer", raw) for raw in _list_answers(row, layout, location)]
    answers += [("accepted", raw) for raw in accepted if raw is not None]
    marks = sorted(str(raw) for our_field, raw in answers if our_field == "answer")
    if len(marks) == len(options.texts) > 2 and layout.answer_base is None and marks == ["0"] * (len(marks) - 1) + ["1"]:
        raise DataError(f"{location}: field {layout.name('answer')!r} marks every option with 0 or 1; name the right one instead")
    golds = list(dict.fromkeys(_read_answer(raw, our_field, layout, location, options, style=style) for our_field, raw in answers))
    # ``meta`` leaves out the fields that are read as they are, but keeps the fields of templates.
    columns = [layout.fields.get(our_field, our_field) for our_field in FIELDS]
    taken = {name for column in columns for name in ([column] if isinstance(column, str) else column)}
    rationale = _get(row, layout, "rationale", location)
    if isinstance(rationale, list | dict):
        rationale = _read_text(row, layout, "rationale", location) if "rationale" in layout.fields else None
    name = _get(row, layout, "id", location)
    return Problem(
        id=write_identifier(name) if name is not None else "/".join(location.split("/")[-style.id_parts :]),
        question=question,
        kind=layout.kind,
        answer=golds[0] if golds else None,
        accepted=tuple(golds[1:]),
        choices=options.texts,
        context=_read_text(row, layout, "context", location) if _get(row, layout, "context", location) else "",
        meta={key: value for key, value in row.items() if key not in taken} | ({"rationale": rationale} if rationale else {}),
        form=style.form,
    )


def _get(row: Row, layout: Layout, key: str, location: str) -> Any:
    name = layout.name(key)
    return fill_template(name, row, location) if _is_template(name) else row.get(name)


def _read_text(row: Row, layout: Layout, key: str, location: str) -> str:
    name, value = layout.name(key), _get(row, layout, key, location)
    if not isinstance(value, str) or not value.strip():
        missing = not _is_template(name) and name not in row
        detail = f"{suggest(name, row)} (the row has: {', '.join(row)})" if missing else f", not {value!r}"
        advice = f"; name it: task.fields.{key} = ... in a study, --problem-field {key}=FIELD in import and export"
        raise DataError(f"{location}: field {name!r} must be a non-empty text{detail}{advice if missing else ''}")
    return value


def _read_question(row: Row, layout: Layout, location: str) -> tuple[str, Options]:
    """Read the question and its options."""
    question = _read_text(row, layout, "question", location)
    if layout.choices_in == "question":
        return split_options(question, location)
    column = layout.fields.get("choices", "choices")
    if not isinstance(column, str):
        return question, read_field_options(row, column, location, layout.name("answer"))
    return question, read_options(row.get(column), location, column)


def _list_answers(row: Row, layout: Layout, location: str) -> list[Any]:
    """Return the answers of a row. The first one is the canonical answer."""
    raw = _get(row, layout, "answer", location)
    values = parse_list(raw)
    if isinstance(raw, list):
        return [value for value in raw if value is not None]
    if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
        return values
    return [] if raw in (None, "") else [raw]


def _read_answer(raw: Any, key: str, layout: Layout, location: str, options: Options, *, style: _Style) -> str:
    """Return the canonical form of ``raw`` in our field ``key``. Raises DataError if it is not an answer of the kind."""
    name, kind, canonical = layout.name(key), layout.kind, None
    if isinstance(raw, bool) and str(raw) not in options.texts:
        raw = "yes" if raw else "no"
    if kind == "option":
        try:
            canonical = find_letter(raw, options, style.base, declared=layout.answer_base is not None)
        except ValueError as error:
            raise DataError(f"{location}: field {name!r} = {raw!r} {error}") from None
    elif not isinstance(raw, list | dict):
        canonical = normalise(str(raw), kind, options.texts, style.form if isinstance(raw, str) else "")
    if canonical is None:
        comma = kind == "number" and style.form != COMMA and normalise(str(raw), kind, (), COMMA) is not None
        advice = 'if its comma is a decimal comma, set task.decimal = "comma"' if comma else "correct the row or task.kind"
        detail = f" (choices: {', '.join(options.texts)})" if options.texts else ""
        raise DataError(f"{location}: field {name!r} = {repr(raw)[:100]} is not an answer of kind {kind!r}{detail}; {advice}")
    return canonical
