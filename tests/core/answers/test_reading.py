"""How answers are read: what is found, by which layer, and what is left alone."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.answers import extract, normalise

KINDS = ("option", "yes_no", "number", "date", "text", "expression")
SHOW = ("show", "hide", "a dog")
COIN = "A coin is heads up. Ana flips the coin. Is the coin still heads up?"


@pytest.mark.parametrize(
    ("text", "value", "layer"),
    [
        ("She has 2 + 3 = 5. So the answer is: 5", "5", "marker"),
        ("The answer is 7. No, wait. The answer is 8.", "8", "marker"),
        ("Answer: $1,650.50 per year", "1650.5", "marker"),
        ("**Final Answer:** -3", "-3", "marker"),
        ("Therefore, the final answer is 45%.", "45", "marker"),
        ("The answer is 5/12.", "5/12", "marker"),
        ("The answer is 1 1/2 cups.", "1.5", "marker"),
        ("Thus x = 4, and \\boxed{\\frac{3}{4}} is it.", "0.75", "boxed"),
        ("Some steps.\n#### 1,234", "1234", "hashes"),
        ("First this --> 12", "12", "arrow"),
        ("They have 3 + 4 = <<3+4=7>>7 bolts.\nA: 7", "7", "label"),
        ("<think>The answer is 3.</think>The answer is 4.", "4", "marker"),
        ("So 37 + 10 = 47 apples are left.", "47", "conclusion"),
        ("It takes two hundred and four steps. The answer is two hundred and four.", "204", "marker"),
        ("Answer: Kylar needs to pay 64 dollars for 16 glasses.", "64", "marker"),
        ("The answer is 12.\n\nQ: What is 3 + 4?\nA: The answer is 7.", "12", "marker"),
        (
            "Q1. How many red?\nThere are 7.\nQ2. And green?\nThere are 2.\nFinal Answer: How many?\n7 + 2 = 9. The answer is 9.",
            "9",
            "marker",
        ),
    ],
)
def test_numbers(text, value, layer):
    question = "The price of 16 glasses: how many dollars?"
    found = extract(text, "number", question=question)
    assert (found.value, found.layer, found.status) == (value, layer, "ok")


@pytest.mark.parametrize(
    ("text", "value", "layer"),
    [
        ("So the answer is: (b)", "B", "marker"),
        ("The answer is B) hide.", "B", "marker"),
        ("the best answer is 2.", "B", "marker"),
        ("Among A through C, the answer is C.", "C", "marker"),
        ("So the answer is: hide", "B", "marker"),
        ("The answer is a dog.", "C", "marker"),
        ("(b) hide, since nobody should see it.", "B", "opening"),
        ("C", "C", "opening"),
        ("Nobody wants to be seen. (b) is the best choice.", "B", "conclusion"),
        ("It would rather hide.", "B", "last_sentence"),
    ],
)
def test_options(text, value, layer):
    found = extract(text, "option", SHOW)
    assert (found.value, found.layer) == (value, layer)


@pytest.mark.parametrize("text", ["The answer is (A) or (B).", "the answer is A, B, or C."])
def test_several_answers_are_none(text):
    found = extract(text, "option", SHOW)
    assert (found.value, found.status) == (None, "ambiguous")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So the answer is: yes", "yes"),
        ("No, it is not possible. Hence it would be odd.", "no"),
        ("The final answer is that the coin is heads up.", "yes"),
        ("Final Answer: The coin is now tails up.", "no"),
        ("Ana flips it. Therefore, the coin is tails up.", "no"),
        ("The answer is not known.", None),
        ("B) False. Coins cannot.", "no"),
        ("Final answer: Is the coin still heads up?\nThere is no way to know.", None),
    ],
)
def test_yes_and_no_also_as_assertion_or_denial_of_the_question(text, value):
    assert extract(text, "yes_no", question=COIN).value == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("So the answer is 05/21/1999.", "date", "1999-05-21"),
        ('The answer is "nsny".', "text", "nsny"),
        ("Answer: (10 - 6) * (4 + 5) = 36", "expression", "(10 - 6) * (4 + 5)"),
    ],
)
def test_dates_texts_and_expressions(text, kind, value):
    assert extract(text, kind).value == value


def test_the_rationale_ends_where_the_statement_begins():
    text = "She has 2 + 3 = 5. So the answer is: 5"
    assert text[: extract(text, "number").start] == "She has 2 + 3 = 5. "


def test_what_opens_with_its_answer_is_rationale_as_a_whole():
    text = "No, since nobody flips it. It stays as it is, and that is all."
    found = extract(text, "yes_no", question=COIN)
    assert (found.value, found.layer, text[: found.start]) == ("no", "opening", text)


def test_a_thought_that_never_ends_has_no_answer():
    found = extract("<think>The answer is 3. But then", "number")
    assert (found.value, found.status) == (None, "truncated")


@given(st.text(max_size=400), st.sampled_from(KINDS), st.lists(st.text(max_size=12), max_size=5), st.text(max_size=80))
@settings(max_examples=400)
def test_any_text_is_read_without_failing_and_only_canonical_answers_come_out(text, kind, choices, question):
    found = extract(text, kind, choices, question)
    assert 0 <= found.start <= len(text)
    assert (found.value is None) == (found.status != "ok")
    if found.value is not None and kind != "text":
        assert normalise(found.value, kind, choices) == found.value


@given(st.text(max_size=60), st.sampled_from(KINDS), st.lists(st.text(max_size=12), max_size=5))
@settings(max_examples=300)
def test_canonical_form_is_stable(value, kind, choices):
    once = normalise(value, kind, choices)
    if once is not None:
        assert normalise(once, kind, choices) == once


HOSTILE = [
    "(" * 20_000,
    "9**" * 10_000 + "9",
    "The answer is " * 8_000,
    "A) " * 15_000,
    "1," * 20_000,
    "\\boxed{" * 8_000,
    "= " * 20_000,
    "-" * 50_000,
    "so " * 20_000,
    "#### " * 9_000,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].strip())
def test_hostile_lengths_take_time_in_proportion(text, kind):
    def seconds(shown):
        begin = time.process_time()
        extract(shown, kind, SHOW, COIN)
        normalise(shown, kind, SHOW)
        return time.process_time() - begin

    short = text[: len(text) // 8]
    assert min(seconds(text) for _ in range(2)) < 0.1 + 32 * min(seconds(short) for _ in range(2))
