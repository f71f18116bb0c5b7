"""A check of one's own that looks at the steps of a chain: every equation that is written in it has to hold.

    Start 4. Mon 4 + 3 = 8. Wed 8 - 2 = 6. So the answer is: 6        wrong: in step 2, 4 + 3 does not come to 8

The answer plays no part: a chain may come to the right answer by a wrong step. A chain without an equation is undecidable.
"""

from __future__ import annotations

from understudy.core.answers.equations import find_equations
from understudy.core.subquestions import split_sentences
from understudy.core.values import Chain, Outcome, Problem, Verdict


def steps_hold(problem: Problem, chain: Chain) -> Verdict:
    """Whether all equations of the chain hold; the detail names the first that does not."""
    steps = [step.text for step in chain.steps] or split_sentences(chain.rationale)
    written = [(place, equation) for place, step in enumerate(steps, 1) for equation in find_equations(step)]
    wrong = next(((place, equation) for place, equation in written if equation.value is None), None)
    if wrong is not None:
        place, equation = wrong
        return Verdict(chain.id, Outcome.WRONG, f"step {place}: {equation.text} does not come to what is written")
    if not written:
        return Verdict(chain.id, Outcome.UNDECIDABLE, "no equation is written")
    return Verdict(chain.id, Outcome.CORRECT, f"all {len(written)} equations hold")


UNDERSTUDY = {"check": {"steps": steps_hold}}
