"""Checks for papers.toml, whose corpus has plain and least-to-most chains of the same questions: right, and of one kind.

The kind is what the row says of its prompt (``sampling.prompt``). gpt-4 is the one teacher that wrote both kinds for both sets.
"""

from understudy.checks.answer import same_answer
from understudy.core.protocols import Check
from understudy.core.values import Chain, Outcome, Problem, Verdict

TEACHER = "gpt-4"


def right_and(prompt: str, teacher: str = "") -> Check:
    """A check of the answers of the chains that were written for ``prompt`` (by ``teacher``, where one is given). Chains of another
    kind are undecidable, so that no arm takes them as right or counts them as wrong."""

    def check(problem: Problem, chain: Chain) -> Verdict:
        if chain.sampling.get("prompt") != prompt or teacher not in ("", chain.teacher):
            return Verdict(chain.id, Outcome.UNDECIDABLE, f"{chain.teacher}, {chain.sampling.get('prompt')}: of another kind")
        return same_answer(problem, chain)

    return check


UNDERSTUDY = {
    "check": {
        "plain": right_and("few-shot CoT"),
        "plain-one": right_and("few-shot CoT", TEACHER),
        "asked": right_and("few-shot least-to-most", TEACHER),
    }
}
