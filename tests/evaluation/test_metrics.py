"""Outcomes, votes for every k, pass@k, and what chance would get."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.values import Outcome, Problem, Solution
from understudy.core.vote import vote
from understudy.evaluation.metrics import (
    COUNTED,
    any_correct_by_k,
    chance_rate,
    count_outcomes,
    find_correct,
    group_by_perplexity,
    judge_answer,
    judge_solution,
    likeliest_by_k,
    majority_rate,
    pass_at_k,
    votes_by_k,
)

PROBLEM = Problem("p", "?", "number", "7", accepted=("8",))


def solution(answer, path=0, finish="stop", logprob=-1.0, problem="p"):
    return Solution(problem, path, f"... {answer}", answer, "marker", finish=finish, tokens=5, logprob=logprob)


def test_a_cut_off_reply_is_truncated_even_where_it_holds_the_gold():
    assert judge_solution(PROBLEM, solution("7", finish="length")) is Outcome.TRUNCATED
    assert judge_solution(PROBLEM, solution("7")) is Outcome.CORRECT
    assert judge_solution(PROBLEM, solution("8")) is Outcome.CORRECT
    assert judge_solution(PROBLEM, solution("9")) is Outcome.WRONG
    assert judge_solution(PROBLEM, solution(None)) is Outcome.UNPARSED
    assert judge_solution(PROBLEM, solution(None, finish="refused")) is Outcome.UNPARSED


@given(st.lists(st.sampled_from(COUNTED)))
def test_counts_add_up_to_n(outcomes):
    assert sum(count_outcomes(outcomes).values()) == len(outcomes)


def test_the_vote_counts_equal_texts_in_other_forms_as_one_answer_in_the_form_that_came_first():
    won = vote([solution("Lima"), solution("the River Nile"), solution("river Nile")])
    assert (won.answer, dict(won.weights)) == ("the River Nile", {"Lima": 1, "the River Nile": 2})
    assert vote([solution("7"), solution("(1, 2)"), solution("$(1,2)$")]).answer == "(1, 2)"


def test_a_vote_in_which_nobody_has_an_answer_is_abstained_where_one_says_so():
    problem, silent = Problem("p", "?", "number", "1"), replace(solution(None), layer="abstained")
    assert judge_answer(problem, [solution(None), silent], weighted=False) is Outcome.ABSTAINED
    assert judge_answer(problem, [silent, solution("1")], weighted=False) is Outcome.CORRECT


def test_the_vote_takes_the_most_frequent_and_the_first_of_equals_and_leaves_out_who_cannot_vote():
    votes = [solution("1"), solution("2"), solution("2"), solution(None), solution("1", finish="length")]
    counted = vote(votes)
    assert (counted.answer, counted.share) == ("2", 2 / 5), "two of five, however few could vote"
    assert vote([solution("3"), solution("1"), solution("1"), solution("3")]).answer == "3"
    assert vote([solution(None)]).answer is None
    assert judge_answer(PROBLEM, [solution(None), solution(None, finish="length")], weighted=False) is Outcome.TRUNCATED


def test_the_weighted_vote_counts_mean_likelihoods():
    votes = [solution("1", logprob=-0.1), solution("2", logprob=-1.0), solution("2", logprob=-1.2)]
    assert vote(votes).answer == "2"
    counted = vote(votes, weighted=True)
    assert counted.answer == "1"
    assert counted.weights["2"] == pytest.approx(math.exp(-1.0) + math.exp(-1.2))
    with pytest.raises(ValueError, match="needs log-probabilities"):
        vote([solution("1", logprob=None)], weighted=True)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(values):
    n, correct, k = values
    subsets = list(itertools.combinations([i < correct for i in range(n)], k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@given(st.lists(st.sampled_from(["7", "1", "2", None]), min_size=1, max_size=6), st.booleans())
def test_maj_at_k_is_the_mean_over_all_subsets(answers, weighted):
    samples = [solution(a, i, logprob=-0.3 * i - 0.1) for i, a in enumerate(answers)]
    correct = find_correct({"p": PROBLEM}, {"p": samples})
    found = votes_by_k({"p": samples}, correct, weighted=weighted, seed=0)
    for k in range(1, len(samples) + 1):
        subsets = list(itertools.combinations(samples, k))
        right = sum(judge_answer(PROBLEM, s, weighted=weighted) is Outcome.CORRECT for s in subsets)
        assert found[k - 1] == pytest.approx(right / len(subsets))
    assert found[0] == pytest.approx(any_correct_by_k({"p": samples}, correct)[0])


SAMPLES = st.lists(st.tuples(st.sampled_from(["7", "1", None]), st.sampled_from([-0.1, -0.4, -1.0])), min_size=1, max_size=6)


@given(SAMPLES)
def test_the_accuracy_of_the_likeliest_of_k_is_the_mean_over_all_subsets(given_samples):
    samples = [solution(a, i, logprob=logprob) for i, (a, logprob) in enumerate(given_samples)]
    found = likeliest_by_k({"p": samples}, find_correct({"p": PROBLEM}, {"p": samples}))
    for k in range(1, len(samples) + 1):
        best = [max(subset, key=lambda s: (s.logprob, -s.path)) for subset in itertools.combinations(samples, k)]
        assert found[k - 1] == pytest.approx(sum(judge_solution(PROBLEM, s) is Outcome.CORRECT for s in best) / len(best))


@given(st.lists(st.tuples(st.floats(-3, 0), st.booleans()), max_size=450))
def test_bins_of_perplexity_are_ordered_equally_large_and_hold_every_reply(replies):
    bins = group_by_perplexity(replies)
    assert len(bins) == min(10, len(replies) // 20)
    if bins:
        assert sum(b.n for b in bins) == len(replies)
        assert sum(b.correct for b in bins) == sum(correct for _, correct in replies)
        assert max(b.n for b in bins) - min(b.n for b in bins) <= 1
        assert all(b.least <= b.most and b.accuracy == pytest.approx(b.correct / b.n) for b in bins)
        assert all(one.most <= other.least for one, other in itertools.pairwise(bins))
        assert bins[-1].most == pytest.approx(math.exp(-min(logprob for logprob, _ in replies)))


def test_who_is_sure_and_right_has_its_correct_replies_in_the_first_bins():
    bins = group_by_perplexity([(-0.01 * i, i < 30) for i in range(60)])
    assert [(b.n, b.correct) for b in bins] == [(20, 20), (20, 10), (20, 0)]
    assert group_by_perplexity([(-1e6, True)] * 20)[0].most < math.inf, "a sum that somebody recorded for a mean"


def test_many_samples_are_voted_on_by_seeded_subsets_that_repeat():
    samples = [solution("7" if i % 3 else "1", i) for i in range(30)]
    correct = find_correct({"p": PROBLEM}, {"p": samples})
    first, again = (votes_by_k({"p": samples}, correct, weighted=False, seed=0) for _ in range(2))
    assert first == again
    assert first[-1] == 1.0
    assert first[0] == pytest.approx(20 / 30)
    assert 0.7 < first[4] < 1.0


def test_what_guessing_and_a_constant_answer_get():
    options = [Problem("a", "?", "option", "A", choices=("x", "y")), Problem("b", "?", "option", "B", choices=("x", "y", "z", "w"))]
    assert chance_rate(options) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert chance_rate([Problem("c", "?", "yes_no", "yes")]) == 0.5
    assert chance_rate([PROBLEM]) == 0.0
    answers = [Problem(str(i), "?", "yes_no", "yes" if i < 3 else "no") for i in range(5)]
    assert majority_rate(answers) == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("golds", "rate"),
    [
        (["Paris", "paris", "the Paris", "London", "London", "Rome"], 1 / 2),
        (["0.333", "0.333", "1/3", "1/3", "1/3", "5"], 5 / 6),
        (["Rome", "NYC", "The Big Apple", "New York"], 3 / 4),
    ],
    ids=["forms of a text", "forms of a number", "accepted"],
)
def test_the_best_constant_answer_is_the_best_in_whatever_form_and_order_it_is_written(golds, rate):
    kind = "text" if golds[0].isalpha() else "number"
    accepted = ("New York",)
    problems = [
        Problem(str(i), "?", kind, gold, accepted if gold in ("NYC", "The Big Apple") else ()) for i, gold in enumerate(golds)
    ]
    assert majority_rate(problems) == majority_rate(problems[::-1]) == pytest.approx(rate)
