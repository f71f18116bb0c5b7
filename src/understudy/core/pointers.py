"""Numbers as pointers: a small student says which number, and an evaluator says what comes out.

    Ana has 16 @0 coins, loses 3 @1 and finds 2 @2 more.        `number`: each number of a question, and its pointer
    @0 - @1 = #0. #0 + @2 = #1. So the answer is: #1            `to_pointers`: a chain reduced to its equations
    16 - 3 = 13. 13 + 2 = 15. So the answer is: 15              `to_text`: with the numbers and results filled in

Copying a rare number digit by digit is what a student from scratch does not learn in minutes; pointing at it is. Pointer
networks (Vinyals et al. 2015, arXiv 1506.03134) and the number slots of word-problem solvers (Wang et al. 2017) are the models.
What a student writes is evaluated by `core.answers.arithmetic`, which has no names or calls and bounds every number.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from understudy.core.answers.arithmetic import LITERAL, Expression, parse, to_fraction, write_number
from understudy.core.answers.equations import find_equations
from understudy.core.answers.number import NUMBER_WORDS, from_words
from understudy.core.answers.spans import fold

CONSTANTS = frozenset(map(Fraction, (1, 2, 3, 4, 7, 10, 12, 24, 30, 60, 100, 1000)))
"""Numbers that a chain may have of itself: counting, halves and quarters, days, months and dozens, hours, minutes, per cent."""

_MULTIPLES = {"half": "1/2", "twice": "2", "double": "2", "thrice": "3", "triple": "3", "dozen": "12"}
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_])(?<![0-9][.,])(?:"
    rf"(?P<whole>[0-9]{{1,6}})[ -](?P<over>[0-9]{{1,6}})/(?P<under>0*[1-9][0-9]{{0,5}})"
    rf"|(?P<top>[0-9]{{1,6}})/(?P<bottom>0*[1-9][0-9]{{0,5}})"
    rf"|(?P<digits>{LITERAL})(?:[ -](?P<scale>hundred|thousand|million|billion)\b)?)(?!(?:st|nd|rd|th)\b)"
    rf"|\b(?:(?P<words>{NUMBER_WORDS})|(?P<multiple>{'|'.join(_MULTIPLES)}))\b",
    re.I,
)
_LITERAL = re.compile(LITERAL)
_POINTER = re.compile(r"[@#][0-9]{1,3}(?![0-9])")
_RESULT = re.compile(r"\s*=\s*(#[0-9]{1,3})(?![0-9])\s*\.?\s*")
_REST = re.compile(r"(?P<says>[^@#]*)(?P<answer>#[0-9]{1,3})?\s*")


@dataclass(frozen=True)
class PointerChain:
    """A chain as pointers: ``rationale`` ("@0 - @1 = #0. #0 + @2 = #1.") and ``answer`` ("#1"). Where it cannot be written so,
    both are "" and ``reason`` says why."""

    rationale: str = ""
    answer: str = ""
    reason: str = ""


@dataclass(frozen=True)
class FilledReply:
    """A student's reply with its numbers: ``text``; or, where it cannot be evaluated, as it came, with the ``reason``."""

    text: str
    reason: str = ""


def number(question: str) -> str:
    """``question`` with " @0", " @1", ... after its numbers, in digits or in words ("seven", "half", "twice", "dozen")."""
    parts, begin = [], 0
    for i, (end, _) in enumerate(_numbers(question)):
        parts.append(f"{question[begin:end]} @{i}")
        begin = end
    return "".join([*parts, question[begin:]])


def to_pointers(question: str, rationale: str, answer: str) -> PointerChain:
    """The equations of ``rationale``, each number as a pointer: to the question, to an earlier result, or one of `CONSTANTS`.

    An equation that says again what one before it said is left out. Not possible, with the reason: without any equation, with
    one that does not hold, with a number from nowhere, or where ``answer`` (canonical) is no result.
    """
    names = _Names([value for _, value in _numbers(question)])
    written: dict[str, str] = {}
    for equation in find_equations(rationale):
        if equation.value is None:
            return PointerChain(reason="an equation does not hold")
        if equation.text in written:
            continue
        left = names.point(equation.calculated)
        if left is None:
            return PointerChain(reason="a number from nowhere")
        written[equation.text] = f"{left} = {names.give(equation.value)}."
    expression = parse(answer)
    if not written:
        return PointerChain(reason="no equation")
    if expression is None or expression.value not in names.results:
        return PointerChain(reason="the answer is not a result")
    last = max(i for i, value in enumerate(names.results) if value == expression.value)
    return PointerChain(" ".join(written.values()), f"#{last}")


def to_text(question: str, text: str) -> FilledReply:
    """``text`` (equations in pointers, then a sentence that ends in the answer's pointer) with all numbers filled in.

    Never raises: text without any pointer is left as it is; what cannot be evaluated (a pointer to nothing, division by zero,
    an equation that is cut off) is left as it is, with the reason.
    """
    if not _POINTER.search(text):
        return FilledReply(text)
    values = {f"@{i}": value for i, (_, value) in enumerate(_numbers(question))}
    pieces, at = [], len(text) - len(text.lstrip())
    while result := _RESULT.search(text, at):
        left = text[at : result.start()]
        shown, reason = _fill(left, values)
        if reason:
            return FilledReply(text, reason)
        expression = parse(shown)
        if expression is None or shown[expression.end :].strip():
            return FilledReply(text, f"no arithmetic: {left!r}")
        if expression.value is None:
            return FilledReply(text, f"undefined: {shown}")
        values[result[1]] = expression.value
        pieces.append(f"{shown} = {write_number(expression.value)}.")
        at = result.end()
    rest = _REST.fullmatch(text, at)
    if rest is None or not pieces:
        return FilledReply(text, f"cut off: {text[at:]!r}")
    last, reason = _fill(rest["answer"] or "", values)
    return FilledReply(text, reason) if reason else FilledReply(f"{' '.join(pieces)} {rest['says']}{last.strip('()')}".rstrip())


def _numbers(question: str) -> list[tuple[int, Fraction]]:
    """(where it ends, value) of every number of ``question``."""
    return [(match.end(), _value(match)) for match in _NUMBER.finditer(fold(question))]


def _value(match: re.Match[str]) -> Fraction:
    groups = match.groupdict()
    if groups["whole"]:
        return int(groups["whole"]) + Fraction(int(groups["over"]), int(groups["under"]))
    if groups["top"]:
        return Fraction(int(groups["top"]), int(groups["bottom"]))
    if groups["digits"]:
        return to_fraction(groups["digits"]) * ((from_words(f"one {groups['scale']}") or 1) if groups["scale"] else 1)
    if groups["words"]:
        return from_words(groups["words"]) or Fraction(0)
    return Fraction(_MULTIPLES[groups["multiple"].lower()])


class _Names:
    """The pointers of one chain: to the numbers of its question, and to its results as they come."""

    def __init__(self, given: Sequence[Fraction]) -> None:
        self.given, self.results = given, list[Fraction]()
        self.used: set[str] = set()

    def give(self, value: Fraction) -> str:
        self.results.append(value)
        return f"#{len(self.results) - 1}"

    def point(self, expression: Expression) -> str | None:
        """``expression`` in pointers; None where no pointer stands for one of its numbers."""
        parts, begin = [], 0
        for literal in _LITERAL.finditer(expression.text):
            name = self._name(to_fraction(literal[0]))
            if name is None:
                return None
            parts += [expression.text[begin : literal.start()], name]
            begin = literal.end()
        return "".join([*parts, expression.text[begin:]]).replace("**", "^")

    def _name(self, value: Fraction) -> str | None:
        """The pointer to ``value``: what has not been used yet comes first, and the latest result before the question."""
        results = [f"#{i}" for i, result in enumerate(self.results) if result == value]
        names = [*reversed(results), *(f"@{i}" for i, given in enumerate(self.given) if given == value)]
        for name in [*(name for name in names if name not in self.used), *names]:
            self.used.add(name)
            return name
        return write_number(value) if value in CONSTANTS else None


def _fill(text: str, values: Mapping[str, Fraction]) -> tuple[str, str]:
    """(``text`` with its pointers' values, "") or ("", the reason why not)."""
    for name in _POINTER.findall(text):
        if name not in values:
            return "", f"{name} points to nothing"
    return _POINTER.sub(lambda match: _shown(values[match[0]]), text).strip(), ""


def _shown(value: Fraction) -> str:
    """As part of arithmetic: in parentheses where it would not be one number."""
    text = write_number(value)
    return text if text.replace(".", "").isdigit() else f"({text})"
