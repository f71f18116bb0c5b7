"""Answer first, rationale after it: the rationale is learned and, when asked, never written."""

import pytest
from playing import CHOICE, SUM, asked, chain, made, solved, texts

from understudy.core.asks import Reply
from understudy.core.prompt_format import PromptFormat
from understudy.core.values import Outcome
from understudy.evaluation.metrics import judge_solution
from understudy.methods.answer_first import AnswerFirst

TWO = [chain(SUM, "2 + 3\n\n= 5.", "5"), chain(SUM, "Six.", "6", path=1)]


def test_the_answer_stands_before_its_rationale():
    assert texts(made(AnswerFirst(), SUM, TWO)) == [
        ("Q: What is 2 + 3?\nA:", " So the answer is: 5\nBecause: 2 + 3\n= 5.\n\n"),
        ("Q: What is 2 + 3?\nA:", " So the answer is: 6\nBecause: Six.\n\n"),
    ]
    messages = AnswerFirst(format=PromptFormat("messages"))
    assert texts(made(messages, SUM, TWO[1:])) == [("What is 2 + 3?", "So the answer is: 6\nBecause: Six.")]
    (example,) = made(AnswerFirst(), CHOICE, [chain(CHOICE, "Water.", "B")])
    assert example.target[0].text == " So the answer is: (b)\nBecause: Water.\n\n"


@pytest.mark.parametrize("style", ["raw", "messages"])
def test_asked_the_student_is_stopped_before_the_rationale_in_both_styles(style):
    method = AnswerFirst(format=PromptFormat(style))
    (example, _) = made(method, SUM, TWO)
    solution, (call,) = solved(method, SUM, " So the answer is: 5\n2 + 3\n= 5.")
    assert (call.prompt, call.stop, call.max_tokens) == (example.messages or example.source, ("\n", "Because:"), 32)
    assert (solution.text, solution.answer, solution.finish) == (" So the answer is: 5", "5", "stop")


def test_a_student_that_cannot_write_line_breaks_is_stopped_too():
    solution, _ = solved(AnswerFirst(), SUM, "So the answer is: 5 Because: 2 + 3 = 6.")
    assert (solution.text.strip(), solution.answer) == ("So the answer is: 5", "5")


def test_an_answer_that_does_not_end_is_cut_off():
    solution, _ = solved(AnswerFirst(), SUM, Reply(" So the answer is: 5", finish="length"))
    assert judge_solution(SUM, solution) is Outcome.TRUNCATED


def test_the_limit_is_in_the_call_and_nowhere_else():
    (same, (call,)), (default, (other,)) = (solved(AnswerFirst(max_tokens=n), SUM, " 5") for n in (7, 32))
    assert (call.max_tokens, other.max_tokens, same, asked([call])) == (7, 32, default, asked([other]))
    assert made(AnswerFirst(max_tokens=7), SUM, TWO) == made(AnswerFirst(), SUM, TWO)
