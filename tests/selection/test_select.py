"""What an arm is shown of the teacher's chains, with every chain accounted for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.errors import DataError
from understudy.core.values import Chain, Outcome, Problem
from understudy.selection.select import Selection, select


def chain(problem, path, text="t"):
    return Chain(problem, path, f"{text} {path}", "r", "5", "marker", "teacher")


OUTCOMES = st.sampled_from([Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED, Outcome.TRUNCATED, Outcome.NO_GOLD])
CORPUS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), OUTCOMES), unique_by=lambda t: t[:2], max_size=20)


@given(CORPUS, st.sampled_from(["correct", "all", "wrong"]), st.none() | st.integers(1, 3), st.sampled_from(["first", "random"]))
def test_kept_and_dropped_add_up_and_limits_hold(corpus, keep, per_problem, choose):
    chains = [chain(p, path) for p, path, _ in corpus]
    outcomes = {c.id: outcome for c, (_, _, outcome) in zip(chains, corpus, strict=True)}
    options = Selection(keep, per_problem=per_problem, choose=choose if per_problem else "first")
    selected, counts = select(chains, outcomes, options, seed=0)
    assert len(selected) + sum(counts.dropped.values()) == len(chains)
    if keep != "all":
        assert all(outcomes[c.id].value == keep for c in selected)
    assert not any(outcomes[c.id] in (Outcome.UNPARSED, Outcome.TRUNCATED) for c in selected)
    for name in "abc":
        kept = [c.path for c in selected if c.problem == name]
        assert per_problem is None or len(kept) <= per_problem
        if per_problem and choose == "first":
            free, _ = select(chains, outcomes, Selection(keep), seed=0)
            assert sorted(kept) == sorted(c.path for c in free if c.problem == name)[:per_problem]


def test_a_random_choice_depends_on_the_problem_and_not_on_the_others():
    chains = [chain(p, i) for p in "abc" for i in range(8)]
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    options = Selection(per_problem=2, choose="random")
    whole, _ = select(chains, outcomes, options, seed=1)
    part, _ = select(chains[8:], outcomes, options, seed=1)
    assert [c for c in whole if c.problem != "a"] == list(part)


def test_equal_texts_are_dropped_on_request():
    chains = [Chain("p", i, "same", "r", "5", "marker", "t") for i in range(3)]
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    assert len(select(chains, outcomes, Selection(), seed=0)[0]) == 3
    assert select(chains, outcomes, Selection(dedup=True), seed=0)[1].dropped == {"duplicate": 2}


@pytest.mark.parametrize(
    ("answer", "finish", "outcome"),
    [
        ("5", "stop", "correct"),
        ("6", "stop", "wrong"),
        (None, "stop", "unparsed"),
        ("5", "length", "truncated"),
        ("5", "refused", "refused"),
    ],
)
def test_the_answer_check(answer, finish, outcome):
    verdict = judge(Problem("p", "?", "number", "5"), Chain("p", 0, "t", "r", answer, "marker", "t", finish=finish), same_answer)
    assert verdict.outcome.value == outcome
    assert judge(Problem("p", "?", "number"), Chain("p", 0, "t", "r", "5", "marker", "t"), same_answer).outcome is Outcome.NO_GOLD


def test_chains_that_the_format_cannot_write_are_dropped_by_reason_before_some_are_chosen():
    chains = [chain("a", path) for path in range(4)]
    outcomes = {c.id: Outcome.WRONG if i == 0 else Outcome.CORRECT for i, c in enumerate(chains)}
    unfit = {chains[0].id: "no equation", chains[1].id: "no equation"}
    selected, counts = select(chains, outcomes, Selection(per_problem=1), seed=0, unfit=unfit)
    assert selected == [chains[2]]
    assert counts.dropped == {"wrong": 1, "no equation": 1, "more than 1 per problem": 1}


def test_chains_of_problems_that_are_not_learned_from_are_left_out_whatever_they_are_and_counted():
    chains = [chain(p, path) for p in "abc" for path in range(2)]
    outcomes = {c.id: Outcome.WRONG if c.path else Outcome.CORRECT for c in chains}
    selected, counts = select(chains, outcomes, Selection(), seed=0, learned={"a", "c"})
    assert [c.problem for c in selected] == ["a", "c"]
    assert counts.dropped == {"wrong": 2, "not in the fraction": 2}
    assert (counts.chains, counts.kept, counts.problems, counts.covered) == (6, 2, 2, 2)


def corpus(*outcomes):
    """Chains of problem p with these outcomes, on paths 0, 1, ..., given in another order."""
    pairs = [(chain("p", path), outcome) for path, outcome in enumerate(outcomes)][::-1]
    return [c for c, _ in pairs], {c.id: outcome for c, outcome in pairs}


@pytest.mark.parametrize(
    ("name", "options", "paths"),
    [
        ("one_correct_path", Selection("correct", per_problem=1), [1]),
        ("all_correct_paths", Selection("correct"), [1, 3]),
        ("wrong_ones", Selection("wrong"), [0, 2]),
        ("POOL_THRESHOLD 0", Selection("all"), [0, 1, 2, 3]),
    ],
)
def test_the_strategies_of_scotds_code(name, options, paths):
    chains, outcomes = corpus(Outcome.WRONG, Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.UNPARSED)
    assert sorted(c.path for c in select(chains, outcomes, options, seed=0)[0]) == paths, name


@given(st.lists(st.sampled_from([-0.1, -0.5, -2.0]), min_size=1, max_size=8), st.integers(1, 8))
def test_the_likeliest_chains_are_those_of_the_highest_mean_log_probability_and_of_equals_the_first(logprobs, k):
    chains = [replace(chain("p", path), logprob=logprob) for path, logprob in enumerate(logprobs)]
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    kept, _ = select(chains, outcomes, Selection(per_problem=k, choose="likeliest"), seed=0)
    best = sorted(range(len(logprobs)), key=lambda path: (-logprobs[path], path))[:k]
    assert [c.path for c in kept] == sorted(best)


def test_a_chain_without_log_probability_cannot_be_among_the_likeliest_but_one_that_is_dropped_anyway_may_be_so():
    chains, outcomes = corpus(Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT)
    chains = [c if c.path == 1 else replace(c, logprob=-1.0) for c in chains]
    options = Selection(per_problem=1, choose="likeliest")
    assert [c.path for c in select(chains, outcomes, options, seed=0)[0]] == [0]
    with pytest.raises(DataError, match=r"""choose = "likeliest": the chain of problem 'p', path 1, by 'teacher' has no"""):
        select(chains, outcomes, replace(options, keep="all"), seed=0)


def test_choosing_needs_a_number():
    for choose in ("random", "likeliest"):
        with pytest.raises(ValueError, match=f'choose = "{choose}": needs per_problem'):
            Selection(choose=choose)


def test_the_first_samples_alone_are_what_a_teacher_would_have_written_who_was_asked_for_fewer():
    chains = [chain("p", i) for i in range(4)]
    outcomes = {c.id: Outcome.CORRECT if c.path in (1, 3) else Outcome.WRONG for c in chains}
    of_two, counts = select(chains, outcomes, Selection(samples=2), seed=0)
    assert ([c.path for c in of_two], counts.dropped) == ([1], {"not among the first 2 samples": 2, "wrong": 1})
    one_sampled, _ = select(chains, outcomes, Selection("all", samples=1), seed=0)
    first_right, _ = select(chains, outcomes, Selection("correct", per_problem=1), seed=0)
    assert ([c.path for c in one_sampled], [c.path for c in first_right]) == ([0], [1])
