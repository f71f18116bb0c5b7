"""The check ``form``: there is reasoning, and it does not repeat itself."""

from collections import defaultdict

from understudy.core.values import Chain, Outcome, Problem, Verdict

GRAM, OFTEN = 8, 4
"""A repetition is a block of words that comes `OFTEN` times in a row, with its first `GRAM` words equal. With other words in
between, a chain lists cases."""


def form(_problem: Problem, chain: Chain) -> Verdict:
    """Return WRONG if there is no rationale, or if it says the same block of words `OFTEN` times in a row; else CORRECT."""
    if not (words := chain.rationale.split()):
        return Verdict(chain.id, Outcome.WRONG, "no rationale")
    positions: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i in range(len(words) - GRAM + 1):
        starts = positions[tuple(words[i : i + GRAM])]
        if not starts or i - starts[-1] >= GRAM:  # "1 + 1 + 1" is not a repetition
            starts.append(i)
    for starts in positions.values():
        for first, last in zip(starts, starts[OFTEN - 1 :], strict=False):
            size = (last - first) // (OFTEN - 1)
            if words[first:last] == words[first + size : last + size]:
                return Verdict(chain.id, Outcome.WRONG, f"it says {OFTEN} times or more: {' '.join(words[first : first + size])}")
    return Verdict(chain.id, Outcome.CORRECT)
