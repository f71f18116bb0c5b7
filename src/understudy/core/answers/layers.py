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
from typing import NamedTuple

from understudy.core.answers import choice, date, expression, number, short, spans, yes_no
from understudy.core.answers.markers import Marker, find_markers
from understudy.core.answers.spans import ABSTAINS, NOTHING, SPAN, Reading
from understudy.core.values import ABSTAINED, AnswerKind

STATED = frozenset({"marker", "boxed", "hashes", "arrow", "label", "opening"})
"""The layers of an answer that a text plainly states."""


class FoundAnswer(NamedTuple):
    """The result of `extract`.

    ``value`` is the canonical answer or None. ``layer`` is the layer that read it, or "". ``start`` is the position in the text
    where the statement of the answer begins and the rationale ends. It is the end of the reply if no statement is separate from
    the reasoning: the reply has no answer, opens with it, or its last step is what the answer was concluded from. ``status`` is
    ``ok``, ``no_marker`` (no answer), ``ambiguous`` (several answers at once, or one that cannot be decided), ``abstained`` (the
    reply says that there is no answer; so does ``layer``) or ``truncated`` (the text ends inside a thought).
    """

    value: str | None
    layer: str
    start: int
    status: str


class AnswerSpec(NamedTuple):
    """The answer to look for: its kind, the option texts, the question and the form in which the data write answers."""

    kind: AnswerKind
    choices: Sequence[str]
    question: str
    form: str = ""


def extract(text: str, kind: AnswerKind, choices: Sequence[str] = (), question: str = "", form: str = "") -> FoundAnswer:
    """Extract the answer that ``text`` gives. The docstring of this module lists the layers.

    ``choices`` are option texts in the order A, B, .... With ``question`` a yes/no answer can be read from a sentence that asserts
    or denies the question. ``form`` says how the data write answers (`Problem.form`). The time is linear in the length of
    ``text``, whatever it contains.
    """
    spec = AnswerSpec(kind, choices, spans.to_point(question, form), form)
    folded = spans.to_point(spans.fold(text), form)
    start = spans.find_reply(folded)
    if start is None:
        return FoundAnswer(None, "", len(text), "truncated")
    end = spans.find_end(folded, start, _find_problem_end(folded, start, question))
    for layer, statement_start, reading in _read_layers(folded, start, end, spec):
        if reading:
            return FoundAnswer(reading.value, ABSTAINED if reading == ABSTAINS else layer, statement_start, reading.status)
    return FoundAnswer(None, "", len(text), "no_marker")


def _find_problem_end(text: str, start: int, question: str) -> int:
    """Return the end of a reply: where a new problem begins. Before an answer is stated, the same question may be repeated."""
    for end in spans.find_next_problem(text, len(text) - len(text[start:].lstrip())):  # its first word cannot be a new problem
        is_repeated = not question or spans.restates(text, end, question)
        if not is_repeated or next(find_markers(text, start, end, labels=True), None) is not None:
            return end
    return len(text)


def _read_layers(text: str, start: int, end: int, spec: AnswerSpec) -> Iterator[tuple[str, int, Reading]]:
    """Yield (layer, start, reading) in order of trust."""
    markers = find_markers(text, start, end, labels=spec.kind != "option")
    while (marker := next(markers, None)) is not None:
        reading = _read_marker(text, end, marker, spec)
        # "If it is wet, the answer is A. If it is dry, ..."
        if case := _find_case(text, start, marker):
            remaining = list(markers)
            markers = iter(remaining)
            others = [other for other in remaining if case[1].lower() == "otherwise" or _find_case(text, start, other)]
            reading = spans.merge([reading, *(_read_marker(text, end, other, spec) for other in others)])
        yield marker.layer, marker.start, reading
    # A reply that opens with its answer gives its reasons after it, so all of it is the rationale.
    yield "opening", end, read_opening(text[start:end], spec)
    sentences = spans.split_sentences(text, start, end)
    if not sentences:
        return
    last_sentence = text[slice(*sentences[-1])]
    if _abstains(last_sentence):
        yield ABSTAINED, end, ABSTAINS
    line_groups = [text[first:last] for first, last in sentences], text[sentences[0][0] : end].rstrip().split("\n")
    if spec.kind == "option" and any(choice.is_option_list(lines[-2:], spec.choices) for lines in line_groups):
        return
    # Beware: what an answer is concluded from is a step of the reasoning, so it stays in the rationale.
    concluding = [(first, last) for first, last in sentences[-4:] if _CONCLUDES.search(text, first, min(last, first + SPAN))]
    if spec.kind == "number" and sentences[-1] not in concluding:
        # Reasoning in numbers says "so" at every step, so try its last sentence first.
        yield "last_sentence", end, read_ending(last_sentence, spec)
    for first, last in reversed(concluding):
        yield "conclusion", end, read_ending(text[first:last], spec)
    yield "last_sentence", end, read_ending(last_sentence, spec)
    if spec.kind == "number":
        for first, last in reversed(sentences):
            yield "last_number", end, number.read_last(text[first:last], spec.question)


_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently|in conclusion|in summary|overall|this means|as a result|finally)\b"
    r"|\bis the (?:correct |best |right |most likely |only )?(?:answer|choice|option)\b",
    re.I,
)
_ABSTAINS = re.compile(
    r"\b(?:(?:can(?:not|'t| not)|could not|couldn't|impossible to|unable to|not possible to|difficult to|hard to)\s"
    r"(?:be\s)?(?:\w+\s)?(?:determined?|says?|said|answer(?:ed)?|known?|tell|provide|conclude)|"
    r"(?:not enough|insufficient) (?:information|data|context)|(?:is|are|was)n't enough (?:information|data)|unanswerable|"
    r"not (?:clear|known|specified)|none of the (?:above|options|choices|answers))\b",
    re.I,
)


_IF = re.compile(r"\b(if|unless|assuming|suppose|when|whenever|otherwise)\b", re.I)
_NOT_THE_CASE = re.compile(
    r"(?i)\b(?:(?:(?:not|isn't) (?:the case|true)|false|wrong|incorrect) that|"
    r"(?:(?:do not|don't) (?:think|believe)|doubt)(?: that)?)\s{1,2}$"
)


def _find_case(text: str, start: int, marker: Marker) -> re.Match[str] | None:
    """Return the word before ``marker``, in its sentence or in the line above it, that makes it one case of several."""
    sentence_start = max(text.rfind(sign, start, marker.start - (sign == "\n")) for sign in ".!?\n")
    return _IF.search(text, max(start, marker.start - 120, sentence_start), marker.start)


def _read_marker(text: str, end: int, marker: Marker, spec: AnswerSpec) -> Reading:
    stop = min(end, marker.answer + 3 * SPAN, marker.end if marker.end >= 0 else end)
    reading = read_statement(text[marker.answer : stop], spec, firm=marker.firm)
    if not _NOT_THE_CASE.search(text, max(0, marker.start - 30), marker.start):
        return reading
    return yes_no.deny(reading) if spec.kind == "yes_no" else NOTHING


def _abstains(sentence: str) -> bool:
    """Return whether a sentence says that there is no answer."""
    return _ABSTAINS.search(sentence[:SPAN]) is not None


_NOT = re.compile(r"[\s:*_\"']{0,6}(?:not|neither)\b(?!,? but)", re.I)
_NOT_BUT = re.compile(r"(?i)[\s:*_\"']{0,6}not (?!only\b|just\b)[^.;\n]{1,60}?(?:,? but (?:rather )?|[,;] (?:it is|it's|rather) )")
_UNKNOWN = re.compile(
    r"(?i)[\s:*_\"']{0,6}(?:not known|i(?:'m| am) not sure|i (?:don't|do not) know|none|"
    r"unclear|unknown|undetermined|uncertain|inconclusive|n/a)\b(?!,? but)"
)


def read_statement(span: str, spec: AnswerSpec, *, firm: bool) -> Reading:
    """Read the answer after a marker. With ``firm`` the text must begin with it."""
    first = spans.take_sentence(span)
    if spec.kind != "text" and (_UNKNOWN.match(span) or _abstains(first)) and not choice.find_named(first, spec.choices):
        return ABSTAINS  # an option may say the same
    span = span[spans.skip(_NOT_BUT, span) :] if spec.kind != "text" else span  # "not 5 but 6"
    if spec.kind != "text" and _NOT.match(span):
        return NOTHING
    match spec.kind:
        case "option":
            return choice.read(span, spec.choices, strict=firm)
        case "yes_no":
            return yes_no.read_reply(spec.question, span, first) or (NOTHING if firm else yes_no.read(span))
        case "number":
            return number.read(span, strict=firm, question=spec.question)
        case "date":
            return date.read(span, strict=firm, question=spec.question, form=spec.form)
        case "text":
            return NOTHING if firm else short.read(span)
        case "expression":
            return expression.read(span, strict=firm)


def read_opening(span: str, spec: AnswerSpec) -> Reading:
    """Read a separate answer at the beginning of a reply: a label, or yes or no, followed by reasons; a text of a few words."""
    if spec.kind == "option":
        return choice.read_first(span[: 5 * SPAN], spec.choices)
    if spec.kind == "yes_no":
        return yes_no.read_first(span)
    return short.read_alone(span) if spec.kind == "text" else NOTHING


def read_ending(sentence: str, spec: AnswerSpec) -> Reading:
    """Read the answer in a sentence of reasoning that is the conclusion."""
    match spec.kind:
        case "option":
            if choice.denies(sentence):
                return NOTHING
            return choice.find_mentioned(sentence, spec.choices) or choice.find_named(sentence, spec.choices)
        case "yes_no":
            return yes_no.read_reply(spec.question, sentence, sentence) or yes_no.read_anywhere(sentence)
        case "number":
            return number.read_last(sentence, spec.question)
        case "date":
            return date.read(sentence, question=spec.question, form=spec.form)
        case "text":
            return short.read_last(sentence)
        case "expression":
            return expression.read_last(sentence)
