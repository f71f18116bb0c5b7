"""Checks that compare a chain with the others of its problem: the majority's answer, the teacher's log-probabilities."""

from dataclasses import replace

import pytest

from understudy.checks.judge import AmongOthers, judge, judge_all
from understudy.checks.likelihood import likelihood
from understudy.checks.majority import majority
from understudy.core.values import Chain, Outcome, Problem, Verdict

UNKNOWN = Problem("p", "How many?", "number")
GOLD = replace(UNKNOWN, answer="8")


def chains(*answers):
    """A chain for each answer; None states none."""
    return [Chain("p", path, f"text {path}", "r", answer, "marker" if answer else "", "t") for path, answer in enumerate(answers)]


def outcomes(verdicts):
    return "".join(verdict.outcome.value[0] for verdict in verdicts)


@pytest.mark.parametrize("problem", [UNKNOWN, GOLD])
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (("7", "8", "7"), "cwc"),
        (("7", "8", None, "7", "9"), "cwucw"),
        (("7", "7"), "cc"),
        (("7", "8"), "uu"),
        (("7", "8", "8", "7", "9"), "uuuuu"),
        (("7",), "u"),
        ((None, None), "uu"),
        (("the Nile", "Nile", "Rhine"), "ccw"),
    ],
)
def test_a_chain_agrees_with_the_answer_that_comes_most_often_whatever_the_gold(problem, answers, said):
    verdicts = judge_all(problem, chains(*answers), majority, "majority")
    assert outcomes(verdicts) == said
    assert [verdict.outcome is Outcome.UNPARSED for verdict in verdicts] == [answer is None for answer in answers]
    assert {verdict.check for verdict in verdicts} == {"majority"}


def test_a_chain_that_was_cut_off_has_no_vote_and_is_truncated():
    one, other, *rest = chains("7", "7", "8")
    verdicts = judge_all(UNKNOWN, [replace(one, finish="length"), other, *rest], majority)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.TRUNCATED, Outcome.UNDECIDABLE, Outcome.UNDECIDABLE]
    assert verdicts[1].detail == "no majority: '7' 1, '8' 1"


@pytest.mark.parametrize(
    ("logprobs", "said"),
    [
        ((-0.5, -0.2, -0.9, -0.3), "ccwc"),
        ((-0.5, -0.2, -0.9, -0.3, -0.8, -0.1, -0.1, -0.1), "ccwcwccc"),
        ((-0.5, -0.5, -0.5, -0.5), "cccc"),
        ((-0.5, -0.2, -0.9), "uuu"),
        ((-0.5, -0.2, None, -0.9, -0.3), "ccuwc"),
    ],
)
def test_the_least_likely_quarter_of_a_problems_chains_is_wrong(logprobs, said):
    given = [replace(chain, logprob=logprob) for chain, logprob in zip(chains(*["7"] * len(logprobs)), logprobs, strict=True)]
    assert outcomes(judge_all(GOLD, given, likelihood)) == said


def test_a_check_of_ones_own_may_compare_chains_and_an_ordinary_one_sees_them_one_by_one():
    @AmongOthers
    def longest(problem, chains):
        most = max(len(chain.text) for chain in chains)
        return lambda _, chain: Verdict("", Outcome.CORRECT if len(chain.text) == most else Outcome.WRONG)

    given = [replace(chain, text="x" * n) for chain, n in zip(chains("7", "7", "7"), (2, 5, 3), strict=True)]
    assert outcomes(judge_all(GOLD, given, longest)) == "wcw"
    assert outcomes(judge_all(GOLD, given, lambda problem, chain: Verdict("", Outcome.WRONG))) == "www"
    assert judge(GOLD, given[0], longest).outcome is Outcome.CORRECT, "alone it is the longest"
