"""Draw conclusions from counts: intervals, paired tests, training seeds as a factor, many comparisons. See docs/statistics.md.

Legend: a correctness array is [S, N]: S training seeds, N problems, 1.0 where the answer was correct. ``clusters`` [N]: which
problems belong together (one template, one passage) and so do not count as independent; None: each counts for itself.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from understudy.core.values import Outcome

Array = NDArray[np.float64]
Clusters = Sequence[str] | None
CONFIDENCE, LEVEL, POWER = 0.95, 0.05, 0.8
_RIGHT_AND_WRONG = (1.0, 0.0)


def correctness(outcomes: Sequence[Mapping[str, Outcome]], problems: Sequence[str]) -> Array:
    """Make [S, N] from the outcomes of each seed (problem -> outcome), for ``problems`` only."""
    return np.array([[seed[name] is Outcome.CORRECT for name in problems] for seed in outcomes], dtype=np.float64)


def exact_interval(correct: float, n: float) -> tuple[float, float]:
    """Compute the exact 95 % interval of a proportion (Clopper and Pearson 1934); (0, 1) for n = 0. It lies above a rate only if
    the exact binomial test does, too. The counts may be effective numbers of independent answers, and so need not be whole."""
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, correct, n - correct + 1)) if correct > 0 else 0.0
    return low, float(stats.beta.ppf(1 - tail, correct + 1, n - correct)) if correct < n else 1.0


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the exact two-sided p of McNemar's test (McNemar 1947) from the two discordant counts."""
    n = only_first + only_second
    return float(stats.binomtest(only_first, n, 0.5).pvalue) if n else 1.0


def krippendorff(ratings: Sequence[Mapping[str, str]]) -> float | None:
    """Compute Krippendorff's alpha of nominal ``ratings`` (for each unit, rater -> category): 1 if all agree, 0 as by chance. None
    if no unit has two raters or only one category was ever given (Krippendorff 2011, Computing Krippendorff's
    alpha-reliability)."""
    units = [Counter(unit.values()) for unit in ratings if len(unit) > 1]
    totals = sum(units, Counter[str]())
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if not expected:
        return None
    observed = sum((unit.total() ** 2 - sum(c * c for c in unit.values())) / (unit.total() - 1) for unit in units)
    return 1 - (n - 1) * observed / expected


def holm(p: Sequence[float]) -> list[float]:
    """Apply Holm's correction (Holm 1979) to p-values; the order stays."""
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1.0, np.asarray(p)[order] * np.arange(len(p), 0, -1))
    return [float(value) for value in np.maximum.accumulate(raised)[np.argsort(order)]]


class SeedNoise(NamedTuple):
    """How much accuracies vary between training seeds, pooled over the arms of a split, with degrees of freedom. ``alone``: the
    variance of one arm's accuracy. ``apart``: the variance of what an arm does not share with the other arms of its seed (the
    arm-by-seed mean square); the difference of two arms has twice this variance."""

    alone: float
    alone_freedom: float
    apart: float
    apart_freedom: float


def pool_noise(arms_SN: Sequence[Array], students: Sequence[Hashable] = ()) -> SeedNoise | None:
    """Estimate the noise from the arms that have several seeds, which must be the same seeds; None if no arm has. ``students``:
    whose answers each arm has. Arms with the same students, which differ only in decoding, count as one, since they vary
    together."""
    labelled = list(zip(arms_SN, students or range(len(arms_SN)), strict=True))
    seeded = [(rows.mean(axis=1), student) for rows, student in labelled if len(rows) > 1]
    if not seeded:
        return None
    alike = Counter(student for _, student in seeded)
    means_AS, weights_A = np.array([means for means, _ in seeded]), np.array([1 / alike[student] for _, student in seeded])
    arms, seeds = len(alike), means_AS.shape[1]
    centred_AS = means_AS - means_AS.mean(axis=1, keepdims=True)
    apart_AS = centred_AS - weights_A @ centred_AS / arms
    alone_freedom, apart_freedom = arms * (seeds - 1), (arms - 1) * (seeds - 1)
    apart = float((weights_A @ apart_AS**2).sum()) / apart_freedom if apart_freedom else 0.0
    return SeedNoise(float((weights_A @ centred_AS**2).sum()) / alone_freedom, alone_freedom, apart, apart_freedom)


class MeanEstimate(NamedTuple):
    """A mean over problems and training seeds, with its standard error and degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def interval(self, minimum: float) -> tuple[float, float]:
        """Compute the 95 % interval by Student's t, for a quantity that is never below ``minimum`` or above 1."""
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.freedom)) * self.error
        return max(minimum, self.mean - half), min(1.0, self.mean + half)

    def test(self, value: float = 0.0, *, greater: bool = False) -> float:
        """Compute p of Student's t for the hypothesis that the mean is ``value`` (two-sided), or with ``greater`` that it is not
        above it."""
        t = (self.mean - value) / self.error
        return float(stats.t.sf(t, self.freedom) if greater else 2 * stats.t.sf(abs(t), self.freedom))


def estimate_mean(
    values_SN: Array, between_seeds: float, freedom: float, clusters: Clusters = None, *, extra: Sequence[float] = (0.0,)
) -> MeanEstimate:
    """Estimate the mean of ``values_SN``, S > 1, with both problems and seeds drawn at random.

    Var(mean) = V / S + problems / N. V is the larger of the variance of the seeds' means and ``between_seeds``, a pooled variance
    with ``freedom`` degrees of freedom. Three seeds alone say little about how seeds vary: if they happened to agree, the test
    would err far above its level (docs/statistics.md has the simulation). The part of the problems is that of the analysis of
    variance, not below zero. The error is never below that of one wrong answer of each seed. ``extra``: as in
    `_estimate_over_problems`.
    """
    seeds, n = values_SN.shape
    by_problem, by_seed = values_SN.mean(axis=0), values_SN.mean(axis=1)
    mean = float(values_SN.mean())
    if n < 2:
        return MeanEstimate(mean, math.inf, 1)
    ms_rest = float(((values_SN - by_problem[None, :] - by_seed[:, None] + mean) ** 2).sum()) / ((seeds - 1) * (n - 1))
    result = _estimate_over_problems(by_problem, clusters, extra)
    problems = max(0.0, result.error**2 - ms_rest / seeds / n)
    between = max(between_seeds, float(by_seed.var(ddof=1)))
    # Few problems or passages say little, however many seeds there are.
    return MeanEstimate(mean, max(math.sqrt(between / seeds + problems), 1 / (n * math.sqrt(seeds))), min(freedom, result.freedom))


def _estimate_over_problems(values_N: Array, clusters: Clusters, extra: Sequence[float] = (0.0,)) -> MeanEstimate:
    """Estimate the mean over problems, ignoring seeds. If clusters have several problems, mean and error are as if there were
    further clusters with the values ``extra``, as large as the largest: that a few clusters are alike says little about others.

    Clusters of unequal size count as fewer: (sum of sizes)^2 / sum of squares (Kish 1965, Survey Sampling).
    """
    n = len(values_N)
    cluster_N = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(cluster_N, weights=values_N), np.bincount(cluster_N, weights=np.ones(n))
    if len(sums) < 2:
        return MeanEstimate(float(values_N.mean()), math.inf, 1)
    freedom = n**2 / float((sizes**2).sum()) - 1
    if sizes.max() > 1:
        sums, sizes = np.append(sums, sizes.max() * np.array(extra)), np.append(sizes, [sizes.max()] * len(extra))
    mean, count = float(sums.sum() / sizes.sum()), len(sums)
    squared = float(((sums - sizes * mean) ** 2).sum()) * count / (count - 1) / (sizes.sum() * n)
    return MeanEstimate(mean, math.sqrt(squared), freedom)


def accuracy_interval(correct_SN: Array, noise: SeedNoise | None = None, clusters: Clusters = None) -> tuple[float, float]:
    """Compute the 95 % interval of an accuracy: exact for one seed, by Student's t over problems and seeds for several. ``noise``:
    that of the split's arms; None: of this arm alone."""
    if len(correct_SN) == 1:
        return exact_interval(*_count_independent(correct_SN[0], clusters))
    return _estimate_accuracy(correct_SN, noise, clusters).interval(0.0)


def check_above(correct_SN: Array, rate: float, noise: SeedNoise | None = None, clusters: Clusters = None) -> float:
    """Compute the one-sided p that the accuracy is not above ``rate``: exact binomial for one seed, else t over problems and
    seeds."""
    if len(correct_SN) == 1:
        correct, n = _count_independent(correct_SN[0], clusters)
        return float(stats.beta.cdf(rate, correct, n - correct + 1)) if correct > 0 else 1.0
    return _estimate_accuracy(correct_SN, noise, clusters).test(rate, greater=True)


def _count_independent(correct_N: Array, clusters: Clusters) -> tuple[float, float]:
    """Count the right answers among the equivalent number of independent answers: all of them, or fewer if the answers of a cluster
    are alike (Korn and Graubard 1998, Survey Methodology 24, 193-201). How alike they are is estimated as if one more cluster had
    been all right and one all wrong."""
    n, effective = len(correct_N), float(len(correct_N))
    if clusters and len(set(clusters)) < n:
        estimate = _estimate_over_problems(correct_N, clusters, _RIGHT_AND_WRONG)
        effective = min(effective, estimate.mean * (1 - estimate.mean) / estimate.error**2)
    return float(correct_N.sum()) * effective / max(1, n), effective


def _estimate_accuracy(correct_SN: Array, noise: SeedNoise | None, clusters: Clusters) -> MeanEstimate:
    noise = noise or pool_noise([correct_SN])
    assert noise is not None, "there are several seeds"
    estimate = estimate_mean(correct_SN, noise.alone, noise.alone_freedom, clusters, extra=_RIGHT_AND_WRONG)
    # The estimate is never surer than with answers drawn one by one.
    return estimate._replace(error=max(estimate.error, math.sqrt(estimate.mean * (1 - estimate.mean) / max(1, correct_SN.size))))


@dataclass(frozen=True)
class PairedTest:
    """The ``difference`` of two arms on the same problems, its 95 % interval, and the p of no difference. ``detectable``: the
    smallest difference that this many problems and seeds detect with a power of .8, at a level of .05 for all pairs together."""

    difference: float
    low: float
    high: float
    p: float
    detectable: float


def compare(
    first_SN: Array, second_SN: Array, noise: SeedNoise | None = None, *, clusters: Clusters = None, pairs: int = 1
) -> PairedTest:
    """Compare two arms on the same problems, each with one answer per problem or with those of the same S seeds.

    One seed: exact McNemar and `paired_interval` (with clusters, Student's t over them); the result is about these two students.
    Several seeds: Student's t with seeds and problems both random (`estimate_mean`), the variance between seeds pooled over the
    arms of the split (``noise``; None: over these two), and its interval. An arm that was not trained has one row and no seeds of
    its own. ``pairs``: how many are corrected together, which decides what is detectable.
    """
    difference_SN = first_SN - second_SN
    seeds, n = difference_SN.shape
    level = LEVEL / pairs
    if seeds == 1:
        estimate = _estimate_over_problems(difference_SN[0], clusters)
        estimate = estimate._replace(mean=float(difference_SN.mean()), error=max(estimate.error, 1 / n))
        if clusters is None:
            wins, losses = int((difference_SN > 0).sum()), int((difference_SN < 0).sum())
            detectable = max(_find_detectable(estimate, level), _find_exact(n, level))
            return PairedTest(estimate.mean, *paired_interval(wins, losses, n), mcnemar(wins, losses), detectable)
    else:
        same_seeds = len(first_SN) == len(second_SN)
        if noise is None or (same_seeds and not noise.apart_freedom):  # these two arms, perhaps with the only students there are
            noise = pool_noise([first_SN, second_SN])
        assert noise is not None, "there are several seeds"
        pooled, freedom = (2 * noise.apart, noise.apart_freedom) if same_seeds else (noise.alone, noise.alone_freedom)
        estimate = estimate_mean(difference_SN, pooled, freedom, clusters)
    return PairedTest(estimate.mean, *estimate.interval(-1.0), estimate.test(), _find_detectable(estimate, level))


def paired_interval(wins: int, losses: int, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of the difference of two paired proportions. Its width is never zero, and it contains 0 if exact
    McNemar does not reject. It spans two intervals: Bonett and Price's (2012, doi 10.3102/1076998611411915), and the exact one for
    the discordant pairs (Clopper and Pearson 1934)."""
    p = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * math.sqrt((p[0] + p[1] - (p[0] - p[1]) ** 2) / (n + 2))
    low, high = p[0] - p[1] - half, p[0] - p[1] + half
    if discordant := wins + losses:
        exact = stats.binomtest(wins, discordant).proportion_ci(CONFIDENCE)
        low, high = (f(v, (2 * e - 1) * discordant / n) for f, v, e in ((min, low, exact.low), (max, high, exact.high)))
    return max(-1.0, low), min(1.0, high)


def _find_exact(n: int, level: float) -> float:
    """Compute the smallest true difference that McNemar's exact test at ``level`` finds with power .8, if one arm is never better:
    at least ``minimum`` of ``n`` problems must then differ, because p is 2 / 2^least."""
    minimum = math.floor(math.log2(2 / level)) + 1
    return float(stats.beta.ppf(POWER, minimum, n - minimum + 1)) if minimum <= n else 1.0


def _find_detectable(estimate: MeanEstimate, level: float) -> float:
    """Compute the smallest true difference that the test at ``level`` finds with power .8, given the observed variance."""
    if not math.isfinite(estimate.error):
        return 1.0
    quantiles = float(stats.t.ppf(1 - level / 2, estimate.freedom)) + float(stats.t.ppf(POWER, estimate.freedom))
    return float(min(1.0, quantiles * estimate.error))
