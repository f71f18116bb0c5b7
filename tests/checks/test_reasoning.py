"""Checks of the reasoning itself: calculations, an answer that is stated too early, circles."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.checks.answer import same_answer
from understudy.checks.arithmetic import arithmetic, find_calculations
from understudy.checks.form import form
from understudy.checks.judged import judged
from understudy.checks.leak import leak
from understudy.checks.likelihood import likelihood
from understudy.checks.majority import majority
from understudy.core.registry import CHECKS, find
from understudy.core.values import COMMA, Chain, Outcome, Problem, Step

COINS = Problem("p", "Ana has 4 coins and finds 3 in each of two boxes. How many has she?", "number", "10")
THINGS = Problem("q", "Which is red?", "option", "B", choices=("grass", "blood"))
GRASS = replace(THINGS, question="Which is green?", answer="A")


def chain(rationale, **more):
    return Chain(problem="p", path=0, text=rationale, rationale=rationale, answer="10", layer="marker", teacher="t", **more)


@pytest.mark.parametrize(
    ("rationale", "outcome", "detail"),
    [
        ("Two boxes have 2 x 3 = 6 coins. 4 + 6 = 10.", Outcome.CORRECT, "2 calculations hold"),
        ("2 * 3 = 6. Then 4 + 6 = 11 coins. 11 - 1 = 10.", Outcome.WRONG, "step 2 does not hold: Then 4 + 6 = 11 coins."),
        ("She has <<2*3=6>>6 coins, in all 4 + 6 = <<4+6=10>>10.", Outcome.CORRECT, "3 calculations hold"),
        ("She has <<2*3=7>>7 coins.", Outcome.WRONG, "step 1 does not hold"),
        ("4 plus 6 is 10.", Outcome.CORRECT, "1 calculation holds"),
        ("20% of 50 is 11 apples.", Outcome.WRONG, "step 1 does not hold"),
        ("20% of $50 is $10, and we multiply 60 by 4/5, which is 48.", Outcome.CORRECT, "1 calculation holds"),
        ("4 plus 6 makes 11.", Outcome.WRONG, "step 1 does not hold"),
        ("4 + 6 is 11.", Outcome.WRONG, "step 1 does not hold"),
        ("60 / 4 = 15 times $5.00, and 42 / 3 = 14 times 10 minutes.", Outcome.CORRECT, "2 calculations hold"),
        ("Each gives 4 plus 6 gives 10; $5 gives 5*100 = 500 cents, 25 makes 25/5 = 5.", Outcome.CORRECT, "3 calculations hold"),
        ("100 - 50 = 50%, 100/4 = 25%, 1/4 = 25%, 20% of 50 = 10.", Outcome.CORRECT, "4 calculations hold"),
        ("100 - 50 = 40%.", Outcome.WRONG, "step 1 does not hold"),
        ("7:50 + 30 minutes = 8:20.", Outcome.UNDECIDABLE, "no calculation"),
        ("A third is 2 / 3 = 0.67, 11/18 * 162 = 99.00000000000001.", Outcome.CORRECT, "2 calculations hold"),
        ("2 / 3 = 0.7, 2 / 3 = 0.68.", Outcome.WRONG, "step 1 does not hold"),
        ("15 / 4 = 3 with 3 left over, 15 / 4 = 3 with 3 remaining.", Outcome.CORRECT, "2 calculations hold"),
        ("15 / 4 = 3.", Outcome.WRONG, "step 1 does not hold"),
        ("Of 200 people 60% of 200 people = 0.6 * 200 = 120.", Outcome.CORRECT, "1 calculation holds"),
        ("In all 5 baskets = 5 * 20 = 100 balls; 50 minutes = 50/60 = 5/6 hours.", Outcome.CORRECT, "2 calculations hold"),
        ("x + $6 = $13 + $6 = $19, so 9 + 33 = 3x - x and 6/5 = 24/x.", Outcome.CORRECT, "1 calculation holds"),
        ("10 / 3 = 3.4.", Outcome.WRONG, "step 1 does not hold"),
        ("10 / 3 = 3.33, 20 / 3 = 6.66, 20 / 3 = 6.67, 1 / 8 = 0.13.", Outcome.CORRECT, "4 calculations hold"),
        (
            "9 + 33 = 3J - J. 20 = 12 + 2W. 32 = 1/2 * 8 * height. 68 = 28 + 8 * (players - 1).",
            Outcome.UNDECIDABLE,
            "no calculation",
        ),
        ("On Day 1 = 100 + 20 = 120.", Outcome.CORRECT, "1 calculation holds"),
        ("So 43 = 6 * 7 = 42.", Outcome.WRONG, "step 1 does not hold"),
        ("868 / 6 = 144 times (with 4 tickets left over).", Outcome.CORRECT, "1 calculation holds"),
        ("A Boeing 737-800 is 189 feet long.", Outcome.UNDECIDABLE, "no calculation"),
        ("There are 4 and there is 6 more, which is 10.", Outcome.UNDECIDABLE, "no calculation"),
        ("Of 3 boxes 2 are 5 wide.", Outcome.UNDECIDABLE, "no calculation"),
    ],
)
def test_calculations_hold_or_the_first_step_that_does_not_is_named(rationale, outcome, detail):
    verdict = arithmetic(COINS, chain(rationale))
    assert (verdict.outcome, detail in verdict.detail) == (outcome, True), verdict


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(-2, 2)), min_size=1, max_size=6))
def test_a_step_that_is_off_is_found_where_it_is(rows):
    found = find_calculations(COINS, chain("\n".join(f"{a} + {b} = {a + b + off}." for a, b, off in rows)))
    assert [(one.number, one.holds) for one in found] == [(number, not off) for number, (_, _, off) in enumerate(rows, 1)]


def test_calculations_with_a_decimal_comma_are_read_where_the_data_have_them():
    comma, said = replace(COINS, form=COMMA), "2 x 3,5 = 7 coins. 1,5 + 1.000 = 1.001,5."
    assert arithmetic(comma, chain(said)).detail == "2 calculations hold"
    assert arithmetic(comma, chain("2 x 3,5 = 6.")).outcome is Outcome.WRONG
    assert arithmetic(COINS, chain("3,5 + 2 = 5,5.")).outcome is Outcome.UNDECIDABLE, "5 + 2 is no part of it"


def test_the_steps_of_a_chain_with_sub_questions_are_its_answers():
    steps = (Step("2 * 3 = 6", question="How many in the boxes?"), Step("4 + 6 = 12", question="How many in all?"))
    assert "step 2 does not hold" in arithmetic(COINS, chain("", steps=steps)).detail


@pytest.mark.parametrize(
    ("problem", "rationale", "outcome"),
    [
        (COINS, "The answer is 10. There are 2 x 3 = 6 in the boxes. 4 and 6 are 10.", Outcome.WRONG),
        (COINS, "There are 2 x 3 = 6 in the boxes. 4 and 6 are 10. So the answer is 10.", Outcome.CORRECT),
        (COINS, "The answer is not 9. There are 6 in the boxes. That makes 10.", Outcome.CORRECT),
        (THINGS, "The answer is (b). Blood has iron. So it is red.", Outcome.WRONG),
        (COINS, "So she takes 10 coins out. Then 4 are left. In all 14.", Outcome.CORRECT),
        (COINS, "Q1: How many?\nA1: 10 are in the boxes.\nQ2: And now?\nA2: 12.", Outcome.CORRECT),
        (COINS, "#### 10. Six are in the boxes. 4 and 6 are 10.", Outcome.WRONG),
        (THINGS, "(b), since it has iron. Grass is green.", Outcome.WRONG),
        (GRASS, "(a) is green.\n(b) has iron.\nSo it is not blood. It is grass.", Outcome.CORRECT),  # looks at one after the other
        (GRASS, "(a), because it is green.\n(b) has iron.\nSo it is not blood. It is grass.", Outcome.WRONG),
        (THINGS, "(b), it has iron.\n(a) is green, so it cannot be.\nIt is blood. So it fits.", Outcome.WRONG),
        (THINGS, "If the answer is (b), then it has iron. Blood has it.", Outcome.CORRECT),
        (THINGS, "Grass is green. Blood has iron, so it is red.", Outcome.CORRECT),
        (COINS, "10, because she has 2 x 3 = 6 in the boxes. 4 and 6 are 10.", Outcome.WRONG),
        (COINS, "**10.0**\nSix are in the boxes. 4 and 6 are 10.", Outcome.WRONG),
        (COINS, "10, she said. Six are in the boxes.", Outcome.WRONG),
        (COINS, "10. In the boxes are 6. So 4 are left.", Outcome.CORRECT),  # the mark of a list
        (COINS, "10 coins are 6 and 4. So there are 10.", Outcome.CORRECT),
        (COINS, "10.", Outcome.UNDECIDABLE),
    ],
)
def test_an_answer_that_is_stated_before_the_reasoning_is_a_leak(problem, rationale, outcome):
    assert leak(problem, chain(rationale)).outcome is outcome


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ("How many does she have?", Outcome.CORRECT),
        ("Since she has 10, how many did she find?", Outcome.WRONG),
        ("Since that makes 10.0, how many did she find?", Outcome.WRONG),
        ("How many are in 1,000 boxes?", Outcome.CORRECT),
        ("If she has 10 in all, 4 of them from before, are there 6 in each box?", Outcome.WRONG),
    ],
)
def test_a_sub_question_that_knows_the_answer_is_a_leak_and_one_that_was_told_it_is_none(asked, outcome):
    last = "\nQ3: How many are 10 coins in words?\nA3: Ten."
    told = chain(f"Q1: How many are in the boxes?\nA1: 2 * 3 = 6.\nQ2: {asked}\nA2: 4 + 6 = 10.{last}")
    assert leak(COINS, told).outcome is outcome


@pytest.mark.parametrize(
    ("rationale", "outcome"),
    [
        ("There are 6 in the boxes. 4 and 6 are 10.", Outcome.CORRECT),
        ("So she has four coins and six coins more. " * 4, Outcome.WRONG),
        ("Yes. " * 6, Outcome.CORRECT),
        ("In each of the boxes there are then " * 5, Outcome.WRONG),
        ("There are " + "1 + " * 12 + "1 = 13 coins.", Outcome.CORRECT),
        ("So it is " + "not " * 40 + "true.", Outcome.WRONG),
        (
            " ".join(f"{who} flips the coin, so the coin is now heads up." for who in ("Ann", "Bob", "Cy", "Di", "Ed")),
            Outcome.CORRECT,
        ),
        (" \n", Outcome.WRONG),
    ],
)
def test_a_chain_without_reasoning_or_in_circles_is_not_well_formed(rationale, outcome):
    assert form(COINS, chain(rationale)).outcome is outcome


def test_they_are_found_by_name():
    assert [find("check", name) for name in CHECKS] == [same_answer, arithmetic, form, judged, leak, likelihood, majority]
