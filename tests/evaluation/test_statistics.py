"""Intervals and tests against scipy, brute force, and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from understudy.evaluation.statistics import (
    above,
    accuracy_interval,
    bootstrap,
    estimate,
    holm,
    mcnemar,
    paired,
    wilson,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_its_formula_and_holds_the_proportion(counts):
    correct, n = counts
    low, high = wilson(correct, n)
    z, p = stats.norm.ppf(0.975), correct / n
    centre, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (low, high) == (pytest.approx(centre - half, abs=1e-9), pytest.approx(centre + half, abs=1e-9))
    assert low - 1e-9 <= p <= high + 1e-9


@given(st.integers(0, 25), st.integers(0, 25))
def test_mcnemar_is_the_exact_binomial_counted_out(b, c):
    n = b + c
    tail = sum(math.comb(n, k) for k in range(n + 1) if math.comb(n, k) <= math.comb(n, b) * (1 + 1e-12)) / 2**n
    assert mcnemar(b, c) == pytest.approx(min(1.0, tail))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_at_least_the_p_and_at_most_bonferroni(p):
    corrected = holm(p)
    for one, more in zip(p, corrected, strict=True):
        assert one <= more <= min(1.0, one * len(p)) + 1e-12
    for (p1, c1), (p2, c2) in itertools.combinations(zip(p, corrected, strict=True), 2):
        assert (p1 < p2) <= (c1 <= c2)


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_an_estimate_over_one_seed_is_the_t_test_of_scipy():
    values = np.random.default_rng(0).normal(0.1, 1, size=(1, 40))
    assert estimate(values).test() == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue)


def test_equal_problems_leave_the_t_test_over_seeds():
    by_seed = np.array([0.2, 0.5, 0.3, 0.6])
    values = np.repeat(by_seed[:, None], 50, axis=1)
    assert estimate(values).test() == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue, rel=1e-6)


def simulate(rng, seeds, n, *, problem, seed, rest, mean=0.0):
    return mean + problem * rng.normal(size=(1, n)) + seed * rng.normal(size=(seeds, 1)) + rest * rng.normal(size=(seeds, n))


@pytest.mark.parametrize(("problem", "seed", "rest"), [(0.5, 0.05, 1.0), (0.0, 0.1, 1.0), (0.0, 0.0, 1.0), (0.5, 0.0, 0.5)])
def test_under_no_difference_the_test_errs_at_its_level_whatever_varies(problem, seed, rest):
    rng = np.random.default_rng(1)
    p = [estimate(simulate(rng, 3, 100, problem=problem, seed=seed, rest=rest)).test() for _ in range(1500)]
    assert sum(x < 0.05 for x in p) / 1500 < 0.075


def test_a_test_that_takes_seeds_as_fixed_would_err_far_more():
    rng = np.random.default_rng(2)
    wrong = right = 0
    for _ in range(400):
        values = simulate(rng, 3, 400, problem=0.0, seed=0.1, rest=1.0)
        wrong += stats.ttest_1samp(values.mean(axis=0), 0).pvalue < 0.05
        right += estimate(values).test() < 0.05
    assert wrong > 0.2 * 400
    assert right < 0.11 * 400  # above its level: three seeds say little of how seeds vary (docs/statistics.md)


def test_an_accuracy_interval_covers_over_problems_and_seeds():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(400):
        level = np.clip(0.7 + rng.normal(0, 0.04, size=(4, 1)) + rng.normal(0, 0.2, size=(1, 200)), 0, 1)
        correct = (rng.random((4, 200)) < level).astype(float)
        low, high = accuracy_interval(correct)
        hits += low <= 0.695 <= high  # clipping at 1 takes .005 from the mean
    assert 0.91 <= hits / 400 <= 1.0


def test_the_bootstrap_is_near_the_normal_interval_and_repeats_with_its_seed():
    values = np.random.default_rng(4).normal(0.3, 1, size=400)
    low, high = bootstrap(values, resamples=4000, seed=0)
    error = values.std() / 20
    assert (low, high) == (
        pytest.approx(values.mean() - 1.96 * error, abs=0.01),
        pytest.approx(values.mean() + 1.96 * error, abs=0.01),
    )
    assert bootstrap(values, resamples=4000, seed=0) == (low, high)


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.03), (3, 0.06), (5, 0.06)])
def test_the_interval_of_a_difference_covers_over_seeds_and_agrees_with_its_test(seeds, spread):
    rng, hits = np.random.default_rng(6), 0
    for _ in range(300):
        arms = np.clip(0.6 + rng.normal(0, spread, size=(2, seeds, 1)) + rng.normal(0, 0.1, size=(1, 1, 300)), 0, 1)
        first, second = (rng.random(arms.shape) < arms).astype(float)
        found = paired(first, second, resamples=100, seed=0)
        hits += found.low <= 0 <= found.high
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert hits / 300 > 0.9


def test_a_paired_comparison_of_one_seed_is_mcnemar_on_discordant_problems():
    first, second = np.zeros((1, 100)), np.zeros((1, 100))
    first[0, :30], second[0, 20:40] = 1, 1
    found = paired(first, second, resamples=2000, seed=0)
    assert (found.difference, found.p) == (pytest.approx(0.1), mcnemar(20, 10))
    assert found.low < 0.1 < found.high
    assert 0.1 < found.detectable < 0.3


def test_arms_that_answer_alike_show_no_difference_and_do_not_claim_to_see_everything():
    same = np.ones((2, 50))
    found = paired(same, same, resamples=100, seed=0)
    assert (found.difference, found.p) == (0, 1)
    assert found.detectable > 0.02


def test_above_chance_is_the_exact_binomial_for_one_seed():
    correct = np.array([[1.0] * 60 + [0.0] * 40])
    assert above(correct, 0.5) == pytest.approx(stats.binomtest(60, 100, 0.5, alternative="greater").pvalue)
    assert above(np.repeat(correct, 3, axis=0), 0.9) > 0.99
