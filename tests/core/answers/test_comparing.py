"""When two answers are the same."""

import pytest

from understudy.core.answers import compare, normalise
from understudy.core.values import Outcome


@pytest.mark.parametrize(
    ("value", "golds", "kind", "outcome"),
    [
        ("5", ["5.0"], "number", "correct"),
        ("0.5", ["1/2"], "number", "correct"),
        ("1,650", ["$1650"], "number", "correct"),
        ("5", ["6", "5"], "number", "correct"),
        ("0.3333333333333333", ["0.333333"], "number", "correct"),
        ("0.34", ["0.333333"], "number", "wrong"),
        ("3.1", ["3.14"], "number", "wrong"),
        ("5", [], "number", "no gold"),
        (None, ["5"], "number", "unparsed"),
        ("many", ["5"], "number", "undecidable"),
        ("B", ["(b)"], "option", "correct"),
        ("yes", ["True"], "yes_no", "correct"),
        ("the Eiffel Tower", ["eiffel tower"], "text", "correct"),
        ("n s n y", ["nsny"], "text", "correct"),
        ("new york", ["newyork city"], "text", "wrong"),
        ("10 - 4", ["6"], "expression", "correct"),
        ("(10 - 6) x (4 + 5)", ["36"], "expression", "correct"),
        ("x>3", ["x<3"], "expression", "wrong"),
        ("x>3", ["3<x"], "expression", "correct"),
        ("x >= 3", ["3 ≤ x"], "expression", "correct"),
        ("3 > x > 1", ["1<x<3"], "expression", "correct"),
        ("x > 3", ["x ≥ 3"], "expression", "wrong"),
        ("2x+3", ["3+2x"], "expression", "correct"),
        ("2x-3", ["3-2x"], "expression", "wrong"),
        ("(x+1)(x-1)", ["$x^2 - 1$"], "expression", "correct"),
        ("yx", ["xy"], "expression", "correct"),
        ("y = \\frac{x}{2}", ["x/2"], "expression", "correct"),
        ("x", ["5"], "expression", "wrong"),
        ("sin(x)", ["x*sin"], "expression", "undecidable"),
        ("ln x", ["x*n*l"], "expression", "undecidable"),
        ("x**9**9**9", ["x"], "expression", "undecidable"),
        ("(3,-2)", ["(3,2)"], "expression", "undecidable"),
        ("2.66666666666666666667", ["2.6667"], "number", "correct"),
        ("16", ["16\\pi"], "number", "undecidable"),
        ("5", ["3+2i"], "number", "undecidable"),
        ("1500", ["1,\\!500"], "number", "correct"),
        ("90", ["90^\\circ"], "number", "correct"),
        ("1500", ["1,\\!500"], "text", "correct"),
        ("90", ["90^\\circ"], "text", "correct"),
        ("$\\frac34$", ["\\dfrac{3}{4}"], "text", "correct"),
        ("0.75", ["$\\frac{3}{4}$"], "text", "correct"),
        ("0.25", ["\\frac{3}{4}"], "text", "wrong"),
        ("16", ["16\\pi"], "text", "wrong"),
        ("m^2", ["m^3"], "text", "wrong"),
        ("(3, \\frac{\\pi}{2})", ["\\left( 3, \\dfrac{\\pi}{2} \\right)"], "text", "correct"),
        ("5\\,x", ["5x"], "text", "correct"),
        ("2+\\sqrt{3}", ["2 + \\sqrt{3}"], "text", "correct"),
        ("2+\\sqrt{3}", ["2 - \\sqrt{3}"], "text", "wrong"),
        ("red,blue,green", ["red, blue, green"], "text", "correct"),
        ("x=1,y=2", ["x = 1, y = 2"], "text", "correct"),
        ("1,234 cm", ["1, 234 cm"], "text", "wrong"),
        ("3", ["-3"], "text", "wrong"),
        ("-3", ["-3"], "text", "correct"),
        ("x>3", ["x<3"], "text", "wrong"),
        ("x > 3", ["x>3"], "text", "correct"),
        ("(3,-2)", ["(3,2)"], "text", "wrong"),
        ("(3, -2)", ["(3,-2)"], "text", "correct"),
        ("2\\sqrt{3}", ["2/\\sqrt{3}"], "text", "wrong"),
        ("x - 3", ["x + 3"], "text", "wrong"),
        ("[1,2)", ["(1,2)"], "text", "wrong"),
        ("\\{1,2\\}", ["(1,2)"], "text", "wrong"),
        ("(1, 2)", ["(1,2)"], "text", "correct"),
        ("3,5", ["35"], "text", "wrong"),
        ("l, e, y", ["ley"], "text", "correct"),
        ("A∪B", ["A∩B"], "text", "wrong"),
        ("A \\cup B", ["A∪B"], "text", "correct"),
        ("p∧q", ["p∨q"], "text", "wrong"),
        ("¬p", ["p"], "text", "wrong"),
        ("±3", ["3"], "text", "wrong"),
        ("∞", ["-∞"], "text", "wrong"),
        ("!p", ["p"], "text", "wrong"),
        ("x²", ["x2"], "text", "wrong"),
        ("x²", ["x^2"], "text", "correct"),
        ("F♯", ["F"], "text", "wrong"),
        ("x >= 3", ["x \\ge 3"], "text", "correct"),
        ("x≥3", ["3 \\le x"], "expression", "correct"),
        ("C#", ["C++"], "text", "wrong"),
        ("C++", ["c++"], "text", "correct"),
        ("A+", ["A-"], "text", "wrong"),
        ("- Paris", ["paris"], "text", "correct"),
        ("New York - USA", ["new york usa"], "text", "correct"),
    ],
)
def test_compare(value, golds, kind, outcome):
    assert compare(value, golds, kind) is Outcome(outcome)


def test_options_by_letter_number_and_text_are_one():
    choices = ("ground", "drawer", "waterfall")
    assert {normalise(form, "option", choices) for form in ("B", "(b)", "b", "2", "B) drawer", "drawer")} == {"B"}
    assert normalise("D", "option", choices) is None


def test_an_option_that_is_a_number_is_itself_before_it_is_a_label():
    assert normalise("2", "option", ("2", "4", "1")) == "A"


@pytest.mark.parametrize("value", ["01/02/2024", "2024-01-05", "5.1.2024", "1/2/24"])
def test_a_date_is_no_number(value):
    assert normalise(value, "number") is None
    assert normalise("1/2", "number") == "0.5"


def test_an_answer_that_is_not_available_is_no_quotient_of_two_letters():
    assert [normalise(text, "expression") for text in ("N/A", "n / a", "n/b")] == [None, None, "n/b"]
