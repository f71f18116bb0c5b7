"""Numbers as pointers: what is numbered, which chains can be written, and the way back by the evaluator."""

import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.answers.arithmetic import evaluate, write_number
from understudy.core.pointers import CONSTANTS, number, to_pointers, to_text

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from pointers import SETS, written

COINS = "Ana has 16 coins, loses 3 and finds two more. How many coins has she?"


@pytest.mark.parametrize(
    ("question", "numbered"),
    [
        (COINS, "Ana has 16 @0 coins, loses 3 @1 and finds two @2 more. How many coins has she?"),
        ("Seven red apples, and half a dozen green.", "Seven @0 red apples, and half @1 a dozen @2 green."),
        ("$1,250.50 for 3/4 of 1 1/2 miles, 5%.", "$1,250.50 @0 for 3/4 @1 of 1 1/2 @2 miles, 5 @3%."),
        ("Twenty-five boys and two hundred and four girls", "Twenty-five @0 boys and two hundred and four @1 girls"),
        ("2 million, the 3rd time, on a 7-day trip.", "2 million @0, the 3rd time, on a 7 @1-day trip."),
        ("Nobody is weighted, someone is often tense.", "Nobody is weighted, someone is often tense."),
    ],
)
def test_numbers_in_digits_and_in_words_get_a_pointer(question, numbered):
    assert number(question) == numbered


@pytest.mark.parametrize(
    ("rationale", "answer", "pointed"),
    [
        ("She has 16 - 3 = 13 coins left. Then she has 13 + 2 = 15.", "15", ("@0 - @1 = #0. #0 + @2 = #1.", "#1")),
        ("16 coins - 3 coins = 13 coins\nTotal = 13 coins + 2 = 15 coins", "15", ("@0 - @1 = #0. #0 + @2 = #1.", "#1")),
        ("So 16 - 3 + 2 = 13 + 2 = 15.", "15", ("@0 - @1 + @2 = #0.", "#0")),
        ("16-3=<<16-3=13>>13, again 16 - 3 = 13, and 13 * (3 + 2) = 65.", "65", ("@0 - @1 = #0. #0 * (@1 + @2) = #1.", "#1")),
        ("In dozens 16 * 12 = 192.", "192", ("@0 * 12 = #0.", "#0")),
    ],
)
def test_a_chain_becomes_its_equations(rationale, answer, pointed):
    found = to_pointers(COINS, rationale, answer)
    assert (found.rationale, found.answer, found.reason) == (*pointed, "")


@pytest.mark.parametrize(
    ("rationale", "answer", "reason"),
    [
        ("She has 15.", "15", "no equation"),
        ("16 - 3 = 12, 12 + 2 = 14", "14", "an equation does not hold"),
        ("16 - 5 = 11", "11", "a number from nowhere"),
        ("16 - 3 = 13", "15", "the answer is not a result"),
        ("16 - 3 = 13", "yes", "the answer is not a result"),
    ],
)
def test_what_cannot_be_written_has_a_reason(rationale, answer, reason):
    found = to_pointers(COINS, rationale, answer)
    assert (found.rationale, found.answer, found.reason) == ("", "", reason)


def test_the_evaluator_fills_in_numbers_and_results():
    filled = to_text(COINS, " @0 - @1 = #0. #0 / @1 = #1. #1 * #1 = #2. So the answer is: #2")
    assert filled.text == "16 - 3 = 13. 13 / 3 = 13/3. (13/3) * (13/3) = 169/9. So the answer is: 169/9"
    assert to_text(COINS, " So the answer is: 15").text == " So the answer is: 15"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@0 + @7 = #0. So the answer is: #0", "@7 points to nothing"),
        ("#0 + @1 = #0. So the answer is: #0", "#0 points to nothing"),
        ("@0 + @1 = #0. So the answer is: #4", "#4 points to nothing"),
        ("@0 / (@1 - @1) = #0. So the answer is: #0", "undefined: 16 / (3 - 3)"),
        ("@0 + = #0. So the answer is: #0", "no arithmetic: '@0 +'"),
        ("@0 plus @1 = #0. So the answer is: #0", "no arithmetic: '@0 plus @1'"),
        ("@0 ^ @0 ^ @0 ^ @0 = #0. So the answer is: #0", "no arithmetic: '@0 ^ @0 ^ @0 ^ @0'"),
        ("@0 + @1 = #0. #0 +", "cut off: '#0 +'"),
        ("So the answer is: @1", "cut off: 'So the answer is: @1'"),
    ],
)
def test_damaged_replies_stay_as_they_are_with_the_reason(text, reason):
    filled = to_text(COINS, text)
    assert (filled.text, filled.reason) == (text, reason)


@given(st.text(alphabet="@#0123456789 +-*/^=.()xSoan\n", max_size=80))
@settings(max_examples=500)
def test_any_reply_is_read_without_failing(text):
    filled = to_text(COINS, text)
    assert not filled.reason or filled.text == text


@st.composite
def chains(draw):
    """(question, rationale, answer, equations) of a random problem whose chain uses what it may."""
    given = draw(st.lists(st.decimals(0, 5000, places=draw(st.integers(0, 2))).map(Fraction), min_size=1, max_size=5))
    words = " and ".join(f"{write_number(value)} things" for value in given)
    known, equations = list(given), []
    for _ in range(draw(st.integers(1, 4))):
        a, b = (draw(st.sampled_from(known + (sorted(CONSTANTS) if i else []))) for i in range(2))
        sign = draw(st.sampled_from("+-*/"))
        left = f"{write_number(a)} {sign} {write_number(b)}"
        value = evaluate(left)
        # The text has decimals only, as people's have: what is no short decimal cannot be written down exactly.
        if value is None or value < 0 or "/" in write_number(value) or len(write_number(value)) > 12:
            continue
        equations.append((left, value))
        known.append(value)
    text = " ".join(f"That makes {left} = {write_number(value)} things." for left, value in equations)
    return f"Bo has {words}.", text, equations


@given(chains())
@settings(max_examples=300)
def test_round_trip_of_random_chains(case):
    question, rationale, equations = case
    if not equations:
        return
    answer = write_number(equations[-1][1])
    pointed = to_pointers(question, rationale, answer)
    assert not pointed.reason
    filled = to_text(question, f" {pointed.rationale} So the answer is: {pointed.answer}")
    said = " ".join(f"{left} = {write_number(value)}." for left, value in dict(equations).items())
    assert (filled.text, filled.reason) == (f"{said} So the answer is: {answer}", "")


@pytest.mark.parametrize("piece", ["1+", "1 a b c ", "(", "= ", "@0 + ", "one hundred "])
def test_hostile_lengths_take_time_in_proportion(piece):
    def seconds(n):
        text = (piece * n)[:n]
        begin = time.process_time()
        number(text)
        to_pointers(text, text, "5")
        to_text(COINS, text + "= #0")
        return time.process_time() - begin

    assert min(seconds(80_000) for _ in range(2)) < 0.1 + 32 * min(seconds(10_000) for _ in range(2))


@pytest.mark.parametrize("name", SETS)
def test_every_real_chain_that_can_be_written_states_its_equations_and_answer_again(real_data, name):
    counts = written(real_data, name)  # fails on the first that does not
    print(name, dict(counts.most_common()))
    assert counts["written"] > 0.35 * counts.total()
