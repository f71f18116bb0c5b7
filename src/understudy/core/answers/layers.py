"""The answer of a reply, from named layers in order of trust.

    statement   "So the answer is: 5", "Answer: (b) show", "\\boxed{5}", "#### 5": the last one counts      marker, boxed, hashes
    sign        "--> 5", a line "A: 5"                                                                  arrow, label
    opening     "No, you cannot ski there in August.", "(b) show", "C": how the reply begins             opening
    conclusion  "Therefore, she has 5 apples.", "(b) is the best choice."                               conclusion
    ending      what the last sentence says about the question                                             last_sentence
    figure      the last number of the reasoning                                                        last_number

Only the text after ``</think>`` is read, so a thought that never ends has no answer. A completion that continues with a new
problem is cut before it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from understudy.core.answers import choice, date, expression, number, short, spans, yes_no
from understudy.core.answers.markers import find_markers
from understudy.core.answers.spans import NOTHING, SPAN, Reading
from understudy.core.values import AnswerKind


@dataclass(frozen=True)
class FoundAnswer:
    """The result of `extract`.

    ``value`` is the canonical answer or None. ``layer`` is the layer that read it, or "". ``start`` is the place in the text
    where the statement of the answer begins and the rationale ends. It is the end of the reply where there is no answer, or where
    the reply opens with its answer or is only a conclusion. ``status`` is ``ok``, ``no_marker`` (no answer), ``ambiguous``
    (several answers at once) or ``truncated`` (the text ends inside a thought).
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


def extract(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "") -> FoundAnswer:
    """The answer that ``text`` gives. The head of this module lists the layers.

    ``choices`` are option texts in the order A, B, .... With ``question`` a yes/no answer can be read from a sentence that
    asserts or denies the question. The time is linear in the length of ``text``, whatever it contains.
    """
    spec = AnswerSpec(kind, choices, question)
    plain = spans.fold(text)
    begin = spans.find_reply(plain)
    if begin is None:
        return FoundAnswer(None, "", len(text), "truncated")
    end = _end_of(plain, begin, question)
    for layer, start, reading in _readings(plain, begin, end, spec):
        if reading.found:
            alone = layer in ("conclusion", "last_sentence", "last_number") and not text[begin:start].strip()
            return FoundAnswer(reading.value, layer, end if alone else start, reading.status)
    return FoundAnswer(None, "", len(text), "no_marker")


def _end_of(text: str, begin: int, question: str) -> int:
    """The end of a reply: where a new problem begins. Before an answer is stated, the same question may be told again."""
    for end in spans.find_next_problem(text, len(text) - len(text[begin:].lstrip())):  # its first word cannot be a new problem
        if end == len(text) or not (spans.restates(text, end, question) if question else True) or _states(text, begin, end):
            return end
    return len(text)


def _states(text: str, begin: int, end: int) -> bool:
    return next(find_markers(text, begin, end, labels=True), None) is not None


def _readings(text: str, begin: int, end: int, spec: AnswerSpec) -> Iterator[tuple[str, int, Reading]]:
    """(layer, start, reading) in order of trust."""
    for marker in find_markers(text, begin, end, labels=spec.kind != "option"):
        stop = min(end, marker.answer + SPAN, marker.end if marker.end >= 0 else end)
        yield marker.layer, marker.begin, read_statement(text[marker.answer : stop], spec, firm=marker.firm)
    # A reply that opens with its answer gives its reasons after it, so all of it is the rationale.
    yield "opening", end, read_opening(text[begin : min(end, begin + SPAN)], spec)
    sentences = spans.split_sentences(text, begin, end)
    if not sentences or _abstains(text[sentences[-1][0] : sentences[-1][1]]):
        return
    concluding = [(start, stop) for start, stop in sentences[-4:] if _CONCLUDES.search(text, start, min(stop, start + SPAN))]
    if spec.kind == "number" and sentences[-1] not in concluding:
        # Reasoning in numbers says "so" at every step, so its last sentence comes first.
        yield "last_sentence", sentences[-1][0], read_ending(text[sentences[-1][0] : sentences[-1][1]], spec)
    for start, stop in reversed(concluding):
        yield "conclusion", start, read_ending(text[start:stop], spec)
    start, stop = sentences[-1]
    yield "last_sentence", start, read_ending(text[start:stop], spec)
    if spec.kind == "number":
        for start, stop in reversed(sentences):
            yield "last_number", start, number.read_last(text[start:stop], spec.question)


_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently|in conclusion|in summary|overall|this means|as a result|finally)\b"
    r"|\bis the (?:correct |best |right |most likely |only )?(?:answer|choice|option)\b",
    re.I,
)
_ABSTAINS = re.compile(
    r"\b(?:(?:can(?:not|'t| not)|could not|couldn't|impossible to|unable to|not possible to|difficult to|hard to)\s"
    r"(?:be\s)?(?:\w+\s)?(?:determined?|says?|said|answer(?:ed)?|known?|tell|provide|conclude)|not enough information|"
    r"insufficient information|unanswerable|not (?:clear|known|specified)|none of the (?:above|options|choices|answers))\b",
    re.I,
)


def _abstains(sentence: str) -> bool:
    """Whether a sentence says that there is no answer."""
    return _ABSTAINS.search(sentence[:SPAN]) is not None


_NOT = re.compile(r"[\s:*_\"']{0,6}(?:not|neither|unclear|unknown|undetermined|uncertain|inconclusive|n/a|none)\b(?!,? but)", re.I)


def read_statement(span: str, spec: AnswerSpec, *, firm: bool) -> Reading:
    """The answer after a marker. With ``firm`` the text must begin with it."""
    if _NOT.match(span) and spec.kind != "text":
        return NOTHING
    first = spans.first_sentence(span)
    if _abstains(first) and spec.kind != "text":
        return NOTHING
    match spec.kind:
        case "option":
            return choice.read(span, spec.choices, strict=firm)
        case "yes_no":
            reading = yes_no.read_reply(spec.question, span, first)
            return reading if reading.found or firm else yes_no.read(span)
        case "number":
            return number.read(span, strict=firm, question=spec.question)
        case "date":
            return date.read(span, strict=firm)
        case "text":
            return NOTHING if firm else short.read(span)
        case "expression":
            return expression.read(span, strict=firm)


def read_opening(span: str, spec: AnswerSpec) -> Reading:
    """The answer at the beginning of a reply, if it stands alone: a label, or yes or no, followed by reasons."""
    if spec.kind == "option":
        return choice.read_first(span, spec.choices)
    return yes_no.read_first(span) if spec.kind == "yes_no" else NOTHING


def read_ending(sentence: str, spec: AnswerSpec) -> Reading:
    """The answer in a sentence of reasoning that is the conclusion."""
    match spec.kind:
        case "option":
            reading = choice.find_mentioned(sentence, spec.choices)
            return reading if reading.found else choice.find_named(sentence, spec.choices)
        case "yes_no":
            reading = yes_no.read_reply(spec.question, sentence, sentence)
            return reading if reading.found else yes_no.read_anywhere(sentence)
        case "number":
            return number.read_last(sentence, spec.question)
        case "date":
            return date.read(sentence)
        case "text":
            return short.read_last(sentence)
        case "expression":
            return expression.read_last(sentence)
