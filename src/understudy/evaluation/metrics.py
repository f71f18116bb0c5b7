"""What an answer counts as, and the numbers of one arm: votes for every k from one sample set, perplexity and correctness, what
chance and a constant answer get.

n = correct + wrong + undecidable + unparsed + abstained + truncated; errors are never among them.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from operator import attrgetter
from statistics import fmean

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.asks import T
from understudy.core.protocols import Check
from understudy.core.values import ABSTAINED, Outcome, Problem, Solution
from understudy.core.vote import vote

COUNTED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.UNPARSED, Outcome.ABSTAINED, Outcome.TRUNCATED)
"""The outcomes that an evaluation counts; a reply that was refused, or only thought, is one without an answer."""


def outcome_of(problem: Problem, solution: Solution, check: Check = same_answer) -> Outcome:
    """What one solution counts as, by ``check``. A cut-off reply is truncated, whatever is in it."""
    if solution.finish == "length":
        return Outcome.TRUNCATED
    outcome = judge(problem, solution.as_chain(), check).outcome
    return Outcome.UNPARSED if outcome in (Outcome.REFUSED, Outcome.ONLY_THOUGHT) else outcome


def outcome_of_answer(problem: Problem, solutions: Sequence[Solution], *, weighted: bool, check: Check = same_answer) -> Outcome:
    """What an arm's answer to ``problem`` counts as: its one solution, or the vote of several, which is truncated, abstained or
    unparsed only where nobody could vote."""
    counted = solutions[0] if len(solutions) == 1 else vote(solutions, weighted=weighted).winner
    if counted is not None:
        return outcome_of(problem, counted, check)
    if any(s.finish == "length" for s in solutions):
        return Outcome.TRUNCATED
    return Outcome.ABSTAINED if any(s.layer == ABSTAINED for s in solutions) else Outcome.UNPARSED


def count_outcomes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many of each counted outcome; their sum is n."""
    tally = Counter(outcomes)
    return {outcome.value: tally[outcome] for outcome in COUNTED}


Problems = Mapping[str, Problem]
Samples = Mapping[str, Sequence[Solution]]
"""Problem id -> its sampled solutions, equally many for each problem, each on a path of its own."""

SUBSETS = 70
"""The most subsets of k samples that are voted on. Up to 8 samples have no more, so their rates are exact."""
BINS, LEAST = 10, 20
"""The most bins of perplexity, and the fewest replies in each."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k samples drawn from n is correct, unbiased (Chen et al. 2021, arXiv 2107.03374)."""
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def votes_by_k(problems: Problems, samples: Samples, *, weighted: bool, seed: int, check: Check = same_answer) -> list[float]:
    """Accuracy of the vote (maj@k) for every k from 1 to the number of samples, over all subsets of k samples, or `SUBSETS`
    seeded ones where there are more."""
    correct = _correct(problems, samples, check)

    def rate(problem: str, k: int) -> float:
        elected = (vote(subset, weighted=weighted).winner for subset in subsets(problem, samples[problem], k, seed))
        return fmean(solution is not None and solution.path in correct[problem] for solution in elected)

    return [fmean(rate(problem, k) for problem in samples) for k in range(1, _size(samples) + 1)]


def any_correct_by_k(problems: Problems, samples: Samples, *, check: Check = same_answer) -> list[float]:
    """pass@k for every k from 1 to the number of samples."""
    size, correct = _size(samples), _correct(problems, samples, check)
    return [fmean(pass_at_k(size, len(paths), k) for paths in correct.values()) for k in range(1, size + 1)]


def likeliest_by_k(problems: Problems, samples: Samples, *, check: Check = same_answer) -> list[float]:
    """Accuracy of the one sample of k with the highest mean log-probability, for every k from 1 to the number of samples, over all
    subsets of k samples ("best-sampled": simple_main.py of SCoTD's code). Every sample needs its log-probability; of equally
    likely ones the first counts."""
    size, correct = _size(samples), _correct(problems, samples, check)
    ranked = {problem: sorted(drawn, key=attrgetter("logprob"), reverse=True) for problem, drawn in samples.items()}
    right = [fmean(drawn[rank].path in correct[problem] for problem, drawn in ranked.items()) for rank in range(size)]
    # The sample of this rank is the likeliest of a subset whose others are all of later ranks.
    return [
        sum(share * math.comb(size - 1 - rank, k - 1) for rank, share in enumerate(right)) / math.comb(size, k)
        for k in range(1, size + 1)
    ]


def _correct(problems: Problems, samples: Samples, check: Check) -> dict[str, set[int]]:
    """Problem id -> the paths of its correct samples."""
    return {
        problem: {s.path for s in drawn if outcome_of(problems[problem], s, check) is Outcome.CORRECT}
        for problem, drawn in samples.items()
    }


def subsets(problem: str, drawn: Sequence[T], k: int, seed: int) -> Iterator[Sequence[T]]:
    """All subsets of k of ``drawn``, or `SUBSETS` seeded ones where there are more."""
    if math.comb(len(drawn), k) <= SUBSETS:
        yield from combinations(drawn, k)
        return
    rng = random.Random(f"maj@k\x1f{seed}\x1f{problem}\x1f{k}")
    for _ in range(SUBSETS):
        yield [drawn[i] for i in sorted(rng.sample(range(len(drawn)), k))]


def _size(samples: Samples) -> int:
    return len(next(iter(samples.values())))


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


def chance_rate(problems: Sequence[Problem]) -> float:
    """Accuracy of guessing: 1 / number of options (yes/no: 1/2), 0 where the answers cannot be listed."""
    return fmean(1 / len(p.choices) if p.choices else 0.5 if p.kind == "yes_no" else 0.0 for p in problems)


def majority_rate(problems: Sequence[Problem], check: Check = same_answer) -> float:
    """What the best constant answer gets by ``check``: the most frequent gold answer of these very problems, as a reply that
    consists of it alone."""
    constant = Counter(p.answer for p in problems).most_common(1)[0][0]
    if constant is None:
        return 0.0
    return fmean(outcome_of(p, Solution(p.id, 0, constant, constant, "constant"), check) is Outcome.CORRECT for p in problems)


def stop_rate(solutions: Sequence[Solution]) -> float:
    """Share of replies that ended by themselves and were not cut off."""
    return fmean(s.finish == "stop" for s in solutions) if solutions else 0.0
