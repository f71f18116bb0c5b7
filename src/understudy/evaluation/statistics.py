"""What can be said from counts: intervals, paired tests, training seeds as a factor, many comparisons. See docs/statistics.md.

Legend: a correctness array is [S, N]: S training seeds, N problems, 1.0 where the answer was correct.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from understudy.core.values import Outcome

Array = NDArray[np.float64]
CONFIDENCE = 0.95


def correctness(outcomes: Sequence[Mapping[str, Outcome]], problems: Sequence[str]) -> Array:
    """[S, N] from the outcomes of each seed (problem -> outcome), of the ``problems`` alone."""
    return np.array([[seed[name] is Outcome.CORRECT for name in problems] for seed in outcomes], dtype=np.float64)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(correct, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (McNemar 1947) from the two discordant counts."""
    n = only_first + only_second
    return float(stats.binomtest(only_first, n, 0.5).pvalue) if n else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """p-values after Holm's correction (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1.0, np.asarray(p)[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(raised)
    return [float(value) for value in corrected]


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over problems and training seeds with its standard error and Satterthwaite's degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def interval(self, least: float) -> tuple[float, float]:
        """The 95 % interval by Student's t, of what is never below ``least`` or above 1."""
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.freedom)) * self.error
        return max(least, self.mean - half), min(1.0, self.mean + half)

    def test(self, against: float = 0.0, *, greater: bool = False) -> float:
        """p of Student's t that the mean is ``against``: two-sided, or that it is not ``greater``."""
        if self.error == 0:
            away = self.mean > against if greater else self.mean != against
            return 0.0 if away else 1.0
        t = (self.mean - against) / self.error
        return float(stats.t.sf(t, self.freedom) if greater else 2 * stats.t.sf(abs(t), self.freedom))


def estimate(values_SN: Array) -> MeanEstimate:
    """Mean of ``values_SN`` where problems and seeds are both drawn at random (two-way random effects, one value a cell).

    Var(mean) = problems / N + seeds / S + rest / SN. The components are those of the analysis of variance, none below zero;
    the degrees of freedom are Satterthwaite's (1946). With one seed only the problems vary: the seed's share is not known,
    and the estimate is about this one student.
    """
    seeds, n = values_SN.shape
    mean = float(values_SN.mean())
    if n < 2:
        return MeanEstimate(mean, math.inf, 1)
    if seeds == 1:
        return MeanEstimate(mean, float(values_SN.std(ddof=1)) / math.sqrt(n), n - 1)
    by_problem, by_seed = values_SN.mean(axis=0), values_SN.mean(axis=1)
    ms_problem = seeds * float(by_problem.var(ddof=1))
    ms_seed = n * float(by_seed.var(ddof=1))
    rest = values_SN - by_problem[None, :] - by_seed[:, None] + mean
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (n - 1))
    # Var = (MS_problem + MS_seed - MS_rest) / SN where both components are positive; a negative one is taken as zero.
    parts = [(ms_problem, n - 1.0), (ms_seed, seeds - 1.0), (-ms_rest, (seeds - 1.0) * (n - 1.0))]
    if ms_seed < ms_rest:
        parts = [parts[0]]
    elif ms_problem < ms_rest:
        parts = [parts[1]]
    total = sum(ms for ms, _ in parts)
    spread = sum(ms**2 / freedom for ms, freedom in parts)
    return MeanEstimate(mean, math.sqrt(max(total, 0.0) / (seeds * n)), total**2 / spread if spread else n - 1.0)


def accuracy_interval(correct_SN: Array) -> tuple[float, float]:
    """95 % interval of an accuracy: Wilson's for one seed, Student's t over problems and seeds for several."""
    if len(correct_SN) == 1:
        return wilson(int(correct_SN.sum()), correct_SN.shape[1])
    mean_estimate = estimate(correct_SN)
    if mean_estimate.error == 0:  # all seeds and problems alike: the t interval would have no width
        return wilson(int(correct_SN.mean(axis=0).round().sum()), correct_SN.shape[1])
    return mean_estimate.interval(0.0)


def above(correct_SN: Array, rate: float) -> float:
    """One-sided p that the accuracy is not above ``rate``: exact binomial for one seed, t over problems and seeds otherwise."""
    if len(correct_SN) == 1:
        return float(stats.binomtest(int(correct_SN.sum()), correct_SN.shape[1], rate, alternative="greater").pvalue)
    return estimate(correct_SN).test(rate, greater=True)


@dataclass(frozen=True)
class PairedTest:
    """``difference`` of two arms on the same problems, its 95 % interval, the p of no difference, and the smallest
    difference that this many problems and seeds detect with a power of .8."""

    difference: float
    low: float
    high: float
    p: float
    detectable: float


def paired(first_SN: Array, second_SN: Array, *, resamples: int, seed: int) -> PairedTest:
    """Compare two arms whose seeds and problems are the same.

    p: exact McNemar for one seed; for several, Student's t on the differences with seeds and problems both random
    (`estimate`), and the interval that goes with it. One seed: percentile bootstrap over problems. (A bootstrap over a few
    seeds too would be too narrow: three seeds drawn with replacement are mostly two.)
    """
    assert first_SN.shape == second_SN.shape
    difference_SN = first_SN - second_SN
    mean_estimate = estimate(difference_SN)
    discordant = int((difference_SN > 0).sum()), int((difference_SN < 0).sum())
    if len(difference_SN) == 1:
        p, (low, high) = mcnemar(*discordant), bootstrap(difference_SN[0], resamples=resamples, seed=seed)
    else:
        p, (low, high) = mean_estimate.test(), mean_estimate.interval(-1.0)
    return PairedTest(mean_estimate.mean, low, high, p, detectable(difference_SN, mean_estimate))


def bootstrap(values_N: Array, *, resamples: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over problems (Efron 1979)."""
    rng = np.random.default_rng([seed, 0xB007])
    n = len(values_N)
    drawn = [rng.multinomial(n, np.full(n, 1 / n), size=min(500, resamples - at)) for at in range(0, resamples, 500)]
    low, high = np.quantile(np.concatenate(drawn) @ values_N / n, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def detectable(difference_SN: Array, mean_estimate: MeanEstimate) -> float:
    """The smallest true difference that the test at .05 finds with power .8, given the variance that was seen.

    At least that of one discordant problem a seed: equal answers everywhere do not make a test that sees everything.
    """
    seeds, n = difference_SN.shape
    error = max(mean_estimate.error, 1 / (n * math.sqrt(seeds)))
    if not math.isfinite(error):
        return 1.0
    freedom = max(mean_estimate.freedom, 1.0)
    quantiles = float(stats.t.ppf(0.975, freedom)) + float(stats.t.ppf(0.8, freedom))
    return float(min(1.0, quantiles * error))
