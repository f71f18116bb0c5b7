"""The equations of a chain: which there are, and which hold."""

import pytest

from understudy.core.answers.equations import find_equations


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ana has 4 + 3 = 7 coins.", [("4 + 3", "7")]),
        ("She pays 2 x $1.50 = $3 and 3 + 1 = 5.", [("2 * 1.5", "3"), ("3 + 1", None)]),
        ("48/2 = <<48/2=24>>24 clips", [("48 / 2", "24")]),
        ("3 boxes * 4 pens = 12 pens", [("3 * 4", "12")]),
        ("It is 12 and nothing else.", []),
        ("9**9**9 = 1", []),
        ("- 4 + 3 = 8\n  * $4 + $3 = $7", [("4 + 3", None), ("4 + 3", "7")]),
        ("2 - 4 + 3 = 1, x - 4 + 3 = 8", [("2 - 4 + 3", "1")]),
        ("10 + 8 = 18. " + "It is so. " * 140 + "Then 3 + 4 = 8.", [("10 + 8", "18"), ("3 + 4", None)]),
    ],
)
def test_each_equation_is_its_calculation_and_what_that_comes_to_if_it_holds(text, found):
    assert [(e.text, None if e.value is None else str(e.value)) for e in find_equations(text)] == found


def test_operators_are_those_of_the_calculation_and_not_a_sign():
    assert [e.operators for e in find_equations("-3 + 5 = 2. 2 * (4 - 1) = 6. 2 ^ 3 = 8.")] == [("+",), ("*", "-"), ("**",)]
