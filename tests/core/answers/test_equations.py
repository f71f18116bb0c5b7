"""The equations of a chain: which there are, which hold, and the first step that goes wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.answers.equations import find_equations, find_first_wrong


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ana has 4 + 3 = 7 coins.", [("4 + 3", "7")]),
        ("She pays 2 x $1.50 = $3 and 3 + 1 = 5.", [("2 * 1.5", "3"), ("3 + 1", None)]),
        ("48/2 = <<48/2=24>>24 clips", [("48 / 2", "24")]),
        ("3 boxes * 4 pens = 12 pens", [("3 * 4", "12")]),
        ("It is 12 and nothing else.", []),
        ("9**9**9 = 1", []),
    ],
)
def test_each_equation_is_its_calculation_and_what_that_comes_to_if_it_holds(text, found):
    assert [(e.text, None if e.value is None else str(e.value)) for e in find_equations(text)] == found


def test_operators_are_those_of_the_calculation_and_not_a_sign():
    assert [e.operators for e in find_equations("-3 + 5 = 2. 2 * (4 - 1) = 6. 2 ^ 3 = 8.")] == [("+",), ("*", "-"), ("**",)]


def test_the_first_wrong_step_is_the_first_with_an_equation_that_does_not_hold():
    steps = ["Start 4.", "4 + 3 = 7.", "7 - 2 = 4.", "4 + 4 = 9."]
    assert find_first_wrong(steps) == 2
    assert find_first_wrong(steps[:2]) is None
    assert find_first_wrong([]) is None
    assert find_first_wrong(["48/2 = <<48/2=25>>24"]) is None, "the calculator's mark is not the student's working"


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(-2, 2)), max_size=6))
def test_a_step_that_is_off_is_found_where_it_is(rows):
    steps = [f"{a} + {b} = {a + b + off}." for a, b, off in rows]
    assert find_first_wrong(steps) == next((i for i, (_, _, off) in enumerate(rows) if off), None)
