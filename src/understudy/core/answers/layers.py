"""The answer of a reply: layers of reading in order of trust, each of which says its name.

    statement   "So the answer is: 5", "Answer: (b) show", "\\boxed{5}", "#### 5": the last of them counts   marker, boxed, hashes
    sign        "--> 5", a line "A: 5"                                                                  arrow, label
    opening     "No, you cannot ski there in August.", "(b) show", "C": how the reply begins             opening
    conclusion  "Therefore, she has 5 apples.", "(b) is the best choice."                               conclusion
    ending      what the last sentence says of the question                                             last_sentence
    figure      the last number of the reasoning                                                        last_number

Only what follows ``</think>`` is read; a thought that never ends has no answer. A completion that goes on with a problem of its
own is cut before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from understudy.core.answers import choice, date, expression, number, short, yes_no
from understudy.core.answers.markers import Marker, find_hints, find_statements
from understudy.core.answers.spans import (
    NOTHING,
    SPAN,
    Reading,
    find_next_problem,
    find_reply,
    find_sentence_end,
    fold,
    split_sentences,
)
from understudy.core.values import AnswerKind


@dataclass(frozen=True)
class Found:
    """What `extract` found.

    ``value``: canonical, or None. ``layer``: which one read it, "" where nothing did. ``start``: where the answer's statement
    begins in the text, and the rationale ends; the end of the reply where nothing was found, or where the reply opens with its
    answer or is nothing but its conclusion. ``status``: ``ok``, ``no_marker`` (nothing was read), ``ambiguous`` (several
    answers at once), ``truncated`` (the text ends inside a thought).
    """

    value: str | None
    layer: str
    start: int
    status: str


@dataclass(frozen=True)
class AnswerSpec:
    """The answer that is sought: its kind, the option texts and the question."""

    kind: AnswerKind
    choices: Sequence[str]
    question: str


def extract(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "") -> Found:
    """The answer that ``text`` gives; see the head of this module for the layers.

    ``choices`` are option texts in order A, B, ...; ``question`` lets a yes/no answer be read from a sentence that asserts or
    denies what was asked. Takes time linear in the length of ``text``, whatever it contains.
    """
    asked = AnswerSpec(kind, choices, question)
    plain = fold(text)
    begin = find_reply(plain)
    if begin is None:
        return Found(None, "", len(text), "truncated")
    end = find_next_problem(plain, _first(plain, begin))
    end = len(plain) if end is None else end
    for layer, start, reading in _readings(plain, begin, end, asked):
        if reading.found:
            alone = layer in ("conclusion", "last_sentence", "last_number") and not text[begin:start].strip()
            return Found(reading.value, layer, end if alone else start, reading.status)
    return Found(None, "", len(text), "no_marker")


def _readings(text: str, begin: int, end: int, asked: AnswerSpec) -> Iterator[tuple[str, int, Reading]]:
    """(layer, start, reading) in order of trust."""
    for marker in find_statements(text, begin, end):
        yield marker.layer, marker.begin, read_statement(_span(text, marker, end), asked, firm=marker.firm)
    for marker in find_hints(text, begin, end, labels=asked.kind != "option"):
        yield marker.layer, marker.begin, read_statement(_span(text, marker, end), asked, firm=marker.firm)
    # What opens with its answer gives its reasons after it: all of it is the rationale.
    yield "opening", end, read_opening(text[begin : min(end, begin + SPAN)], asked)
    said = split_sentences(text, begin, end)
    if not said or _abstains(text[said[-1][0] : said[-1][1]]):
        return
    concluding = [(start, stop) for start, stop in said[-4:] if _CONCLUDES.search(text, start, min(stop, start + SPAN))]
    if asked.kind == "number" and said[-1] not in concluding:
        # Reasoning in numbers says "so" at every step: its last sentence comes first.
        yield "last_sentence", said[-1][0], read_ending(text[said[-1][0] : said[-1][1]], asked)
    for start, stop in reversed(concluding):
        yield "conclusion", start, read_ending(text[start:stop], asked)
    start, stop = said[-1]
    yield "last_sentence", start, read_ending(text[start:stop], asked)
    if asked.kind == "number":
        for start, stop in reversed(said):
            yield "last_number", start, number.read_last(text[start:stop])


_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently|in conclusion|in summary|overall|this means|as a result|finally)\b"
    r"|\bis the (?:correct |best |right |most likely |only )?(?:answer|choice|option)\b",
    re.I,
)
_ABSTAINS = re.compile(
    r"\b(?:(?:can(?:not|'t| not)|could not|couldn't|impossible to|unable to|not possible to|difficult to|hard to)\s"
    r"(?:be\s)?(?:\w+\s)?"
    r"(?:determined?|says?|said|answer(?:ed)?|known?|tell|provide|conclude)|not enough information|insufficient information|"
    r"unanswerable"
    r"|not (?:clear|known|specified)|none of the (?:above|options|choices|answers))\b",
    re.I,
)


def _abstains(sentence: str) -> bool:
    """Whether a sentence says that there is no answer."""
    return _ABSTAINS.search(sentence[:SPAN]) is not None


_NOT = re.compile(r"[\s:*_\"']{0,6}(?:not|neither|unclear|unknown|undetermined|uncertain|inconclusive|n/a|none)\b(?!,? but)", re.I)


def read_statement(span: str, asked: AnswerSpec, *, firm: bool) -> Reading:
    """What follows a marker. ``firm``: only what begins with an answer counts."""
    if _NOT.match(span) and asked.kind != "text":
        return NOTHING
    first = span[: find_sentence_end(span, len(span) - len(span.lstrip()), len(span))]
    if _abstains(first) and asked.kind != "text":
        return NOTHING
    match asked.kind:
        case "option":
            return choice.read(span, asked.choices, strict=firm)
        case "yes_no":
            reading = yes_no.read(span, strict=True)
            if not reading.found:
                reading = yes_no.read_assertion(asked.question, first)
            return reading if reading.found or firm else yes_no.read(span)
        case "number":
            return number.read(span, strict=firm, question=asked.question)
        case "date":
            return date.read(span, strict=firm)
        case "text":
            return NOTHING if firm else short.read(span)
        case "expression":
            return expression.read(span, strict=firm)


def read_opening(span: str, asked: AnswerSpec) -> Reading:
    """What the reply begins with, where that is an answer on its own: a label or a yes or no, and then its reasons."""
    match asked.kind:
        case "option":
            return choice.read_first(span, asked.choices)
        case "yes_no":
            return yes_no.read_first(span)
        case _:
            return NOTHING


def read_ending(sentence: str, asked: AnswerSpec) -> Reading:
    """What a sentence of reasoning says, where it is the conclusion."""
    match asked.kind:
        case "option":
            reading = choice.find_mentioned(sentence, asked.choices)
            return reading if reading.found else choice.find_named(sentence, asked.choices)
        case "yes_no":
            reading = yes_no.read(sentence, strict=True)
            if not reading.found:
                reading = yes_no.read_assertion(asked.question, sentence)
            return reading if reading.found else yes_no.read_anywhere(sentence)
        case "number":
            return number.read_last(sentence)
        case "date":
            return date.read(sentence)
        case "text":
            return short.read_last(sentence)
        case "expression":
            return expression.read_last(sentence)


def _span(text: str, marker: Marker, end: int) -> str:
    """What is read after a marker: its own extent, or as much as an answer can be long."""
    return text[marker.answer : min(end, marker.answer + SPAN, marker.end if marker.end >= 0 else end)]


def _first(text: str, begin: int) -> int:
    """Where the reply's first word is: what it opens with is no new problem."""
    while begin < len(text) and text[begin].isspace():
        begin += 1
    return begin
