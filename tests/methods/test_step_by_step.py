"""Distilling step-by-step: two tasks of one student, told apart by the end of the prompt, weighed by alpha."""

import pytest
from playing import SUM, asked, chain, made, solved, texts

from understudy.core.prompt_format import PromptFormat
from understudy.methods.step_by_step import StepByStep

TWO = [chain(SUM, "2 + 3\n\n= 5.", "5"), chain(SUM, "Six.", "6", path=1)]
LABEL = ("Q: What is 2 + 3?\nA:", " So the answer is: 5\n\n")
RATIONALES = [("Q: What is 2 + 3?\nRationale:", " 2 + 3\n= 5.\n\n"), ("Q: What is 2 + 3?\nRationale:", " Six.\n\n")]


def test_the_answer_is_one_task_and_every_rationale_another():
    examples = made(StepByStep(), SUM, TWO)
    assert texts(examples) == [LABEL, *RATIONALES]
    assert [(e.group, e.weight) for e in examples] == [("label", 0.5), ("rationale", 0.5), ("rationale", 0.5)]
    messages = made(StepByStep(format=PromptFormat("messages")), SUM, TWO[1:])
    assert texts(messages) == [("What is 2 + 3?", "So the answer is: 5"), ("Q: What is 2 + 3?\nRationale:", "Six.")]


def test_alpha_is_the_weight_of_the_answers_and_the_rest_that_of_the_rationales():
    examples = made(StepByStep(alpha=0.8), SUM, TWO)
    assert [e.weight for e in examples] == pytest.approx([0.8, 0.2, 0.2])
    assert texts(examples) == [LABEL, *RATIONALES]
    assert solved(StepByStep(alpha=0.8), SUM, " 5") == solved(StepByStep(), SUM, " 5")


def test_the_label_is_gold_once_or_what_each_chain_states():
    examples = made(StepByStep(label="teacher"), SUM, TWO)
    assert texts(examples) == [LABEL, (LABEL[0], " So the answer is: 6\n\n"), *RATIONALES]
    assert [e.chain for e in examples] == [c.id for c in [*TWO, *TWO]]
    assert texts(made(StepByStep(), SUM, [])) == [LABEL]
    assert texts(made(StepByStep(), SUM.blind(), TWO)) == RATIONALES


def test_asked_the_student_answers_at_once():
    solution, (call,) = solved(StepByStep(), SUM, " So the answer is: 5")
    assert (call.prompt, call.stop, call.max_tokens, solution.answer) == (LABEL[0], ("\n\n",), 32, "5")


def test_the_limit_is_in_the_call_and_nowhere_else():
    (same, (call,)), (default, (other,)) = (solved(StepByStep(max_tokens=n), SUM, " 5") for n in (7, 32))
    assert (call.max_tokens, other.max_tokens, same, asked([call])) == (7, 32, default, asked([other]))
    assert made(StepByStep(max_tokens=7), SUM, TWO) == made(StepByStep(), SUM, TWO)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.0}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=r"alpha = [01]\.0"):
        StepByStep(**options)
