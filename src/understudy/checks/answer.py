"""Whether an answer is right: one function judges the teacher's chains, the checkpoints and the students, so they cannot differ.

outcome(problem, "5")                       # Outcome.CORRECT, by the check "answer"
check(problem, chain, by=my_check)          # a Verdict, by one's own
"""

from __future__ import annotations

from understudy.core.answers import compare
from understudy.core.errors import StudyError
from understudy.core.protocols import Check
from understudy.core.thoughts import only_thought
from understudy.core.values import Chain, Outcome, Problem, Verdict

_SAYS = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE)


def same(problem: Problem, answer: str) -> Outcome:
    """The check ``answer``: whether it is the gold or one of the accepted; SCoTD's reward (exact match), on canonical answers."""
    return compare(answer, _golds(problem), problem.kind, problem.choices)


def outcome(problem: Problem, answer: str | None, by: Check = same) -> Outcome:
    """What ``by`` says of ``answer``; NO_GOLD where the problem has none, UNPARSED where there is no answer: those ask no check.

    Raises StudyError where ``by`` says anything but CORRECT, WRONG or UNDECIDABLE.
    """
    if answer is None:
        return Outcome.UNPARSED
    if problem.answer is None:
        return Outcome.NO_GOLD
    said = by(problem, answer)
    if said not in _SAYS or not isinstance(said, Outcome):
        raise StudyError(
            f"the check {by!r} says {said!r} of the answer {answer!r} to problem {problem.id!r}; it must say "
            "Outcome.CORRECT, WRONG or UNDECIDABLE"
        )
    return said


def check(problem: Problem, chain: Chain, by: Check = same, name: str = "answer") -> Verdict:
    """The verdict on a chain of the check ``by``, registered as ``name``. A cut-off or refused chain is never correct, whatever it
    contains."""
    if chain.finish == "refused":
        found = Outcome.REFUSED
    elif chain.answer is None and only_thought(chain.text):
        found = Outcome.ONLY_THOUGHT
    elif chain.finish == "length":
        found = Outcome.TRUNCATED
    else:
        found = outcome(problem, chain.answer, by)
    stated = f"answer {chain.answer!r} ({chain.layer})" if chain.answer is not None else "no answer"
    return Verdict(chain.id, found, f"{stated}, gold {' or '.join(map(repr, _golds(problem))) or 'unknown'}", name)


def _golds(problem: Problem) -> list[str]:
    return [problem.answer, *problem.accepted] if problem.answer is not None else []
