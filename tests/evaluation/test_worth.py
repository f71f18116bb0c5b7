"""What a corpus of chains is worth, by brute force over every subset."""

import itertools
from collections import Counter
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.values import Chain, Outcome, Problem
from understudy.evaluation.worth import CorpusMeter

PROBLEMS = {name: Problem(name, f"What is {name}?", "number", gold) for name, gold in (("a", "1"), ("b", "2"), ("c", None))}


def chain(problem, path, answer, text=None, **more):
    text = f"I say {answer}, at {path}." if text is None else text
    return Chain(problem, path, text, more.pop("rationale", "I say."), answer, "marker", "t", **more)


def measure_corpus(chains, problems, outcomes):
    meter = CorpusMeter()
    for name in dict.fromkeys(each.problem for each in chains):
        meter.add(problems[name], [(each, outcomes[each.id]) for each in chains if each.problem == name])
    return meter.read()


def measure(chains):
    outcomes = {}
    for each in chains:
        gold = PROBLEMS[each.problem].answer
        right = Outcome.CORRECT if each.answer == gold else Outcome.WRONG
        outcomes[each.id] = Outcome.NO_GOLD if gold is None else Outcome.UNPARSED if each.answer is None else right
    return measure_corpus(chains, PROBLEMS, outcomes)


def wins(answers, gold):
    votes = Counter(answer for answer in answers if answer is not None)
    first = [answer for answer, n in votes.items() if n == max(votes.values())]
    return first.count(gold) / max(1, len(first))


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=6), st.lists(st.sampled_from(["1", "2"]), max_size=4))
@settings(max_examples=60)
def test_votes_are_means_over_every_subset_of_the_problems_that_have_so_many_chains(first, second):
    drawn = {"a": first} | ({"b": second} if second else {})
    worth = measure([chain(name, path, answer) for name, answers in drawn.items() for path, answer in enumerate(answers)])
    assert [k for k, *_ in worth.at_k] == list(range(1, max(map(len, drawn.values())) + 1))
    for k, n, maj, some in worth.at_k:
        enough = {name: answers for name, answers in drawn.items() if len(answers) >= k}
        every = {name: list(itertools.combinations(answers, k)) for name, answers in enough.items()}
        assert n == len(enough)
        assert maj == pytest.approx(fmean(fmean(wins(s, PROBLEMS[name].answer) for s in sets) for name, sets in every.items()))
        assert some == pytest.approx(fmean(fmean(PROBLEMS[name].answer in s for s in sets) for name, sets in every.items()))
    assert worth.accuracy == pytest.approx(worth.at_k[0][3]) or len(drawn) > 1


def test_copies_near_copies_and_chains_without_a_rationale_are_counted():
    texts = ["One and one.  So: 1", "One and one. So: 1", "one and one so 1", "Another way. So: 1", "Another way. So: 1"]
    chains = [chain("a", path, "1", text, rationale="" if path == 3 else "x", tokens=10 * path) for path, text in enumerate(texts)]
    worth = measure([*chains, chain("b", 0, "2", tokens=100)])
    assert (worth.chains, worth.problems, worth.distinct, worth.different) == (6, 2, 2.5, 1.5)
    assert (worth.without_rationale, worth.unit, worth.lengths) == (1, "tokens", (0, 10, 20, 30, 40, 100))
    assert "2.5 without copies, 1.5 without near copies, of 3.0" in worth.describe()["effective chains per problem"]
    assert measure([chain("a", 0, "1", "three words here")]).unit == "words"


def test_a_person_is_shown_where_to_look_first():
    chains = [chain("a", path, "7") for path in range(3)] + [chain("b", path, None, "no idea", rationale="") for path in range(2)]
    assert measure(chains).look == (
        "2 of 5 chains are unparsed",
        "2 of 5 chains are without a rationale",
        "1 gold answers that every chain contradicts: a (all say '7', gold '1')",
        "1 problem without a right chain: b",
        "1 problem whose chains have no answer: b",
        "1 problem whose chains have no rationale: b",
        "1 problem whose chains are all near copies: b",
    )
    assert measure([chain("c", 0, "5")]).describe()["accuracy of the chains"] == "no gold"
    assert measure([chain("a", 0, "1"), chain("a", 1, "1")]).describe()["look first at"] == "nothing stands out"


def test_a_reply_that_was_cut_off_does_not_vote():
    worth = measure([chain("a", 0, "7", finish="length"), chain("a", 1, "7", finish="length"), chain("a", 2, "1")])
    assert worth.at_k[2][2:] == (1.0, 1.0)


def test_the_order_of_the_chains_decides_no_vote_and_equal_texts_are_one_answer():
    problem = {"a": Problem("a", "Which river?", "text", "Nile")}
    chains = [chain("a", path, answer) for path, answer in enumerate(["the Nile", "Nile", "Rhine", "Rhine"])]
    outcomes = {each.id: Outcome.WRONG if each.answer == "Rhine" else Outcome.CORRECT for each in chains}
    for order in (chains, chains[::-1]):
        assert [maj for _, _, maj, _ in measure_corpus(order, problem, outcomes).at_k] == [0.5] * 4


def test_a_share_of_chains_that_teach_nothing_is_named_from_a_twentieth_on():
    chains = [chain("a", i, None if i < 2 else "1", rationale=" " if i == 3 else "I say.") for i in range(40)]
    assert measure(chains).look == ("2 of 40 chains are unparsed",)
    more = [*chains, chain("a", 40, "1", rationale=""), chain("a", 41, None)]
    assert measure([]).look == ()
    assert measure(more).look == ("3 of 42 chains are unparsed",)
    assert measure([chain("a", i, "3") for i in range(40)]).look == (
        "1 gold answers that every chain contradicts: a (all say '3', gold '1')",
    )


def test_of_many_chains_every_k_is_told_by_random_orders_and_all_of_them_exactly():
    answers = ["1"] * 6 + ["2"] * 5 + ["3"] * 3
    at_k = {k: maj for k, _, maj, _ in measure([chain("a", i, answer) for i, answer in enumerate(answers)]).at_k}
    assert list(at_k) == list(range(1, 15))
    assert at_k[14] == 1
    for k in (1, 2, 3):
        exact = fmean(wins(subset, "1") for subset in itertools.combinations(answers, k))
        assert at_k[k] == pytest.approx(exact, abs=0.12)


def test_greedy_chains_have_an_accuracy_of_their_own_and_count_in_nothing_else():
    sampled = [chain("a", 0, "1"), chain("a", 1, "7"), chain("c", 0, "5")]
    greedy = [chain("a", -1, "1", rationale=""), chain("b", -1, "7"), chain("c", -1, "5")]
    worth = measure([*sampled, *greedy])
    assert worth.greedy == (1, 2), "of the two with gold"
    assert worth.describe()["accuracy of the greedy chains"] == "50.0% of 2"
    assert (worth.chains, worth.accuracy, worth.without_rationale, worth.at_k) == (3, 0.5, 0, measure(sampled).at_k)
    assert "accuracy of the greedy chains" not in measure(sampled).describe()
