"""The equations in reasoning: their calculations, their values, and the first equation that does not hold.

    find_equations("Ana has 4 + 3 = 7 coins. 7 x 2 = 15.")     4 + 3, holds; 7 * 2, does not hold
    find_first_wrong(["4 + 3 = 7.", "7 x 2 = 15."])            1

GSM8K's marks (``<<4+3=7>>``, Cobbe et al. 2021, arXiv 2110.14168) belong to the calculator and are not steps.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from understudy.core.answers.arithmetic import LITERAL, Expression
from understudy.core.answers.expression import sides_of
from understudy.core.answers.markup import plain
from understudy.core.answers.spans import fold

_UNITS = re.compile(rf"(?<![A-Za-z0-9_])((?:{LITERAL})%?)(?:[ -][A-Za-z]{{2,15}}){{1,3}}(?=\s?(?:[-+*/=)]|[xX]\s))")
_BEGIN = re.compile(r"(?<![A-Za-z0-9_.)\]])(?<![-+*/^])(?<![-+*/^] )[(\[]{0,20}[-+$€£]{0,2}\.?[0-9]")
_MARK = re.compile(r"<<[^<>\n]{0,200}>>")
_OPERATORS = re.compile(r"\*\*|[-+*/]")


@dataclass(frozen=True)
class Equation:
    """``calculated`` is the side with arithmetic. ``value`` is its value, None where the equation does not hold."""

    calculated: Expression
    value: Fraction | None

    @property
    def text(self) -> str:
        """The canonical text of the calculated side: ``4 + 3``."""
        return self.calculated.text

    @property
    def operators(self) -> tuple[str, ...]:
        return tuple(_OPERATORS.findall(re.sub(r"(?<![0-9)]) ?-(?=[0-9(])", "", self.text)))


def find_equations(rationale: str) -> Iterator[Equation]:
    """Every equation of ``rationale`` in order."""
    for written in fold(rationale).split("\n"):
        line, at = _UNITS.sub(r"\1", plain(written)), 0
        while begin := _BEGIN.search(line, at):
            sides, end = sides_of(line, begin.start())
            at = max(end, begin.end())
            calculated = [side for side in sides if len(side.numbers) > 1]
            if calculated and len(sides) > 1:
                holds = len({side.value for side in sides}) == 1
                yield Equation(calculated[0], calculated[0].value if holds else None)


def find_first_wrong(steps: Sequence[str]) -> int | None:
    """The place of the first of ``steps`` with an equation that does not hold, None where all equations hold."""
    return next((i for i, step in enumerate(steps) if any(e.value is None for e in find_equations(_MARK.sub("", step)))), None)
