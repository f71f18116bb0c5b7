"""Asks a check for its verdict. The teacher's chains, the checkpoints and the students' answers are all judged here.

judge(problem, chain, same_answer, "answer")       # Verdict(chain.id, Outcome.CORRECT, "answer '5' (marker), gold '5'", "answer")
even = by_answer(lambda problem, answer: Outcome.CORRECT if answer[-1] in "02468" else Outcome.WRONG)       # a check
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from understudy.core.errors import StudyError
from understudy.core.protocols import Check
from understudy.core.thoughts import is_only_thought
from understudy.core.values import ABSTAINED, Chain, Outcome, Problem, Verdict

_ALLOWED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.UNPARSED, Outcome.ABSTAINED)


def judge(problem: Problem, chain: Chain, check: Check, name: str = "") -> Verdict:
    """Return the verdict of ``check``, registered as ``name``, on ``chain``.

    A chain that was refused, cut off, or holds only a thought is never correct: the check is not asked. Raises StudyError if the
    check returns anything but a Verdict whose outcome is CORRECT, WRONG, UNDECIDABLE, UNPARSED or ABSTAINED (or NO_GOLD, for a
    problem without a gold answer).
    """
    if chain.finish == "refused":
        return Verdict(chain.id, Outcome.REFUSED, _describe_answer(problem, chain), name)
    if chain.answer is None and is_only_thought(chain.text):
        return Verdict(chain.id, Outcome.ONLY_THOUGHT, _describe_answer(problem, chain), name)
    if chain.finish == "length":
        return Verdict(chain.id, Outcome.TRUNCATED, _describe_answer(problem, chain), name)
    verdict = check(problem, chain)
    if not isinstance(verdict, Verdict):
        raise StudyError(
            f"check {name or check!r}: it returned {verdict!r} for problem {problem.id!r}; a check takes (problem, chain) and "
            "returns a Verdict; understudy.checks.judge.by_answer makes one from a function (problem, answer) -> Outcome"
        )
    may_say = _ALLOWED if problem.answer is not None else (*_ALLOWED, Outcome.NO_GOLD)
    if verdict.outcome not in may_say or not isinstance(verdict.outcome, Outcome):
        names = ", ".join(f"Outcome.{outcome.name}" for outcome in may_say)
        reason = f"its verdict on problem {problem.id!r} is {verdict.outcome!r}"
        raise StudyError(f"check {name or check!r}: {reason}; it must be one of {names}")
    return replace(verdict, chain=chain.id, check=name)


@dataclass(frozen=True)
class AmongOthers:
    """A check that compares a chain with the other chains of its problem. ``prepare`` takes the problem with all its chains and
    returns the check for each of them. Called as an ordinary check, it sees only one chain."""

    prepare: Callable[[Problem, Sequence[Chain]], Check]

    def __call__(self, problem: Problem, chain: Chain) -> Verdict:
        return self.prepare(problem, [chain])(problem, chain)


def judge_all(problem: Problem, chains: Sequence[Chain], check: Check, name: str = "") -> list[Verdict]:
    """Return the verdicts of ``check`` on all ``chains`` of ``problem``; see `judge`."""
    prepared = check.prepare(problem, chains) if isinstance(check, AmongOthers) else check
    return [judge(problem, chain, prepared, name) for chain in chains]


def by_answer(compare: Callable[[Problem, str], Outcome]) -> Check:
    """Make a check that looks only at the answer, in canonical form.

    ``compare`` says CORRECT, WRONG or UNDECIDABLE. It is not called if the chain has no answer (UNPARSED), says that there is none
    (ABSTAINED), or the problem has no gold answer (NO_GOLD).
    """

    @functools.wraps(compare)
    def check(problem: Problem, chain: Chain) -> Verdict:
        if chain.answer is None:
            outcome = Outcome.ABSTAINED if chain.layer == ABSTAINED else Outcome.UNPARSED
        elif problem.answer is None:
            outcome = Outcome.NO_GOLD
        else:
            outcome = compare(problem, chain.answer)
        return Verdict(chain.id, outcome, _describe_answer(problem, chain))

    return check


def _describe_answer(problem: Problem, chain: Chain) -> str:
    """Describe the answer that was read from the chain, and the gold answer."""
    stated = f"answer {chain.answer!r} ({chain.layer})" if chain.answer is not None else "no answer"
    return f"{stated}, gold {' or '.join(map(repr, problem.golds)) or 'unknown'}"
