"""The vote over sampled solutions: self-consistency (Wang et al. 2022, arXiv 2203.11171), plain and likelihood-weighted.

vote([7, 7, 8, cut off])                 -> 7, share 2/4
vote([7 (-0.9), 8 (-0.1), 8 (-2.0)], weighted=True)   each counts exp(mean log-probability per token)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from understudy.core.answers import answer_key
from understudy.core.values import Chain, Solution

V = TypeVar("V", Solution, Chain)


class Vote(NamedTuple, Generic[V]):
    """The result of a vote. ``winner`` is the first that gives the winning ``answer``; both are None if nobody could vote.
    ``share`` is its share of the weights, times the share of the solutions that could vote: how far they all agree.

    ``weights``: answer -> its weight (the number of votes in a plain vote), in the order in which answers first came.
    """

    winner: V | None
    answer: str | None
    share: float
    weights: Mapping[str, float]


def vote(solutions: Sequence[V], *, weighted: bool = False) -> Vote[V]:
    """Return the answer that most of ``solutions`` (or chains) to one problem give.

    Equal texts in other forms ("the Nile", "Nile") are one answer, in the form that came first. Solutions that have no answer or
    were cut off do not vote. A tie goes to the answer that came first (on the lowest path), so the result depends on nothing else.
    ``weighted``: a vote counts exp(mean log-probability per token), the normalised weight of Wang et al., table 1; raises
    ValueError if a voting solution has none.
    """
    weights: dict[str, float] = {}
    first: dict[str, V] = {}
    voters = [solution for solution in solutions if solution.answer is not None and solution.finish == "stop"]
    for solution in voters:
        answer = first.setdefault(answer_key(solution.answer or ""), solution).answer or ""
        weights[answer] = weights.get(answer, 0.0) + (_weight(solution) if weighted else 1.0)
    if not weights:
        return Vote(None, None, 0.0, {})
    answer = max(weights, key=lambda a: weights[a])  # among equal weights the first wins, because dicts keep the order
    total = sum(weights.values())
    share = round(weights[answer] / total * len(voters) / len(solutions), 9) if total else 0.0  # 3 of 4 is no less than 0.75
    return Vote(first[answer_key(answer)], answer, share, weights)


def _weight(solution: Solution | Chain) -> float:
    if solution.logprob is None:
        raise ValueError(f"problem {solution.problem!r}, path {solution.path}: a weighted vote needs log-probabilities")
    return math.exp(solution.logprob)
