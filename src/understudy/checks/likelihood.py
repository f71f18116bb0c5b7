"""The check ``likelihood``: a chain is not among the least likely of its problem, by its teacher's own log-probabilities."""

from collections.abc import Sequence

from understudy.checks.judge import AmongOthers
from understudy.core.asks import GREEDY_PATH
from understudy.core.protocols import Check
from understudy.core.values import Chain, Outcome, Problem, Verdict

LEAST = 4
"""The least likely one of this many chains is wrong: a quarter of them. Problems with fewer chains are undecidable."""


@AmongOthers
def likelihood(_problem: Problem, chains: Sequence[Chain]) -> Check:
    """Make the check of one problem: WRONG for the quarter of the chains with the lowest mean log-probability per token, CORRECT
    for the others, UNDECIDABLE if it is unknown, or known for fewer than `LEAST` chains. The sampled ones judge a greedy chain."""
    logprobs = sorted(chain.logprob for chain in chains if chain.logprob is not None and chain.path != GREEDY_PATH)

    def likely(_problem: Problem, chain: Chain) -> Verdict:
        if chain.logprob is None or len(logprobs) < LEAST:
            reason = "no log-probability" if chain.logprob is None else f"{len(logprobs)} chains have a log-probability"
            return Verdict(chain.id, Outcome.UNDECIDABLE, reason)
        limit = logprobs[len(logprobs) // LEAST]
        outcome = Outcome.WRONG if chain.logprob < limit else Outcome.CORRECT
        return Verdict(chain.id, outcome, f"mean log-probability {chain.logprob:.3f}, three quarters have at least {limit:.3f}")

    return likely
