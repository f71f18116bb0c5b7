"""Numbers of one arm: votes for every k from one sample set, perplexity and correctness, what chance and a constant answer get."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

from understudy.checks.answer import outcome, same
from understudy.core.protocols import Check
from understudy.core.values import Outcome, Problem, Solution
from understudy.evaluation.outcomes import outcome_of, outcome_of_vote

SUBSETS = 70
"""So many subsets of k samples are voted on at most; all of them where there are no more (k of 8 samples: exact)."""


BINS, LEAST = 10, 20
"""Bins of perplexity, and so many replies in each at least: fewer bins where there are few replies."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k samples drawn from n is correct, unbiased (Chen et al. 2021, arXiv 2107.03374)."""
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def votes_by_k(
    problems: Mapping[str, Problem],
    solutions: Mapping[str, Sequence[Solution]],
    *,
    weighted: bool,
    seed: int,
    by: Check = same,
) -> list[float]:
    """Accuracy of the vote (maj@k) for every k from 1 to the number of samples, over all subsets of k samples, or `SUBSETS`
    seeded ones where there are more. ``solutions``: problem id -> its samples, equally many each."""
    size = _samples(solutions)
    means = []
    for k in range(1, size + 1):
        right = [_vote_rate(problems[name], samples, k, weighted, seed, by) for name, samples in solutions.items()]
        means.append(fmean(right))
    return means


def any_correct_by_k(
    problems: Mapping[str, Problem], solutions: Mapping[str, Sequence[Solution]], *, by: Check = same
) -> list[float]:
    """pass@k for every k from 1 to the number of samples."""
    size = _samples(solutions)
    correct = {name: sum(outcome_of(problems[name], s, by) is Outcome.CORRECT for s in found) for name, found in solutions.items()}
    return [fmean(pass_at_k(size, c, k) for c in correct.values()) for k in range(1, size + 1)]


def likeliest_by_k(
    problems: Mapping[str, Problem], solutions: Mapping[str, Sequence[Solution]], *, by: Check = same
) -> list[float]:
    """Accuracy of the one sample of k with the highest mean log-probability, for every k from 1 to the number of samples, over all
    subsets of k samples ("best-sampled": simple_main.py of SCoTD's code). Every sample needs its log-probability; of equally
    likely ones the first counts."""
    size = _samples(solutions)
    ranked = {name: sorted(samples, key=lambda s: -_logprob(s)) for name, samples in solutions.items()}
    right = [fmean(outcome_of(problems[n], s[rank], by) is Outcome.CORRECT for n, s in ranked.items()) for rank in range(size)]
    # The sample of this rank is the likeliest of a subset whose others are all of later ranks.
    return [
        sum(share * math.comb(size - 1 - rank, k - 1) for rank, share in enumerate(right)) / math.comb(size, k)
        for k in range(1, size + 1)
    ]


def _logprob(solution: Solution) -> float:
    assert solution.logprob is not None, f"problem {solution.problem!r}, path {solution.path}: no log-probability"
    return solution.logprob


@dataclass(frozen=True)
class Bin:
    """Replies of neighbouring perplexity, from ``least`` to ``most``: ``correct`` of ``n``."""

    least: float
    most: float
    n: int
    correct: int
    accuracy: float


def by_perplexity(replies: Iterable[tuple[float, bool]]) -> list[Bin]:
    """``replies``, (mean log-probability per token, correct or not), in at most `BINS` bins of equally many, from the least
    perplexed to the most; perplexity is exp(-mean log-probability) (models/stats_collector.py of SCoTD's code)."""
    # Beyond 700 a recorded number is no mean per token, and its exponential no number.
    ordered = sorted(((math.exp(min(-logprob, 700)), correct) for logprob, correct in replies), key=lambda reply: reply[0])
    bins = min(BINS, len(ordered) // LEAST)
    parts = [ordered[low:high] for low, high in pairwise(round(i * len(ordered) / bins) for i in range(bins + 1))] if bins else []
    return [Bin(p[0][0], p[-1][0], len(p), sum(c for _, c in p), fmean(c for _, c in p)) for p in parts]


def _samples(solutions: Mapping[str, Sequence[Solution]]) -> int:
    sizes = {len(samples) for samples in solutions.values()}
    assert len(sizes) == 1, f"problems have unequal numbers of samples: {sorted(sizes)}"
    return sizes.pop()


def _vote_rate(  # noqa: PLR0917
    problem: Problem, samples: Sequence[Solution], k: int, weighted: bool, seed: int, by: Check
) -> float:
    subsets: Sequence[Sequence[Solution]]
    if math.comb(len(samples), k) <= SUBSETS:
        subsets = list(combinations(samples, k))
    else:
        rng = random.Random(f"maj@k\x1f{seed}\x1f{problem.id}\x1f{k}")
        subsets = [[samples[i] for i in sorted(rng.sample(range(len(samples)), k))] for _ in range(SUBSETS)]
    # Few distinct (answer, finish) patterns: a plain vote is the same for equal ones, so each is counted once.
    if weighted:
        return fmean(outcome_of_vote(problem, subset, weighted=True, by=by) is Outcome.CORRECT for subset in subsets)
    seen: Counter[tuple[str | None, ...]] = Counter()
    example: dict[tuple[str | None, ...], Sequence[Solution]] = {}
    for subset in subsets:
        pattern = tuple(s.answer if s.finish == "stop" else None for s in subset)
        seen[pattern] += 1
        example[pattern] = subset
    right = sum(n for p, n in seen.items() if outcome_of_vote(problem, example[p], weighted=False, by=by) is Outcome.CORRECT)
    return right / len(subsets)


def chance_rate(problems: Sequence[Problem]) -> float:
    """Accuracy of guessing: 1 / number of options (yes/no: 1/2), 0 where the answers cannot be listed."""
    return fmean(1 / len(p.choices) if p.choices else 0.5 if p.kind == "yes_no" else 0.0 for p in problems)


def majority_rate(problems: Sequence[Problem], by: Check = same) -> float:
    """What the best constant answer gets by the check ``by``: the most frequent gold answer of these very problems."""
    constant = Counter(p.answer for p in problems).most_common(1)[0][0]
    return fmean(outcome(p, constant, by) is Outcome.CORRECT for p in problems)


def stop_rate(solutions: Sequence[Solution]) -> float:
    """Share of replies that ended by themselves and were not cut off."""
    return fmean(s.finish == "stop" for s in solutions) if solutions else 0.0
