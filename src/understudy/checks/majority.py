"""The check ``majority``: a chain gives the answer that most chains of its problem give. It needs no gold answer."""

from collections.abc import Sequence

from understudy.checks.judge import AmongOthers
from understudy.core.answers import answer_key
from understudy.core.asks import GREEDY_PATH
from understudy.core.protocols import Check
from understudy.core.values import ABSTAINED, Chain, Outcome, Problem, Verdict
from understudy.core.vote import vote


@AmongOthers
def majority(_problem: Problem, chains: Sequence[Chain]) -> Check:
    """Make the check of one problem: CORRECT for the answer that more chains give than any other (self-consistency, arXiv
    2203.11171), WRONG for others, UNDECIDABLE if two lead equally often or only one chain has an answer."""
    result = vote([chain for chain in chains if chain.path != GREEDY_PATH])
    votes = sorted(result.weights.values(), reverse=True)
    counts = ", ".join(f"{answer!r} {n:g}" for answer, n in result.weights.items())

    def agrees(_problem: Problem, chain: Chain) -> Verdict:
        if chain.answer is None:
            return Verdict(chain.id, Outcome.ABSTAINED if chain.layer == ABSTAINED else Outcome.UNPARSED, "no answer")
        if sum(votes) < 2 or votes[:1] == votes[1:2]:
            return Verdict(chain.id, Outcome.UNDECIDABLE, f"no majority: {counts or 'no votes'}")
        same = answer_key(chain.answer) == answer_key(result.answer or "")
        return Verdict(chain.id, Outcome.CORRECT if same else Outcome.WRONG, f"votes: {counts}")

    return agrees
