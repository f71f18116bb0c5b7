"""What a check says of a chain: one function for chains, checkpoints and students, and who decides what."""

from dataclasses import replace

import pytest

from understudy.checks.answer import same_answer
from understudy.checks.judge import by_answer, judge
from understudy.core.errors import StudyError
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict
from understudy.evaluation.metrics import any_correct_by_k, find_correct, judge_answer, judge_solution, majority_rate, votes_by_k

PROBLEM = Problem("p", "Make 24 from 4 6.", "expression", "24", accepted=("25",))


@by_answer
def even(problem, answer):
    """A check of one's own: any even number will do."""
    return Outcome.CORRECT if answer[-1] in "02468" else Outcome.WRONG


def short(problem, chain):
    """A check that looks at more than the answer."""
    return Verdict(chain.id, Outcome.CORRECT if len(chain.text) < 5 else Outcome.WRONG, f"{len(chain.text)} letters")


def chain(answer, finish="stop", text="t"):
    return Chain("p", 0, text, "r", answer, "marker", "teacher", finish=finish)


def solution(answer, path=0, finish="stop", text="t"):
    return Solution("p", path, text, answer, "marker", finish=finish)


@pytest.mark.parametrize("check", [same_answer, even, short])
@pytest.mark.parametrize(("answer", "finish"), [("24", "stop"), ("7", "stop"), ("24", "length"), (None, "stop"), ("25", "stop")])
def test_a_chain_and_a_students_answer_are_judged_alike(check, answer, finish):
    verdict = judge(PROBLEM, chain(answer, finish), check, "mine")
    assert verdict.outcome is judge_solution(PROBLEM, solution(answer, finish=finish), check)


def test_the_answer_check_takes_the_gold_answer_and_the_accepted_ones():
    outcomes = {answer: judge(PROBLEM, chain(answer), same_answer, "answer").outcome for answer in ("24", "25", "7", None)}
    assert outcomes == {"24": Outcome.CORRECT, "25": Outcome.CORRECT, "7": Outcome.WRONG, None: Outcome.UNPARSED}


def test_a_refused_or_cut_off_chain_is_never_correct_whatever_a_check_would_say():
    for finish, outcome in (("length", Outcome.TRUNCATED), ("refused", Outcome.REFUSED)):
        assert judge(PROBLEM, chain("24", finish), short, "short").outcome is outcome
    assert judge_solution(PROBLEM, solution("24", finish="length"), short) is Outcome.TRUNCATED
    assert judge_solution(PROBLEM, solution("24", finish="refused"), short) is Outcome.UNPARSED


def test_a_check_of_answers_is_asked_neither_without_gold_nor_without_an_answer():
    @by_answer
    def never(problem, answer):
        raise AssertionError("asked")

    assert judge(Problem("p", "?", "number"), chain("4"), never, "never").outcome is Outcome.NO_GOLD
    assert judge(PROBLEM, chain(None), never, "never").outcome is Outcome.UNPARSED


def test_a_chain_that_says_that_there_is_no_answer_is_abstained():
    silent = Chain("p", 0, "It cannot be determined.", "r", None, "abstained", "teacher")
    assert judge(PROBLEM, silent, same_answer, "a").outcome is Outcome.ABSTAINED


@pytest.mark.parametrize("text", ["<think>2 + 3", "<think>2 + 3</think>", "2 + 3\n</think>\n\n"])
def test_a_chain_that_thinks_and_does_not_answer_is_neither_cut_off_nor_unparsed(text):
    for finish in ("stop", "length"):
        silent = Chain("p", 0, text, "r", None, "", "teacher", finish=finish)
        assert judge(PROBLEM, silent, short, "short").outcome is Outcome.ONLY_THOUGHT
        assert judge(PROBLEM, replace(silent, text=text + "</think> five"), same_answer, "a").outcome is not Outcome.ONLY_THOUGHT
    assert judge(PROBLEM, replace(silent, finish="refused"), same_answer, "a").outcome is Outcome.REFUSED
    assert judge_solution(PROBLEM, solution(None, text=text)) is Outcome.UNPARSED


@pytest.mark.parametrize("said", [True, "correct", None, Outcome.TRUNCATED])
def test_a_check_of_answers_that_says_anything_but_an_outcome_of_answers_is_an_error_and_no_score(said):
    with pytest.raises(StudyError, match=r"its verdict on problem 'p' is .*; it must be one of Outcome\.CORRECT, "):
        judge(PROBLEM, chain("24"), by_answer(lambda problem, answer: said), "mine")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Outcome.CORRECT, "check 'mine': it returned .*; a check takes .problem, chain. and returns a Verdict"),
        (None, "check 'mine': it returned None for problem 'p'"),
        (Verdict("", Outcome.REFUSED), "check 'mine': its verdict on problem 'p' is .*REFUSED"),
        (Verdict("", Outcome.NO_GOLD), "check 'mine': its verdict on problem 'p' is .*NO_GOLD"),
    ],
)
def test_a_check_that_gives_no_verdict_or_one_that_is_not_its_to_give_is_an_error(said, message):
    with pytest.raises(StudyError, match=message):
        judge(PROBLEM, chain("24"), lambda problem, chain: said, "mine")


def test_a_verdict_names_its_check_and_its_chain_and_says_what_it_saw():
    one = chain("7")
    verdict = judge(PROBLEM, one, even, "even")
    assert verdict == Verdict(one.id, Outcome.WRONG, "answer '7' (marker), gold '24' or '25'", "even")
    assert judge(PROBLEM, one, lambda problem, chain: Verdict("?", Outcome.CORRECT, "fine", "?"), "mine") == Verdict(
        one.id, Outcome.CORRECT, "fine", "mine"
    )


def test_votes_and_constant_answers_are_judged_by_the_same_check():
    samples = [solution("8", 0), solution("8", 1), solution("7", 2)]
    assert judge_answer(PROBLEM, samples, weighted=False, check=even) is Outcome.CORRECT
    assert judge_answer(PROBLEM, samples, weighted=False) is Outcome.WRONG
    correct = find_correct({"p": PROBLEM}, {"p": samples}, even)
    assert votes_by_k({"p": samples}, correct, weighted=False, seed=0)[2] == 1.0
    assert any_correct_by_k({"p": samples}, correct)[2] == 1.0
    assert any_correct_by_k({"p": samples}, find_correct({"p": PROBLEM}, {"p": samples})) == [0.0, 0.0, 0.0]
    odd = Problem("q", "?", "expression", "23")
    assert majority_rate([odd, odd]) == 1.0
    assert majority_rate([odd, odd], even) == 0.0


def test_a_vote_is_judged_as_the_first_of_its_voters_with_the_answer_that_won():
    samples = [solution("7", 0), solution("8", 1, "length"), solution("8", 2, text="longer"), solution("8", 3)]
    assert judge_answer(PROBLEM, samples, weighted=False, check=short) is Outcome.WRONG
    assert votes_by_k({"p": samples}, find_correct({"p": PROBLEM}, {"p": samples}, short), weighted=False, seed=0)[3] == 0.0
    first_is_short = [samples[0], replace(samples[2], text="t"), replace(samples[3], text="longer")]
    assert judge_answer(PROBLEM, first_is_short, weighted=False, check=short) is Outcome.CORRECT
