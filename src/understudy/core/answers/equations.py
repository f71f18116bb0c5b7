"""The equations in reasoning: their calculations and values, and whether they hold.

find_equations("Ana has 4 + 3 = 7 coins. 7 x 2 = 15.")     4 + 3, holds; 7 * 2, does not hold
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from understudy.core.answers.arithmetic import LITERAL, Expression
from understudy.core.answers.expression import find_sides
from understudy.core.answers.markup import simplify
from understudy.core.answers.spans import SPAN, fold

_UNITS = re.compile(rf"(?<![A-Za-z0-9_])((?:{LITERAL})%?)(?:[ -][A-Za-z]{{2,15}}){{1,3}}(?=\s?(?:[-+*/=)]|[xX]\s))")
_OF = re.compile(rf"((?:{LITERAL})%|[0-9]{{1,6}}/[0-9]{{1,6}}) of (?=[$€£]?[0-9])")
_VARIABLE = re.compile(r"(?:[xyzn]|(?![BCFGKLM])[A-Z])(?![A-Za-z])|\s?[-+*/]\s?\(?[A-Za-z](?![A-Za-z])|\s[+*]\s\(?[A-Za-z]")
_REMAINDER = re.compile(r"\b(?:remain|left\b|R [0-9])")
_LABEL = re.compile(r"\b(?!So |Thus |Then |Hence |Therefore )[A-Z][a-z]+ $")
_BEGIN = re.compile(r"(?<![A-Za-z0-9_.,)\]$€£+*/^-])(?<![0-9]:)(?:(?<![-+*/^] )|(?<=^[-+*] ))[(\[]{0,20}[-+$€£]{0,2}\.?[0-9]")
_SENTENCE = re.compile(r"(?<=[.!?;]) ")
_OPERATORS = re.compile(r"\*\*|[-+*/]")


class Equation(NamedTuple):
    """An equation. ``text`` is the canonical text of the side with arithmetic, ``4 + 3``. ``value`` is its value, None if the
    equation does not hold."""

    text: str
    value: Fraction | None

    @property
    def operators(self) -> tuple[str, ...]:
        return tuple(_OPERATORS.findall(re.sub(r"(?<![0-9)]) ?-(?=[0-9(])", "", self.text)))


def find_equations(rationale: str) -> Iterator[Equation]:
    """Find every equation of ``rationale`` in order. A side may be rounded ("2 / 3 = 0.67"), or leave a remainder that the text
    names. Sides with variables are not part of an equation, nor is a thing counted before the first "=" ("5 baskets = 5 * 20")."""
    lines = fold(rationale).split("\n")
    for sentence in (part for line in lines for part in (_SENTENCE.split(line) if len(line) > 3 * SPAN else [line])):
        line, position = _UNITS.sub(_drop_unit, _OF.sub(r"\1 * ", simplify(sentence.strip()))), 0
        while opening := _BEGIN.search(line, position):
            sides, end = find_sides(line, opening.start())
            position = max(end, opening.end())
            if _VARIABLE.match(line, end):
                sides = sides[:-1]
            if len(sides) > 1 and any(len(side.numbers) > 1 for side in sides):
                floor, readings = bool(_REMAINDER.search(sentence)), [sides]
                if "%" in line[opening.start() : end]:  # "100 - 50 = 50%" is about percent
                    readings.append(find_sides(line.replace("%", " "), opening.start())[0][: len(sides)])
                labelled = _LABEL.search(line, 0, opening.start())  # "Day 1 = 100 + 20 = 120"
                if labelled and len(sides[0].numbers) == 1 < len(sides) - 1:
                    readings.append(sides[1:])
                holding = next((reading for reading in readings if _are_equal(reading, floor=floor)), None)
                calculated = next(side for side in holding or sides if len(side.numbers) > 1)
                yield Equation(calculated.text, calculated.value if holding else None)


def _are_equal(sides: Sequence[Expression], *, floor: bool) -> bool:
    """Return whether all ``sides`` equal the value of the first calculation among them."""
    value = next((side.value for side in sides if len(side.numbers) > 1), None)
    return all(_equals(side, value, floor=floor) for side in sides)


def _drop_unit(match: re.Match[str]) -> str:
    prefix, suffix = match.string[max(0, match.start() - 2) : match.start()], match.string[match.end() : match.end() + 2]
    is_thing = suffix.lstrip().startswith("=") and prefix.strip()[-1:] not in ("+", "-", "*", "/", "x", "(", "=")
    return match[0] if is_thing else match[1]


def _equals(side: Expression, value: Fraction | None, *, floor: bool) -> bool:
    """Return whether ``side`` equals ``value``. A side of one number may be rounded or cut at its last decimal (the ninth at the
    latest: floating point), or be the whole part."""
    if side.value is None or value is None or side.value == value or len(side.numbers) > 1:
        return side.value is not None and side.value == value
    integer, _, decimals = side.text.partition(".")
    if not (decimals and integer):
        return floor and side.value == value // 1
    unit, difference = Fraction(1, 10 ** min(9, len(decimals))), abs(side.value - value)
    return 2 * difference <= unit or (difference < unit and abs(side.value) < abs(value))
