"""Expressions as answers: ``(10 - 6) * (4 + 2) = 24`` -> ``(10 - 6) * (4 + 2)``, the side that says how; see `arithmetic`.

A gold is the target value, ``24``, or the target with the numbers to use, each exactly once: ``24 from 4 5 6 10``. It may also
have letters, ``2x + 3``, or be an inequality, ``x > 3``. Expressions with letters are equal if their values are equal with a fixed
fraction in place of each letter: ``(x + 1)(x - 1)`` is ``x^2 - 1``, and ``x > 3`` is ``3 < x``.
"""

import re
from collections import Counter
from fractions import Fraction

from understudy.core.answers.arithmetic import Expression, evaluate, parse, write_number
from understudy.core.answers.markup import simplify
from understudy.core.answers.number import ALGEBRA
from understudy.core.answers.spans import AMBIGUOUS, NOTHING, SPAN, Reading, find_sentence_end

_BEGIN = re.compile(r"(?<![A-Za-z0-9_.)\]])[-+]?[(\[]{0,20}[-+$€£]{0,2}\.?[0-9]")
_LETTER = re.compile("[A-Za-z]")
_WORD = re.compile("[A-Za-z]{3}|ln|lg|pi")
_FACTORS = re.compile(r"(?<=[0-9)]) ?(?=\()")
_SIGN = re.compile("([<>≤≥])")
_TURNED = str.maketrans("<>≤≥", "><≥≤")
_NAMED = re.compile("^[A-Za-z] ?= ?")
"""y = 2x + 3"""
_GOLD = re.compile(r"(?P<value>[^A-Za-z]{1,80})\sfrom\s(?P<numbers>[0-9.,/ ]{1,200})")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?")


def read(span: str, *, strict: bool = False) -> Reading:
    """Read the expression in ``span``, or the side of an equation with more numbers. With ``strict`` the span has nothing else."""
    span = simplify(span)[:SPAN]
    gold = _GOLD.fullmatch(span.strip())
    if gold and (value := evaluate(gold["value"])) is not None:
        return Reading(f"{write_number(value)} from {' '.join(write_number(number) for number in _read_numbers(gold['numbers']))}")
    line = span.lstrip().partition("\n")[0]
    text = _NAMED.sub("", line[: find_sentence_end(line, 0, len(line))].strip(" .:=$*_`"))
    if _LETTER.search(text) and text.replace(" ", "").lower() != "n/a" and evaluate(text) is None and _find_values(text):
        return Reading(" ".join(text.split()))
    if ALGEBRA.search(line):
        return NOTHING if strict else AMBIGUOUS
    opening = _BEGIN.search(line)
    if opening is None or (strict and line[: opening.start()].strip()):
        return NOTHING
    sides, end = find_sides(line, opening.start())
    if not sides or (strict and line[end:].strip(" .!")):
        return NOTHING
    return Reading(max(sides, key=lambda side: len(side.numbers)).text)


def read_last(sentence: str) -> Reading:
    """Read the expression that a sentence states, if it is more than a bare number."""
    expression = read(sentence)
    return expression if expression.value and len(numbers_used(expression.value)) > 1 else NOTHING


def numbers_used(value: str) -> list[str]:
    """Return the canonical numbers in the expression ``value`` from left to right, with repetitions; [] if it is not one."""
    expression = parse(value)
    return [write_number(number) for number in expression.numbers] if expression else []


def is_equal(value: str, gold: str) -> bool | None:
    """Return whether ``value`` has the gold's value and, if the gold names them, its numbers; None if they cannot be compared."""
    match = _GOLD.fullmatch(gold)
    values, target = _find_values(value), _find_values(match["value"] if match else gold)
    if values is None or target is None:
        return None
    used = Counter(_read_numbers(" ".join(numbers_used(value))))
    return values == target and (match is None or used == Counter(_read_numbers(match["numbers"])))


def _find_values(text: str) -> list[Fraction | str | None] | None:
    """Return the value of an expression, or the values of the sides of an inequality and the signs between them, turned so that
    the first is "<" or "≤"; None if a side has no value."""
    parts = _SIGN.split(text.replace("<=", "≤").replace(">=", "≥"))
    if parts[1:] and parts[1] in ">≥":
        parts = [part.translate(_TURNED) for part in parts[::-1]]
    values = [_evaluate(part) for part in parts[::2]]
    return None if None in values else [*values, *parts[1::2]]


def _evaluate(text: str) -> Fraction | None:
    """Return the value of ``text``, with a different fraction in place of each letter. A polynomial is 0 at such a fraction only
    if its coefficients are larger than people write."""
    if (value := evaluate(text)) is not None or _WORD.search(text):
        return value
    text = _LETTER.sub(lambda letter: f"({10007 + ord(letter[0]) ** 2}/{1009 + ord(letter[0])})", text)
    return evaluate(_FACTORS.sub("*", text))


def _read_numbers(text: str) -> list[Fraction]:
    return [Fraction(number) for number in _NUMBERS.findall(text) if not re.search(r"/0+$", number)]


def find_sides(line: str, start: int) -> tuple[list[Expression], int]:
    """Return the sides of the equation that begins at ``start``, and its end. A lone expression is one side."""
    sides: list[Expression] = []
    end = start
    while len(sides) < 10 and (side := parse(line, start)):
        sides.append(side)
        end = side.end
        if (equals := re.compile(r"\s{0,4}=").match(line, end)) is None:
            break
        start = equals.end()
    return sides, end
