"""Say what an answer counts as, and compute the numbers of one arm: votes for every k from one sample set, perplexity against
correctness, and the accuracy of chance and of a constant answer.

n = correct + wrong + undecidable + unparsed + abstained + truncated; errors are never in n.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, pairwise
from operator import attrgetter
from statistics import fmean

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.answers import answer_key
from understudy.core.asks import T
from understudy.core.protocols import Check
from understudy.core.values import ABSTAINED, Outcome, Problem, Solution
from understudy.core.vote import vote

COUNTED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.UNPARSED, Outcome.ABSTAINED, Outcome.TRUNCATED)
"""The outcomes that an evaluation counts. A reply that was refused, or that only thought, counts as unparsed."""


def judge_solution(problem: Problem, solution: Solution, check: Check = same_answer) -> Outcome:
    """Say what one solution counts as, by ``check``. A cut-off reply is truncated, whatever it says."""
    if solution.finish == "length":
        return Outcome.TRUNCATED
    outcome = judge(problem, solution.as_chain(), check).outcome
    return Outcome.UNPARSED if outcome in (Outcome.REFUSED, Outcome.ONLY_THOUGHT) else outcome


def judge_answer(problem: Problem, solutions: Sequence[Solution], *, weighted: bool, check: Check = same_answer) -> Outcome:
    """Say what an arm's answer to ``problem`` counts as: its one solution, or the vote of several. A vote is truncated, abstained
    or unparsed only if no solution could vote."""
    winner = solutions[0] if len(solutions) == 1 else vote(solutions, weighted=weighted).winner
    if winner is not None:
        return judge_solution(problem, winner, check)
    if any(s.finish == "length" for s in solutions):
        return Outcome.TRUNCATED
    return Outcome.ABSTAINED if any(s.layer == ABSTAINED for s in solutions) else Outcome.UNPARSED


def count_outcomes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count each outcome; their sum is n."""
    tally = Counter(outcomes)
    return {outcome.value: tally[outcome] for outcome in COUNTED}


Samples = Mapping[str, Sequence[Solution]]
"""Problem id -> its sampled solutions: the same number for each problem, each on a path of its own."""
Correct = Mapping[str, Set[int]]
"""Problem id -> the paths of its correct samples."""

SUBSETS = 70
"""The most subsets of k samples to vote on. Up to 8 samples have no more than these, so their rates are exact."""
BINS, MIN_REPLIES = 10, 20
"""The most bins of perplexity, and the fewest replies in each."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Estimate, without bias, the chance that at least one of k samples drawn from n is correct (Chen et al. 2021, arXiv
    2107.03374)."""
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def find_correct(problems: Mapping[str, Problem], samples: Samples, check: Check = same_answer) -> Correct:
    """Find the correct ones of ``samples`` by ``check``."""
    return {
        problem: {s.path for s in drawn if judge_solution(problems[problem], s, check) is Outcome.CORRECT}
        for problem, drawn in samples.items()
    }


def votes_by_k(samples: Samples, correct: Correct, *, weighted: bool, seed: int) -> list[float]:
    """Compute the accuracy of the vote (maj@k) for every k from 1 to the number of samples, over all subsets of k samples, or over
    `SUBSETS` seeded ones if there are more."""

    def rate(problem: str, k: int) -> float:
        elected = (vote(subset, weighted=weighted).winner for subset in draw_subsets(problem, samples[problem], k, seed))
        return fmean(solution is not None and solution.path in correct[problem] for solution in elected)

    return [fmean(rate(problem, k) for problem in samples) for k in range(1, _count_samples(samples) + 1)]


def any_correct_by_k(samples: Samples, correct: Correct) -> list[float]:
    """Compute pass@k for every k from 1 to the number of samples."""
    size = _count_samples(samples)
    return [fmean(pass_at_k(size, len(paths), k) for paths in correct.values()) for k in range(1, size + 1)]


def likeliest_by_k(samples: Samples, correct: Correct) -> list[float]:
    """Compute the accuracy of the one sample of k with the highest mean log-probability, for every k from 1 to the number of
    samples, over all subsets of k samples ("best-sampled": simple_main.py of SCoTD's code). Every sample needs its log-probability;
    of equally likely ones the first counts."""
    size = _count_samples(samples)
    ranked = {problem: sorted(drawn, key=attrgetter("logprob"), reverse=True) for problem, drawn in samples.items()}
    right = [fmean(drawn[rank].path in correct[problem] for problem, drawn in ranked.items()) for rank in range(size)]
    # The sample of this rank is the likeliest of a subset if all the others have later ranks.
    return [
        sum(share * math.comb(size - 1 - rank, k - 1) for rank, share in enumerate(right)) / math.comb(size, k)
        for k in range(1, size + 1)
    ]


def draw_subsets(problem: str, drawn: Sequence[T], k: int, seed: int) -> Iterator[Sequence[T]]:
    """Yield all subsets of k of ``drawn``, or `SUBSETS` seeded ones if there are more."""
    if math.comb(len(drawn), k) <= SUBSETS:
        yield from combinations(drawn, k)
        return
    rng = random.Random(f"maj@k\x1f{seed}\x1f{problem}\x1f{k}")
    for _ in range(SUBSETS):
        yield [drawn[i] for i in sorted(rng.sample(range(len(drawn)), k))]


def _count_samples(samples: Samples) -> int:
    return len(next(iter(samples.values())))


@dataclass(frozen=True)
class Bin:
    """Replies of neighbouring perplexity, from ``least`` to ``most``: ``correct`` of ``n``."""

    least: float
    most: float
    n: int
    correct: int
    accuracy: float


def group_by_perplexity(replies: Iterable[tuple[float, bool]]) -> list[Bin]:
    """Put ``replies``, (mean log-probability per token, correct or not), in at most `BINS` bins of equal size, from the least
    perplexed to the most. Perplexity is exp(-mean log-probability) (models/stats_collector.py of SCoTD's code)."""
    # A recorded number beyond 700 is not a mean per token, and its exponential overflows.
    ordered = sorted(((math.exp(min(-logprob, 700)), correct) for logprob, correct in replies), key=lambda reply: reply[0])
    bins = min(BINS, len(ordered) // MIN_REPLIES)
    groups = [ordered[low:high] for low, high in pairwise(round(i * len(ordered) / bins) for i in range(bins + 1))] if bins else []
    return [Bin(group[0][0], group[-1][0], len(group), sum(c for _, c in group), fmean(c for _, c in group)) for group in groups]


def chance_rate(problems: Sequence[Problem]) -> float:
    """Compute the accuracy of guessing: 1 / number of options (yes/no: 1/2), or 0 if the answers cannot be listed."""
    return fmean(1 / len(p.choices) if p.choices else 0.5 if p.kind == "yes_no" else 0.0 for p in problems)


def majority_rate(problems: Sequence[Problem], check: Check = same_answer) -> float:
    """Compute the accuracy of the best constant answer by ``check``: of the three most frequent gold answers of these
    problems, each as a reply that consists of nothing else."""
    written = {answer_key(gold): gold for p in problems for gold in p.golds}
    common = Counter(answer_key(gold) for p in problems for gold in p.golds).most_common(3)
    return max(_rate_constant(written[key], problems, check) for key, _ in common)


def _rate_constant(answer: str, problems: Sequence[Problem], check: Check) -> float:
    return fmean(judge_solution(p, Solution(p.id, 0, answer, answer, "constant"), check) is Outcome.CORRECT for p in problems)
