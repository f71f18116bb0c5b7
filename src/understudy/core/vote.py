"""The vote over sampled solutions: self-consistency (Wang et al. 2022, arXiv 2203.11171), plain and likelihood-weighted.

vote([7, 7, 8, cut off])                 -> 7, share 2/3
vote([7 (-0.9), 8 (-0.1), 8 (-2.0)], weighted=True)   each counts exp(mean log-probability per token)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.core.answers import answer_key
from understudy.core.values import Chain, Solution


@dataclass(frozen=True)
class Vote:
    """``answer`` is the winner, None where no solution could vote. ``share`` is its share of the weights.

    ``weights``: answer -> its weight (the number of votes in a plain vote), in the order in which answers first came.
    """

    answer: str | None
    share: float
    weights: Mapping[str, float]


def vote(solutions: Sequence[Solution] | Sequence[Chain], *, weighted: bool = False) -> Vote:
    """The answer that most of ``solutions`` (or chains) to one problem give.

    Equal texts in other forms ("the Nile", "Nile") are one answer, in the form that came first. Solutions that have no answer or
    were cut off do not vote. A tie goes to the answer that came first (on the lowest path), so the result depends on nothing else.
    ``weighted``: a vote counts exp(mean log-probability per token), the normalised weight of
    Wang et al., table 1; raises ValueError where a voting solution has none.
    """
    weights: dict[str, float] = {}
    forms: dict[str, str] = {}
    for solution in solutions:
        if solution.answer is not None and solution.finish == "stop":
            answer = forms.setdefault(answer_key(solution.answer), solution.answer)
            weights[answer] = weights.get(answer, 0.0) + (_weight(solution) if weighted else 1.0)
    if not weights:
        return Vote(None, 0.0, {})
    answer = max(weights, key=lambda a: weights[a])  # of equal weights the first wins, because dicts keep the order
    total = sum(weights.values())
    return Vote(answer, weights[answer] / total if total else 0.0, weights)


def agreement(solutions: Sequence[Solution], *, weighted: bool = False) -> float:
    """The share that the winner has of all ``solutions``, also of those that could not vote."""
    voters = sum(s.answer is not None and s.finish == "stop" for s in solutions)
    return vote(solutions, weighted=weighted).share * voters / len(solutions)


def _weight(solution: Solution | Chain) -> float:
    if solution.logprob is None:
        raise ValueError(f"problem {solution.problem!r}, path {solution.path}: a weighted vote needs log-probabilities")
    return math.exp(solution.logprob)
