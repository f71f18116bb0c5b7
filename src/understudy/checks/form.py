"""The check ``form``: there is reasoning, and it does not go round in circles."""

from collections import Counter

from understudy.core.values import Chain, Outcome, Problem, Verdict

GRAM, OFTEN = 8, 4
"""A run of so many words that comes so often is a circle: a chain that lists cases repeats itself, and hardly ever that much."""


def form(_problem: Problem, chain: Chain) -> Verdict:
    """WRONG where there is no rationale, or where it says the same `GRAM` words `OFTEN` times; else CORRECT."""
    words = chain.rationale.split()
    if not words:
        return Verdict(chain.id, Outcome.WRONG, "no rationale")
    grams = Counter(tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))
    if grams and (most := grams.most_common(1)[0])[1] >= OFTEN:
        return Verdict(chain.id, Outcome.WRONG, f"it says {most[1]} times: {' '.join(most[0])}")
    return Verdict(chain.id, Outcome.CORRECT)
