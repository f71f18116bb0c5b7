"""The check ``arithmetic``: every calculation that a chain writes down has the result that it states."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from understudy.core.answers.equations import find_equations
from understudy.core.answers.spans import to_point
from understudy.core.errors import counted
from understudy.core.subquestions import list_steps, split_sentences
from understudy.core.values import Chain, Outcome, Problem, Verdict

_MARK = re.compile(r"<<([^<>\n]{1,200})>>")
_WORDS = {"plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/"}
_FINISHED = r"[-+*/x×÷] ?[$(]?[0-9.,]{1,15}%?\)? ?= ?[$]?[0-9.,]{1,15}"
"""A finished calculation, whose result is not calculated with: "60 / 4 = 15 times $5"."""
_SIGN_WORD = re.compile(rf"(?:{_FINISHED}|(?<=[0-9)])) (?:{'|'.join(_WORDS)}) (?=[($]?[0-9])")
_RESULT_WORD = re.compile(r"((?:(?<=\s)-|[+*/×÷]|% of [$€£]?) ?[0-9][0-9.,]*) (?:is|are|leaves|equals|makes|gives) (?=[$]?[0-9])")
"""After a calculation these words state its result; elsewhere they do not ("there are 5", "5 makes 5/5")."""


class Calculation(NamedTuple):
    """A calculation in ``step`` of a chain (its ``number`` from 1), and whether it ``holds``."""

    number: int
    step: str
    holds: bool


def arithmetic(problem: Problem, chain: Chain) -> Verdict:
    """Return WRONG with the first step whose calculation does not hold, CORRECT if all hold, UNDECIDABLE if none is written.

    It cannot see a calculation that is not written down, or one from the wrong numbers.
    """
    calculations = list(find_calculations(problem, chain))
    if wrong := next((calculation for calculation in calculations if not calculation.holds), None):
        return Verdict(chain.id, Outcome.WRONG, f"step {wrong.number} does not hold: {wrong.step.strip()[:200]}")
    if not calculations:
        return Verdict(chain.id, Outcome.UNDECIDABLE, "no calculation is written down")
    return Verdict(chain.id, Outcome.CORRECT, f"{counted(len(calculations), 'calculation')} hold{'s' * (len(calculations) == 1)}")


def find_calculations(problem: Problem, chain: Chain) -> Iterator[Calculation]:
    """Yield every calculation that the steps of ``chain`` write down: equations ("4 + 3 = 7", sides of several), GSM8K's marks
    ("<<4+3=7>>") and those in words ("4 plus 3 is 7")."""
    steps = [step.text for step in list_steps(chain)] or split_sentences(chain.rationale)
    for number, step in enumerate(steps, 1):
        pointed = to_point(step, problem.form)
        for text in [_replace_words(_MARK.sub("", pointed)), *_MARK.findall(pointed)]:
            for equation in find_equations(text):
                yield Calculation(number, step, equation.value is not None)


def _replace_words(step: str) -> str:
    signs = _SIGN_WORD.sub(lambda match: f" {_WORDS[word]} " if (word := match[0].strip()) in _WORDS else match[0], step)
    return _RESULT_WORD.sub(r"\1 = ", signs)
