"""What an answer counts as. n = correct + wrong + undecidable + unparsed + truncated; errors are never among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from understudy.checks.answer import outcome, same
from understudy.core.protocols import Check
from understudy.core.values import Outcome, Problem, Solution
from understudy.core.vote import vote

COUNTED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.UNPARSED, Outcome.TRUNCATED)
"""The outcomes that an evaluation counts; a refused reply is one without an answer."""


def outcome_of(problem: Problem, solution: Solution, by: Check = same) -> Outcome:
    """What one solution counts as, by the check ``by``. A cut-off reply is truncated, whatever is in it."""
    if solution.finish == "length":
        return Outcome.TRUNCATED
    return outcome(problem, solution.answer if solution.finish == "stop" else None, by)


def outcome_of_vote(problem: Problem, solutions: Sequence[Solution], *, weighted: bool, by: Check = same) -> Outcome:
    """What the vote of several solutions of one problem counts as: truncated or unparsed only where nobody could vote."""
    counted = vote(solutions, weighted=weighted)
    if counted.answer is None and any(s.finish == "length" for s in solutions):
        return Outcome.TRUNCATED
    return outcome(problem, counted.answer, by)


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many of each counted outcome; their sum is n."""
    found = Counter(outcomes)
    assert set(found) <= set(COUNTED), f"outcomes that no evaluation has: {set(found) - set(COUNTED)}"
    return {kind.value: found[kind] for kind in COUNTED}
