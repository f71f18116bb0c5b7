"""What every format reads a row into, and what it is: the small vocabulary that the formats share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.core.asks import Prompt
from understudy.core.errors import DataError, nearest
from understudy.core.prompt_format import prompt_text
from understudy.core.values import Chain, Problem

Row = dict[str, Any]

FIELDS: Mapping[str, str] = {
    "problem": "problem_id",
    "question": "question",
    "text": "text",
    "reasoning": "reasoning_content",
    "answer": "answer",
    "teacher": "teacher",
    "tokens": "tokens",
    "logprob": "logprob",
    "finish": "finish",
    "path": "path",
}
"""Our field -> the field of a row that is read where neither the format nor the mapping says otherwise."""

NO_RECORD: Mapping[str, str] = {"answer": ""}
"""In most formats a field ``answer`` is the data set's gold as often as the teacher's: it is read where it is mapped only."""

FINISHES: Mapping[str, str] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length"), "length"),
    **dict.fromkeys(("refused", "refusal", "content_filter"), "refused"),
}
"""What a row says of its end -> ours."""


@dataclass(frozen=True)
class Record:
    """One chain as a row has it, before its problem is known.

    ``named``: ids that can only mean the problem. ``bare``: the row's own ``id``, which is often a running number. ``question``
    is the question as it was asked, wrapper and options included; ``prompt`` all that was asked. ``text`` "" is an empty reply.
    ``note``: what was passed over in reading the row, to be counted. ``ours``: the metadata that an export of ours left.
    """

    where: str
    text: str
    named: tuple[str, ...] = ()
    bare: str = ""
    question: str = ""
    prompt: str | None = None
    answer: str | None = None
    teacher: str = ""
    finish: str = "stop"
    tokens: int | None = None
    logprob: float | None = None
    path: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    ours: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """A row, or a choice of it, of which no chain can be made, and why."""

    why: str


@dataclass(frozen=True)
class Asked:
    """A request of a batch: what its answers, which come in another file, were asked."""

    where: str
    id: str
    question: str
    prompt: str
    problem: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


Read = Record | Lost | Asked


@dataclass(frozen=True)
class FileFormat:
    """One layout of rows. ``needs`` says in a message what its rows must have.

    ``fits(rows, names)``: whether these rows can be of this format. ``read(row, names, where)``: what a row holds; DataError
    where the row is damaged. ``pair(prompt, completion)``: the row of a question and its reply; ``write(problem, chain)`` where
    a chain is written otherwise. ``names``: its own names of our `FIELDS`. ``mapped``: its texts are plain fields.
    """

    name: str
    needs: str
    fits: Callable[[Sequence[Row], Mapping[str, str]], bool]
    read: Callable[[Row, Mapping[str, str], str], Iterator[Read]]
    write: Callable[[Problem, Chain], Row]
    mapped: bool = True
    pair: Callable[[Prompt, str], Row] | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def hints(row: Row, names: Mapping[str, str], where: str) -> dict[str, Any]:
    """What a row says beside question and reply, in any format: the arguments of its `Record`."""
    metadata = row.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    sampling = row.get("sampling")
    answer = row.get(names["answer"])
    tokens, path = _number(row, names, "tokens", where), _number(row, names, "path", where)
    return {
        "where": where,
        "named": tuple(str(i) for i in (row.get(names["problem"]), metadata.get("problem_id")) if i is not None),
        "bare": "" if row.get("id") is None else str(row["id"]),
        "answer": None if answer is None else str(answer),
        "teacher": str(row.get(names["teacher"]) or ""),
        "finish": finish_of(row, names, where),
        "tokens": None if tokens is None else int(tokens),
        "logprob": _number(row, names, "logprob", where),
        "path": None if path is None else int(path),
        "sampling": sampling if isinstance(sampling, dict) else {},
        "ours": metadata if "understudy" in metadata else {},
    }


def finish_of(row: Row, names: Mapping[str, str], where: str) -> str:
    """How a reply ended, ``stop`` where the row does not say. Raises DataError for a word that means nothing here."""
    name = names["finish"] if row.get(names["finish"]) else "finish_reason"
    said = row.get(name) or "stop"
    if not isinstance(said, str) or said not in FINISHES:
        raise DataError(f"{where}: field {name!r} (finish) = {said!r}: must be stop, length or refused (content_filter)")
    return FINISHES[said]


def text_of(row: Row, names: Mapping[str, str], name: str, where: str) -> str:
    """The text in our field ``name``; "" where it is empty. Raises DataError where the row has no such field, or no text in it."""
    theirs = names[name]
    if theirs not in row:
        raise DataError(
            f"{where}: field {theirs!r} ({name}) is missing{nearest(theirs, list(row))} (the row has: {', '.join(row)}); "
            f"map it with {name}=FIELD"
        )
    value = row[theirs]
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else str(value)
    raise DataError(f"{where}: field {theirs!r} ({name}) must be a text, not {str(value)[:60]!r}")


def join_prompt(prompt: Prompt) -> str:
    """A prompt as one text: a lone message is its content, several stand each under its role."""
    if not isinstance(prompt, str) and len(prompt) == 1:
        return prompt[0].content
    return prompt_text(prompt)


def _number(row: Row, names: Mapping[str, str], name: str, where: str) -> float | None:
    value = row.get(names[name])
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: field {names[name]!r} ({name}) = {value!r} is not a finite number")
    return value
