"""Intervals and tests against scipy, brute force, and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from understudy.evaluation.statistics import (
    accuracy_interval,
    check_above,
    compare,
    estimate_mean,
    exact_interval,
    holm,
    mcnemar,
    paired_interval,
    pool_noise,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_one_seed_is_the_exact_one_and_does_not_disagree_with_the_test_against_chance(counts):
    correct, n = counts
    low, high = exact_interval(correct, n)
    assert (low, high) == pytest.approx(tuple(stats.binomtest(correct, n).proportion_ci(0.95)))
    answers_SN = np.array([[1.0] * correct + [0.0] * (n - correct)])
    assert accuracy_interval(answers_SN) == (low, high)
    for rate in (0.2, 0.5):
        assert not (low > rate and check_above(answers_SN, rate) > 0.025)


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


def test_equal_problems_leave_the_t_test_over_seeds():
    by_seed = np.array([0.2, 0.5, 0.3, 0.6])
    values = np.repeat(by_seed[:, None], 50, axis=1)
    assert estimate_mean(values, 0.0, 3).test() == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue, rel=1e-6)


def test_a_few_problems_say_little_however_many_seeds_and_arms_there_are():
    right_against_wrong = np.ones((3, 3))
    assert estimate_mean(right_against_wrong, 0.01, 8).freedom == 2
    assert estimate_mean(np.ones((3, 300)), 0.01, 8).freedom == 8


def test_the_noise_between_seeds_is_that_of_the_analysis_of_variance():
    arms_SN = np.random.default_rng(0).random((4, 3, 20))
    means, noise = arms_SN.mean(axis=2), pool_noise([*arms_SN, arms_SN[0, :1]])  # an arm without seeds says nothing of them
    assert (noise.alone, noise.alone_freedom) == (pytest.approx(means.var(axis=1, ddof=1).mean()), 8)
    apart = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    assert (noise.apart, noise.apart_freedom) == (pytest.approx((apart**2).sum() / 6), 6)
    two = pool_noise(list(arms_SN[:2]))
    assert 2 * two.apart == pytest.approx((means[0] - means[1]).var(ddof=1)), "of two arms: the variance of their difference"


def test_arms_of_the_same_students_count_as_one_arm():
    first, second, third = np.random.default_rng(0).random((3, 3, 20))
    alone = pool_noise([first, second, third])
    decoded = pool_noise([first, second, first, third, first], ["a", "b", "a", "c", "a"])
    assert decoded == pytest.approx(alone), "three equal decodings of one student say no more than one"
    other = pool_noise([first, second], ["a", "a"])
    assert (other.alone_freedom, other.apart_freedom) == (2, 0)
    assert compare(first, second, other) == compare(first, second), "of the only students there are: by this pair's own variance"


def simulate(rng, *, arms, seeds, n, spread, passages=0):
    def effect(*shape):
        if not passages:
            return rng.normal(size=(*shape, n))
        return np.repeat(rng.normal(size=(*shape, passages)), n // passages, axis=-1)

    logit = 0.3 + 1.5 * effect() + 0.5 * effect(arms, 1)
    chance = 1 / (1 + np.exp(-logit)) + spread * rng.normal(size=(arms, seeds, 1))
    return (rng.random((arms, seeds, n)) < chance).astype(float)


@pytest.mark.parametrize(("seeds", "n", "spread"), [(3, 150, 0.05), (3, 600, 0.05), (5, 600, 0.02), (3, 150, 0.0)])
def test_of_equal_arms_hardly_a_study_says_that_any_two_differ(seeds, n, spread):
    """The test that leaves the seeds out where they happen to agree says so in 11 to 25 % (benchmarks/significance.py)."""
    rng, wrong, hits = np.random.default_rng(1), 0, 0
    for _ in range(120):
        arms = simulate(rng, arms=5, seeds=seeds, n=n, spread=spread)
        noise = pool_noise(list(arms))
        tests = [compare(arms[i], arms[j], noise) for i, j in itertools.combinations(range(5), 2)]
        assert all((test.p < 0.05) == (not test.low <= 0 <= test.high) for test in tests)
        wrong += min(holm([test.p for test in tests])) < 0.05
        hits += sum(test.low <= 0 <= test.high for test in tests)
    assert wrong / 120 < 0.085
    assert hits / 1200 > 0.93


def test_questions_of_one_passage_do_not_count_as_independent():
    rng, wrong = np.random.default_rng(2), {"alone": 0, "together": 0}
    passages = [str(i // 30) for i in range(300)]
    for _ in range(150):
        first, second = simulate(rng, arms=2, seeds=1, n=300, spread=0.0, passages=10)
        wrong["alone"] += compare(first, second).p < 0.05
        wrong["together"] += compare(first, second, clusters=passages).p < 0.05
    assert wrong["alone"] > 0.15 * 150
    assert wrong["together"] < 0.085 * 150


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_an_accuracy_over_clusters_of_one_problem_is_that_over_the_problems(right):
    values = np.full((1, 8), right)
    assert accuracy_interval(values, clusters=list("abcdefgh")) == accuracy_interval(values)
    assert check_above(values, 0.5, clusters=list("abcdefgh")) == check_above(values, 0.5)


def test_clusters_of_one_problem_are_the_problems():
    values = np.random.default_rng(3).normal(0.1, 1, size=(1, 40))
    alone = compare(values, np.zeros((1, 40)), clusters=[str(i) for i in range(40)])
    assert alone.p == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue)


def test_an_accuracy_interval_covers_over_problems_and_seeds():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(400):
        level = np.clip(0.7 + rng.normal(0, 0.04, size=(4, 1)) + rng.normal(0, 0.2, size=(1, 200)), 0, 1)
        correct = (rng.random((4, 200)) < level).astype(float)
        low, high = accuracy_interval(correct)
        hits += low <= 0.695 <= high  # clipping at 1 takes .005 from the mean
    assert 0.93 <= hits / 400 <= 1.0


def test_a_student_against_what_was_not_trained_has_the_noise_of_one_arm():
    arms = np.random.default_rng(4).random((3, 3, 50)).round()
    noise = pool_noise(list(arms))
    found = compare(arms[0], arms[1, :1], noise)
    assert found.p == estimate_mean(arms[0] - arms[1, :1], noise.alone, 6).test()


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_the_interval_of_one_seed_holds_0_where_mcnemar_does_not_reject_and_is_never_without_width(counts):
    wins, losses, n = counts[0], min(counts[1], counts[2] - counts[0]), counts[2]
    low, high = paired_interval(wins, losses, n)
    assert (low <= 0 <= high) == (mcnemar(wins, losses) >= 0.05)
    assert low <= (wins - losses) / n <= high
    assert high - low > 0.5 / n


def test_the_interval_of_one_seed_covers():
    rng, hits = np.random.default_rng(5), 0
    for wins, losses, n in [(0.2, 0.1, 40), (0.5, 0.02, 100), (0.01, 0.0, 60), (0.1, 0.1, 300)]:
        for _ in range(250):
            won, lost, _ = rng.multinomial(n, [wins, losses, 1 - wins - losses])
            low, high = paired_interval(int(won), int(lost), n)
            hits += low <= wins - losses <= high
    assert hits / 1000 > 0.94


def test_a_paired_comparison_of_one_seed_is_mcnemar_on_discordant_problems():
    first, second = np.zeros((1, 100)), np.zeros((1, 100))
    first[0, :30], second[0, 20:40] = 1, 1
    found = compare(first, second)
    assert (found.difference, found.p) == (pytest.approx(0.1), mcnemar(20, 10))
    assert found.low < 0.1 < found.high
    assert 0.1 < found.detectable < 0.3
    assert compare(first, second, pairs=10).detectable > found.detectable, "ten pairs must be corrected"


@pytest.mark.parametrize(("n", "pairs"), [(5, 1), (20, 1), (1000, 1), (1000, 45)])
def test_no_difference_is_said_to_be_detectable_that_the_exact_test_would_not_find(n, pairs):
    alike = np.ones((1, n))
    found = compare(alike, alike, pairs=pairs)
    least = next(k for k in range(1, 100) if mcnemar(k, 0) < 0.05 / pairs)
    if least > n:
        assert found.detectable == 1
    else:
        assert stats.binom.sf(least - 1, n, found.detectable) == pytest.approx(0.8)


@pytest.mark.parametrize(("passages", "size", "rate"), [(10, 10, 0.9), (20, 5, 0.95), (20, 5, 0.5)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_an_accuracy_covers_where_all_answers_to_a_passage_are_alike(passages, size, rate, seeds):
    rng, clusters = np.random.default_rng(0), [str(i) for i in range(passages) for _ in range(size)]
    covers = above_it = 0
    for _ in range(300):
        answers = np.tile(np.repeat(rng.random(passages) < rate, size).astype(float), (seeds, 1))
        low, high = accuracy_interval(answers, clusters=clusters)
        covers += low <= rate <= high
        above_it += check_above(answers, rate, clusters=clusters) < 0.05
    assert covers >= 0.94 * 300 and above_it <= 0.06 * 300


def test_clusters_of_one_problem_say_as_much_as_the_problems_where_some_are_wrong():
    answers, alone = np.array([[1.0] * 30 + [0.0] * 10]), [str(i) for i in range(40)]
    assert accuracy_interval(answers, clusters=alone) == pytest.approx(accuracy_interval(answers), abs=0.01)
    assert check_above(answers, 0.6, clusters=alone) == pytest.approx(check_above(answers, 0.6), abs=0.01)
    low, high = accuracy_interval(np.ones((1, 40)), clusters=["a"] * 20 + ["b"] * 20)
    assert (low < 0.2, high) == (True, 1.0), "two passages say next to nothing"
    assert accuracy_interval(np.ones((1, 40)), clusters=["a"] * 40)[0] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("passages", "size", "rare"), [(40, 25, 0.02), (10, 10, 0.1), (30, 10, 0.05), (20, 5, 0.08)])
def test_the_interval_covers_where_a_passage_fails_as_a_whole_now_and_then(passages, size, rare):
    """That no passage of a few did, though single answers are wrong, does not show that none does."""
    rng, clusters = np.random.default_rng(4), [str(i) for i in range(passages) for _ in range(size)]
    covers = 0
    for _ in range(300):
        holds = np.repeat(rng.random(passages) >= rare, size) & (rng.random(passages * size) < 0.98)
        low, high = accuracy_interval(holds.astype(float)[None], clusters=clusters)
        covers += low <= 0.98 * (1 - rare) <= high
    assert covers >= 0.94 * 300


def test_one_wrong_answer_does_not_make_the_interval_much_narrower():
    right, clusters = np.ones((1, 100)), [str(i // 10) for i in range(100)]
    one_wrong = right.copy()
    one_wrong[0, 0] = 0
    (low, _), (other, _) = (accuracy_interval(answers, clusters=clusters) for answers in (right, one_wrong))
    assert low == pytest.approx(other, abs=0.03)
    assert 0.6 < low < exact_interval(10, 10)[0], "a little less than ten right of ten say"


@pytest.mark.parametrize("sizes", [[100] * 2 + [5] * 18, [300] + [1] * 100, [20] * 5 + [1] * 100, [64, 32, 16, 8, 4, 2, 1, 1]])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_covers_where_passages_differ_in_size(sizes, seeds):
    rng, clusters = np.random.default_rng(5), [str(i) for i, size in enumerate(sizes) for _ in range(size)]
    covers = above_it = 0
    for _ in range(200):
        answers = np.tile(np.repeat(rng.random(len(sizes)) < 0.7, sizes).astype(float), (seeds, 1))
        low, high = accuracy_interval(answers, clusters=clusters)
        covers += low <= 0.7 <= high
        above_it += check_above(answers, 0.7, clusters=clusters) < 0.05
    assert covers >= 0.94 * 200 and above_it <= 0.06 * 200


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("sizes", "shown"), [([20, 20], False), ([20, 20, 20], False), ([300, *[1] * 30], False), ([20] * 5, True)]
)
def test_two_or_three_passages_do_not_show_that_arms_differ(sizes, shown, seeds):
    """Where all answers to a passage are alike, three of equal arms agree once in 32 pairs."""
    passages, n = [str(i) for i, size in enumerate(sizes) for _ in range(size)], sum(sizes)
    found = compare(np.ones((seeds, n)), np.zeros((seeds, n)), clusters=passages)
    assert (found.p < 0.05) == (found.low > 0) == shown


def test_of_equal_arms_on_few_passages_hardly_a_study_says_that_any_two_differ():
    rng, wrong, passages = np.random.default_rng(6), 0, [str(i // 20) for i in range(60)]
    for _ in range(150):
        arms = [np.repeat(rng.random(3) < 0.5, 20).astype(float)[None] for _ in range(5)]
        tests = [compare(one, other, clusters=passages) for one, other in itertools.combinations(arms, 2)]
        wrong += min(holm([test.p for test in tests])) < 0.05
    assert wrong <= 0.05 * 150


def test_an_accuracy_is_never_surer_than_answers_drawn_one_by_one():
    """One arm whose answers are drawn, beside four whose seeds agree, so that seeds seem to vary little."""
    rng, covers = np.random.default_rng(3), 0
    for _ in range(300):
        drawn = (rng.random((3, 80)) < 0.42).astype(float)
        others = [np.tile((rng.random(80) < 0.5).astype(float), (3, 1)) for _ in range(4)]
        low, high = accuracy_interval(drawn, pool_noise([drawn, *others]))
        covers += low <= 0.42 <= high
    assert covers >= 0.94 * 300


def test_few_clusters_bound_what_several_seeds_say():
    """Five arms with no difference, on three passages that favour one or another arm: errors stay near their level."""
    rng, wrong = np.random.default_rng(11), 0
    clusters = [str(i // 40) for i in range(120)]
    for _ in range(200):
        rates_AC = 0.5 + 0.15 * rng.standard_normal((5, 3))
        rates_AN = np.clip(np.repeat(rates_AC, 40, axis=1), 0.02, 0.98)
        arms = [(rng.random((3, 120)) < rates_N).astype(float) for rates_N in rates_AN]
        wrong += compare(arms[0], arms[1], pool_noise(arms), clusters=clusters).p < 0.05
    assert wrong / 200 < 0.08


@pytest.mark.parametrize("seeds", [1, 2])
def test_arms_that_answer_alike_show_no_difference_and_do_not_claim_to_see_everything(seeds):
    same = np.ones((seeds, 50))
    found = compare(same, same)
    assert (found.difference, found.p) == (0, 1)
    assert found.low < -0.01
    assert found.high > 0.01
    assert found.detectable > 0.02


def test_above_chance_is_the_exact_binomial_for_one_seed():
    correct = np.array([[1.0] * 60 + [0.0] * 40])
    assert check_above(correct, 0.5) == pytest.approx(stats.binomtest(60, 100, 0.5, alternative="greater").pvalue)
    assert check_above(np.repeat(correct, 3, axis=0), 0.9) > 0.95
