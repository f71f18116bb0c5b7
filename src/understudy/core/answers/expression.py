"""Expressions as answers: ``(10 - 6) * (4 + 2) = 24`` -> ``(10 - 6) * (4 + 2)``, the side that says how; see `arithmetic`.

A gold is the target value, ``24``, or the target with the numbers to use, each exactly once: ``24 from 4 5 6 10``.
"""

import re
from collections import Counter
from fractions import Fraction

from understudy.core.answers.arithmetic import Expression, evaluate, parse, write_number
from understudy.core.answers.markup import plain
from understudy.core.answers.spans import NOTHING, SPAN, Reading

_BEGIN = re.compile(r"(?<![A-Za-z0-9_.)\]])[-+]?[(\[]{0,20}[-+$€£]{0,2}\.?[0-9]")
_GOLD = re.compile(r"(?P<value>[^A-Za-z]{1,80})\sfrom\s(?P<numbers>[0-9.,/ ]{1,200})")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?")


def read(span: str, *, strict: bool = False) -> Reading:
    """The expression in ``span``, or the side of an equation with more numbers. With ``strict`` the span has nothing else."""
    span = plain(span)[:SPAN]
    gold = _GOLD.fullmatch(span.strip())
    if gold and (value := evaluate(gold["value"])) is not None:
        return Reading(f"{write_number(value)} from {' '.join(write_number(number) for number in _read_numbers(gold['numbers']))}")
    line = span.lstrip().partition("\n")[0]
    begin = _BEGIN.search(line)
    if begin is None or (strict and line[: begin.start()].strip()):
        return NOTHING
    sides, end = sides_of(line, begin.start())
    if not sides or (strict and line[end:].strip(" .!")):
        return NOTHING
    return Reading(max(sides, key=lambda side: len(side.numbers)).text)


def read_last(sentence: str) -> Reading:
    """The expression that a sentence states, if it is more than a bare number."""
    expression = read(sentence)
    return expression if expression.value and len(numbers_used(expression.value)) > 1 else NOTHING


def numbers_used(value: str) -> list[str]:
    """The canonical numbers in the expression ``value`` from left to right, with repetitions; [] where it is not an expression."""
    expression = parse(value)
    return [write_number(number) for number in expression.numbers] if expression else []


def agrees(value: str, gold: str) -> bool | None:
    """Whether ``value`` has the gold's value and uses the gold's numbers, if the gold names them; None where they cannot be
    compared."""
    match = _GOLD.fullmatch(gold)
    target = evaluate(match["value"] if match else gold)
    expression = parse(value)
    if target is None or expression is None or value[expression.end :].strip():
        return None
    uses_its_numbers = match is None or Counter(expression.numbers) == Counter(_read_numbers(match["numbers"]))
    return expression.value == target and uses_its_numbers


def _read_numbers(text: str) -> list[Fraction]:
    return [Fraction(number) for number in _NUMBERS.findall(text) if not re.search(r"/0+$", number)]


def sides_of(line: str, begin: int) -> tuple[list[Expression], int]:
    """The sides of the equation that begins at ``begin``, and its end. A lone expression is one side."""
    sides: list[Expression] = []
    end = begin
    while len(sides) < 10 and (side := parse(line, begin)):
        sides.append(side)
        end = side.end
        equals = re.compile(r"\s{0,4}=").match(line, end)
        if equals is None:
            break
        begin = equals.end()
    return sides, end
