"""Arithmetic as people write it, evaluated exactly and safely.

    evaluate("(10 - 6) * (4 + 5)")   -> Fraction(36, 1)
    evaluate("16 x $1.50")           -> Fraction(24, 1)
    evaluate("9**9**9")              -> None     (refused: too large)
    evaluate("__import__('os')")     -> None     (not arithmetic)

The grammar has numbers (thousands commas, decimals, mixed fractions, ``%`` as hundredths, a currency sign in front), ``+ - * / ^
**``, ``x`` as times, and parentheses. It has no names, calls or attributes. Length, nesting and the size of every intermediate
number are bounded, so hostile text costs no more than honest text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from understudy.core.answers.spans import skip

MAX_CHARS = 500
MAX_DEPTH = 30
MAX_BITS = 1024
"""The maximum number of bits in a numerator or denominator, about 300 decimal digits."""

LITERAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,10}(?![0-9])(?:\.[0-9]{1,300})?|[0-9]{1,40}(?:\.[0-9]{1,300})?|\.[0-9]{1,300})(?![0-9])"
"""A number without sign. More than 40 digits before the point are not a number."""

_NUMBER = re.compile(rf"(?:[$€£]\s?)?({LITERAL}(?:[eE][+-]?[0-9]{{1,2}}(?![0-9]))?)")
_MIXED = re.compile(r"[ \t]{1,3}([0-9]{1,6})[ \t]?/[ \t]?([0-9]{1,6})(?![0-9.,]?[0-9])")
_BLANKS = re.compile(r"[ \t]*")
_OPERATOR = re.compile(r"\*\*|[-+*/^]|[xX](?=\s{0,2}[$(0-9.])")
_LEVEL = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}
_ATOM = 4


class Expression(NamedTuple):
    """A parsed expression. ``text`` is canonical (single spaces, no needless parentheses). ``numbers`` are the literals from left
    to right. ``value`` is None where it is undefined (division by zero). ``end`` is the end of the expression in the source."""

    text: str
    value: Fraction | None
    numbers: tuple[Fraction, ...]
    level: int
    end: int


class _RefusedError(Exception):
    """Too large or too deep."""


def parse(text: str, start: int = 0) -> Expression | None:
    """Parse the longest expression that begins at ``text[start]`` after blanks; None if there is none or it is too large."""
    try:
        expression = _parse(text[start : start + MAX_CHARS], 0, 0, 1)
    except _RefusedError:
        return None
    return expression._replace(end=start + expression.end) if expression else None


def evaluate(text: str) -> Fraction | None:
    """Return the exact value of ``text``; None if the text as a whole is not an expression, or is undefined or too large."""
    expression = parse(text) if len(text) <= MAX_CHARS else None
    return expression.value if expression and not text[expression.end :].strip() else None


def write_number(value: Fraction) -> str:
    """Write the canonical text of a number: ``7``, ``-0.5``, or ``1/3`` where no decimal of up to 20 places is exact."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**20
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(scaled.numerator)).rjust(21, "0")
    return ("-" if value < 0 else "") + digits[:-20] + "." + digits[-20:].rstrip("0")


def to_fraction(literal: str) -> Fraction:
    """Return the value of one `LITERAL`, which may have an exponent; rounded to 20 places if it has more than 40 decimals."""
    value = Fraction(literal.replace(",", ""))
    return value if len(literal.partition(".")[2]) <= 40 else round(value, 20)


def _parse(text: str, position: int, depth: int, min_level: int) -> Expression | None:
    """Parse the longest expression at ``position`` whose operators outside parentheses have at least the level ``min_level``."""
    left = _parse_operand(text, position, depth)
    while left is not None:
        operator, rest = _read_operator(text, left.end)
        level = _LEVEL.get(operator, 0)
        if level < min_level:
            break
        # "**" associates to the right
        right = _parse(text, rest, _descend(depth), level) if operator == "**" else _parse(text, rest, depth, level + 1)
        if right is None:
            break
        left = _combine(operator, left, right)
    return left


def _parse_operand(text: str, position: int, depth: int) -> Expression | None:
    """Parse a number, an expression in parentheses, or one of them after a sign, with its powers."""
    position = skip(_BLANKS, text, position)
    if text[position : position + 1] not in ("-", "+"):
        return _parse_atom(text, position, depth)
    operand = _parse(text, position + 1, _descend(depth), _LEVEL["**"])
    if operand is None or text[position] == "+":
        return operand
    value = None if operand.value is None else -operand.value
    written = operand.text if operand.level > _LEVEL["*"] else f"({operand.text})"
    return Expression("-" + written, value, operand.numbers, _LEVEL["*"], operand.end)


def _parse_atom(text: str, position: int, depth: int) -> Expression | None:
    if text[position : position + 1] in ("(", "["):
        nested = _parse(text, position + 1, _descend(depth), 1)
        close = skip(_BLANKS, text, nested.end) if nested else 0
        if nested is None or text[close : close + 1] != (")" if text[position] == "(" else "]"):
            return None
        return nested._replace(end=close + 1)
    match = _NUMBER.match(text, position)
    if match is None:
        return None
    value, end = to_fraction(match[1]), match.end()
    mixed = _MIXED.match(text, end)
    if mixed and value.denominator == 1 and 0 < int(mixed[1]) < int(mixed[2]):
        value, end = value + Fraction(int(mixed[1]), int(mixed[2])), mixed.end()
    if text[end : end + 1] == "%":
        value, end = value / 100, end + 1
    written = write_number(value).replace("/", " / ")
    return Expression(written, _bound(value), (value,), _LEVEL["*"] if "/" in written else _ATOM, end)


def _descend(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise _RefusedError
    return depth + 1


def _read_operator(text: str, position: int) -> tuple[str, int]:
    """Return the operator after ``position`` in its canonical spelling, and its end; "" if there is none."""
    match = _OPERATOR.match(text, skip(_BLANKS, text, position))
    if match is None:
        return "", position
    return {"^": "**", "x": "*", "X": "*"}.get(match[0], match[0]), match.end()


def _combine(operator: str, left: Expression, right: Expression) -> Expression:
    level = _LEVEL[operator]
    # equal levels need no parentheses on the side to which the operator associates
    left_text = left.text if left.level > level or (left.level == level and operator != "**") else f"({left.text})"
    is_bare = right.level > level or (right.level == level and operator in ("+", "*", "**"))
    right_text = right.text if is_bare else f"({right.text})"
    value = None if left.value is None or right.value is None else _apply(operator, left.value, right.value)
    return Expression(f"{left_text} {operator} {right_text}", value, left.numbers + right.numbers, level, right.end)


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
    """Return the value, None if it is undefined. Raises _RefusedError if it is too large to be an answer."""
    if operator == "**":
        return _raise(left, right)
    if operator == "/":
        return _bound(left / right) if right else None
    return _bound(left + right if operator == "+" else left - right if operator == "-" else left * right)


def _raise(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or (base == 0 and exponent < 0):
        return None  # roots are not exact
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > MAX_BITS:
        raise _RefusedError
    return base ** int(exponent)


def _bound(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _RefusedError
    return value
