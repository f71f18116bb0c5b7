"""Fine-tune-CoT: the question and a delimiter, the rationale, an arrow, the answer."""

import pytest
from playing import CHOICE, SUM, asked, chain, made, play, solved, texts

from understudy.core.asks import SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.methods.reasoning_teacher import ReasoningTeacher
from understudy.methods.zero_shot import ZeroShot
from understudy.sampling.pool import StudyPool

TWO = [chain(SUM, "2 + 3\n\n= 5.", "5"), chain(SUM, "2 --> 3 ---> 6.", "6", path=1)]
LEARNED = [("What is 2 + 3? ###", " 2 + 3\n= 5. --> 5\n\n"), ("What is 2 + 3? ###", " 2 -> 3 -> 6. --> 6\n\n")]


def test_an_arrow_parts_the_rationale_from_the_answer_and_no_other_arrow_is_left():
    assert texts(made(ReasoningTeacher(), SUM, TWO)) == LEARNED
    (option,) = made(ReasoningTeacher(), CHOICE, [chain(CHOICE, "Water.", "B")])
    assert option.target[0].text == " Water. --> (b)\n\n"


def test_the_delimiter_ends_the_question_in_raw_text_only():
    assert texts(made(ReasoningTeacher(delimiter=""), SUM, TWO)) == [(s.removesuffix(" ###"), t) for s, t in LEARNED]
    assert solved(ReasoningTeacher(delimiter=""), SUM, " --> 5")[1][0].prompt == "What is 2 + 3?"
    assert texts(made(ReasoningTeacher(format=PromptFormat("messages")), SUM, TWO[1:])) == [
        ("What is 2 + 3?", "2 -> 3 -> 6. --> 6")
    ]


@pytest.mark.parametrize(
    ("said", "answer"),
    [(" 2 + 3 = 5. --> 5", "5"), (" 7 --> 6 --> 5", "5"), (" 2 + 3 = 5.", "5"), (" 2 + 3 = 5. --> ", "5")],
)
def test_the_answer_stands_after_the_last_arrow_or_where_any_reply_has_it(said, answer):
    solution, (call,) = solved(ReasoningTeacher(), SUM, said)
    assert (call.prompt, call.stop, call.max_tokens) == (LEARNED[0][0], ("\n\n",), 256)
    assert (solution.answer, solution.text) == (answer, said)
    assert solution.turns == (("student", said),)


def test_its_teacher_is_asked_in_two_calls_without_exemplars():
    flow = ZeroShot().sample(SUM, SamplePath("p"), StudyPool([CHOICE]))
    sampled, calls = play(flow, [" 2 + 3 makes 5.", " 5."])
    assert asked(calls)[0] == ("teacher", "Q: What is 2 + 3?\nA: Let's think step by step.")
    assert texts(made(ReasoningTeacher(), SUM, [sampled])) == [("What is 2 + 3? ###", " 2 + 3 makes 5. --> 5\n\n")]


def test_the_limit_is_in_the_call_and_nowhere_else():
    (same, (call,)), (default, (other,)) = (solved(ReasoningTeacher(max_tokens=n), SUM, " 5") for n in (7, 256))
    assert (call.max_tokens, other.max_tokens, same, asked([call])) == (7, 256, default, asked([other]))
    assert made(ReasoningTeacher(max_tokens=7), SUM, TWO) == made(ReasoningTeacher(), SUM, TWO)
