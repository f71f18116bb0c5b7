"""What an answer counts as. n = correct + wrong + undecidable + unparsed + truncated; errors are never among them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.protocols import Check
from understudy.core.values import Outcome, Problem, Solution
from understudy.core.vote import vote

COUNTED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.UNPARSED, Outcome.TRUNCATED)
"""The outcomes that an evaluation counts; a reply that was refused, or only thought, is one without an answer."""


def outcome_of(problem: Problem, solution: Solution, check: Check = same_answer) -> Outcome:
    """What one solution counts as, by ``check``. A cut-off reply is truncated, whatever is in it."""
    if solution.finish == "length":
        return Outcome.TRUNCATED
    outcome = judge(problem, solution.as_chain(), check).outcome
    return Outcome.UNPARSED if outcome in (Outcome.REFUSED, Outcome.ONLY_THOUGHT) else outcome


def elect(solutions: Sequence[Solution], *, weighted: bool) -> Solution | None:
    """The solution that stands for the vote: the first voter with the answer that won. None where nobody could vote."""
    answer = vote(solutions, weighted=weighted).answer
    return next((s for s in solutions if answer is not None and s.answer == answer and s.finish == "stop"), None)


def outcome_of_answer(problem: Problem, solutions: Sequence[Solution], *, weighted: bool, check: Check = same_answer) -> Outcome:
    """What an arm's answer to ``problem`` counts as: its one solution, or the vote of several, which is truncated or unparsed only
    where nobody could vote."""
    counted = solutions[0] if len(solutions) == 1 else elect(solutions, weighted=weighted)
    if counted is not None:
        return outcome_of(problem, counted, check)
    return Outcome.TRUNCATED if any(s.finish == "length" for s in solutions) else Outcome.UNPARSED


def count_outcomes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many of each counted outcome; their sum is n."""
    tally = Counter(outcomes)
    return {outcome.value: tally[outcome] for outcome in COUNTED}
