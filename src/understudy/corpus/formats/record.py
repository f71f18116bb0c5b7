"""The vocabulary that all formats share: what a format is, and what it reads from a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from understudy.core.asks import FINISHES, GREEDY_PATH, Finish, Prompt
from understudy.core.errors import DataError, with_known
from understudy.core.thoughts import add_thought
from understudy.core.values import Chain, Problem, object_in

Row = dict[str, Any]

_NAMES = "problem question text reasoning answer teacher tokens logprob finish path".split()
FIELDS: Mapping[str, str] = {n: n for n in _NAMES} | {"problem": "problem_id", "reasoning": "reasoning_content", "answer": ""}
"""Our field -> the default field of a row, which a format or the user's mapping may replace. In most formats a field ``answer`` is
the data set's gold as often as the teacher's answer, so it is read only if it is mapped."""

TEACHERS = ("model_name", "generation_model")
"""Other fields with the name of the model that wrote a reply (distilabel)."""


@dataclass(frozen=True)
class Record:
    """One chain in a row, before its problem is known.

    ``problem_ids`` are ids that can only mean the problem. ``row_id`` is the row's own ``id``, which is often a running number.
    ``question`` is the question as it was asked, with wrapper and options, and ``prompt`` is the whole prompt. ``text`` "" is an
    empty reply. ``note`` says what reading the row skipped, to be counted. ``metadata`` is the metadata that an export of
    Understudy wrote.
    """

    location: str
    text: str
    problem_ids: tuple[str, ...] = ()
    row_id: str = ""
    question: str = ""
    prompt: str | None = None
    answer: str | None = None
    teacher: str = ""
    finish: Finish = "stop"
    tokens: int | None = None
    logprob: float | None = None
    path: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class LostRow(NamedTuple):
    """A row, or a choice in it, that gives no chain, and the reason."""

    reason: str


@dataclass(frozen=True)
class BatchRequest:
    """A request in the input file of a batch. Its answers are in another file."""

    location: str
    id: str
    question: str
    prompt: str
    problem: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


Read = Record | LostRow | BatchRequest


@dataclass(frozen=True)
class FileFormat:
    """One layout of rows. ``needs`` tells the user which fields its rows must have.

    ``fits(rows, names)`` says whether the rows may be in this format. ``read(row, names, location)`` yields what a row holds, and
    raises DataError if the row is damaged. ``write(problem, chain)`` makes the row of a chain, and ``pair(prompt, completion)``
    the row of a training example. ``names`` are the format's names of our `FIELDS`. ``mapped``: its texts are plain fields, which
    may be mapped. ``reads`` are the other fields that it reads; all remaining fields of a row are kept as they are.
    """

    name: str
    needs: str
    fits: Callable[[Sequence[Row], Mapping[str, str]], bool]
    read: Callable[[Row, Mapping[str, str], str], Iterator[Read]]
    write: Callable[[Problem, Chain], Row]
    mapped: bool = True
    pair: Callable[[Prompt, str], Row] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()


def read_plain(row: Row, names: Mapping[str, str], location: str) -> Record:
    """Read the record of a row of plain fields. The question is the prompt."""
    text = add_thought(row.get(names["reasoning"]), read_text(row, names, "text", location))
    question = read_text(row, names, "question", location) if names["question"] in row else ""
    return Record(text=text, question=question, prompt=question or None, **read_hints(row, names, location))


def read_hints(row: Row, names: Mapping[str, str], location: str) -> dict[str, Any]:
    """Return the arguments of a `Record` that a row of any format gives, besides question and reply."""
    metadata = object_in(row, "metadata")
    answer = row.get(names["answer"])
    return {
        "location": location,
        "problem_ids": tuple(write_identifier(i) for i in (row.get(names["problem"]), metadata.get("problem_id")) if i is not None),
        "row_id": "" if row.get("id") is None else write_identifier(row["id"]),
        "answer": None if answer is None else str(answer),
        "teacher": str(next((row[name] for name in (names["teacher"], *TEACHERS) if row.get(name)), "")),
        "finish": read_finish(row, names, location),
        "tokens": _read_number(row, names, "tokens", location),
        "logprob": _read_number(row, names, "logprob", location),
        "path": _read_number(row, names, "path", location),
        "sampling": object_in(row, "sampling"),
        "metadata": metadata if "understudy" in metadata else {},
    }


def write_identifier(value: Any) -> str:
    """Return an id or an answer as a text. 5.0, as a table writes a whole number in a column with empty cells, is 5."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_finish(row: Row, names: Mapping[str, str], location: str) -> Finish:
    """Return the finish of a reply, ``stop`` if the row does not say. Raises DataError for an unknown word."""
    name = names["finish"] if row.get(names["finish"]) else "finish_reason"
    finish = row.get(name) or "stop"
    word = finish.lower().partition(":")[0] if isinstance(finish, str) else ""  # Gemini's "content_filter: RECITATION"
    if word not in FINISHES:
        raise DataError(f"{location}: field {name!r} (finish) = {finish!r}: must be stop, length or refused (content_filter)")
    return FINISHES[word]


def read_text(row: Row, names: Mapping[str, str], name: str, location: str) -> str:
    """Return the text in our field ``name``, "" if it is empty. Raises DataError if the field is missing or not a text."""
    field_name = names[name]
    if field_name not in row:
        raise DataError(f"{location}: no field {with_known(field_name, row, 'the row has')} for {name}; map it with {name}=FIELD")
    value = row[field_name]
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else str(value)
    raise DataError(f"{location}: field {field_name!r} ({name}) must be a text, not {str(value)[:60]!r}")


def _read_number(row: Row, names: Mapping[str, str], name: str, location: str) -> float | None:
    value, minimum = row.get(names[name]), {"logprob": -(2**53), "path": GREEDY_PATH}.get(name, 0)
    if value is None:
        return None
    if isinstance(value, str):  # from a table
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value < 2**53:
        raise DataError(f"{location}: field {names[name]!r} ({name}) = {value!r:.40} must be a number from {minimum} to 2**53")
    return value if name == "logprob" else int(value)
