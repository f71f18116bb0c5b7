"""Whether an answer is right: one function for chains, checkpoints and students, and who decides what."""

from dataclasses import replace

import pytest

from understudy.checks.answer import check, outcome, same
from understudy.core.errors import StudyError
from understudy.core.values import Chain, Outcome, Problem, Solution
from understudy.evaluation.metrics import any_correct_by_k, majority_rate, votes_by_k
from understudy.evaluation.outcomes import outcome_of, outcome_of_vote

PROBLEM = Problem("p", "Make 24 from 4 6.", "expression", "24", accepted=("25",))


def even(problem, answer):
    """A check of one's own: any even number will do."""
    return Outcome.CORRECT if answer[-1] in "02468" else Outcome.WRONG


def chain(answer, finish="stop"):
    return Chain("p", 0, "t", "r", answer, "marker", "teacher", finish=finish)


def solution(answer, path=0, finish="stop"):
    return Solution("p", path, "t", answer, "marker", finish=finish)


@pytest.mark.parametrize("by", [same, even])
@pytest.mark.parametrize(("answer", "finish"), [("24", "stop"), ("7", "stop"), ("24", "length"), (None, "stop"), ("25", "stop")])
def test_a_chain_and_a_students_answer_are_judged_alike(by, answer, finish):
    assert check(PROBLEM, chain(answer, finish), by).outcome is outcome_of(PROBLEM, solution(answer, finish=finish), by)


def test_without_gold_without_answer_and_cut_off_no_check_is_asked():
    def never(problem, answer):
        raise AssertionError("asked")

    assert outcome(Problem("p", "?", "number"), "4", never) is Outcome.NO_GOLD
    assert outcome(PROBLEM, None, never) is Outcome.UNPARSED
    assert check(PROBLEM, chain("24", "length"), never).outcome is Outcome.TRUNCATED
    assert check(PROBLEM, chain("24", "refused"), never).outcome is Outcome.REFUSED
    assert outcome_of(PROBLEM, solution("24", finish="length"), never) is Outcome.TRUNCATED


@pytest.mark.parametrize("text", ["<think>2 + 3", "<think>2 + 3</think>", "2 + 3\n</think>\n\n"])
def test_a_chain_that_thinks_and_does_not_answer_is_neither_cut_off_nor_unparsed(text):
    for finish in ("stop", "length"):
        silent = Chain("p", 0, text, "r", None, "", "teacher", finish=finish)
        assert check(PROBLEM, silent).outcome is Outcome.ONLY_THOUGHT
        assert check(PROBLEM, replace(silent, text=text + "</think> five")).outcome is not Outcome.ONLY_THOUGHT
    assert check(PROBLEM, replace(silent, finish="refused")).outcome is Outcome.REFUSED


@pytest.mark.parametrize("said", [True, "correct", None, Outcome.TRUNCATED])
def test_a_check_that_says_anything_else_is_an_error_and_no_score(said):
    with pytest.raises(StudyError, match=r"says .* of the answer '24' to problem 'p'"):
        outcome(PROBLEM, "24", lambda problem, answer: said)


def test_a_verdict_names_its_check_and_says_what_it_saw():
    verdict = check(PROBLEM, chain("7"), even, "even")
    assert (verdict.check, verdict.outcome, verdict.detail) == ("even", Outcome.WRONG, "answer '7' (marker), gold '24' or '25'")


def test_votes_and_constant_answers_are_judged_by_the_same_check():
    samples = [solution("8", 0), solution("8", 1), solution("7", 2)]
    assert outcome_of_vote(PROBLEM, samples, weighted=False, by=even) is Outcome.CORRECT
    assert outcome_of_vote(PROBLEM, samples, weighted=False) is Outcome.WRONG
    assert votes_by_k({"p": PROBLEM}, {"p": samples}, weighted=False, seed=0, by=even)[2] == 1.0
    assert any_correct_by_k({"p": PROBLEM}, {"p": samples}, by=even)[2] == 1.0
    assert any_correct_by_k({"p": PROBLEM}, {"p": samples}) == [0.0, 0.0, 0.0]
    odd = Problem("q", "?", "expression", "23")
    assert majority_rate([odd, odd]) == 1.0
    assert majority_rate([odd, odd], even) == 0.0
