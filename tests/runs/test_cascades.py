"""A cascade of recorded answers: the student where its votes agree, else the teacher."""

import dataclasses
from types import SimpleNamespace

import pytest

from understudy.core.values import Outcome, Solution
from understudy.core.vote import vote
from understudy.runs.cascades import trace_cascades
from understudy.runs.run import ArmOutcomes
from understudy.studies.options import Arm, Decode

RIGHT, WRONG = Outcome.CORRECT, Outcome.WRONG


def answers(arm, outcomes, votes, tokens=10):
    """What ``arm`` says: outcomes, and the answers of its votes, by problem."""
    solutions = {
        name: [Solution(name, i, "", answer, "marker", tokens=tokens, prompt_tokens=1) for i, answer in enumerate(said)]
        for name, said in votes.items()
    }
    return ArmOutcomes(arm, "test", 0, solutions, outcomes, None, None)


def trace(*seeds, teachers=None):
    votes = Arm(name="votes", method="scotd", decode=Decode(votes=4, temperature=0.7))
    arms = [votes, Arm(name="large", method="few_shot", model="teacher"), Arm(name="greedy", method="scotd")]
    run = SimpleNamespace(study=SimpleNamespace(arms=arms), arms={arm.name: arm for arm in arms})
    scored = {(arm.name, "test"): [seed[i] for seed in seeds] for i, arm in enumerate(arms)}
    scored["large", "test"] = scored["large", "test"][:teachers]
    return list(trace_cascades(run, scored))


def seed(teacher):
    own = {"sure": RIGHT, "split": WRONG, "torn": WRONG, "other": RIGHT}
    votes = {"sure": "4444", "split": "1112", "torn": "1122", "other": "5555"}
    greedy = answers("greedy", own, {name: said[0] for name, said in votes.items()})
    return answers("votes", own, votes), answers("large", teacher, dict.fromkeys(teacher, "7"), tokens=99), greedy


def test_the_teacher_answers_where_fewer_votes_agree_and_costs_its_tokens():
    (cascade,) = trace(seed({"sure": WRONG, "split": RIGHT, "torn": RIGHT, "other": RIGHT}))
    assert (cascade.arm, cascade.teacher, cascade.split, cascade.n) == ("votes", "large", "test", 4)
    by_share = dict(zip(cascade.agreement, zip(cascade.asked, cascade.accuracy, cascade.tokens, strict=True), strict=True))
    assert by_share[0.0] == by_share[0.5] == (0.0, 0.5, 0.0)
    assert by_share[0.75] == (0.25, 0.75, 25.0)
    assert by_share[1.0] == (0.5, 1.0, 50.0)
    assert cascade.own == 44.0


def test_a_vote_that_said_nothing_does_not_agree():
    student, teacher, greedy = seed({"sure": RIGHT})
    (said,) = (dataclasses.replace(s, answer=None) for s in student.solutions["sure"][:1])
    student.solutions["sure"][:3] = [said] * 3
    (cascade,) = trace((student, teacher, greedy))
    assert dict(zip(cascade.agreement, cascade.asked, strict=True))[0.3] == 1.0


@pytest.mark.parametrize(("votes", "of"), [(13, 26), (7, 10), (3, 7)])
def test_a_share_that_is_just_enough_is_enough(votes, of):
    said = [Solution("p", i, "", "4" if i < votes else None if i % 3 else "5", "marker") for i in range(of)]
    assert vote(said).share >= round(votes / of, 9)


def test_problems_that_one_of_them_did_not_answer_are_left_out_and_seeds_are_averaged():
    (cascade,) = trace(seed({"sure": WRONG, "torn": RIGHT}), seed({"sure": WRONG, "torn": WRONG}))
    assert cascade.n == 4
    assert (cascade.asked[-1], cascade.accuracy[-1]) == (0.5, pytest.approx(0.75))


def test_students_of_several_seeds_have_one_teacher():
    (cascade,) = trace(seed({"sure": WRONG, "torn": RIGHT}), seed({"sure": WRONG, "torn": WRONG}), teachers=1)
    assert (cascade.n, cascade.asked[-1], cascade.accuracy[-1]) == (4, 0.5, 1.0)


def test_where_no_problem_was_answered_by_both_there_is_no_cascade():
    assert trace(seed({"another": RIGHT})) == []
