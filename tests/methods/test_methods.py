"""SCoTD and the answer-only baseline: the exact prompts, the exact targets, what is read from replies."""

from dataclasses import replace

import pytest

from understudy.core.answers import extract
from understudy.core.asks import Message, Reply, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.values import Chain, Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import drive
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.few_shot import FewShot
from understudy.methods.scotd import SCoTD
from understudy.methods.zero_shot import ZeroShot
from understudy.sampling.pool import StudyPool

PROBLEM = Problem("p", "What is 2 + 3?", "number", "5")
OTHER = Problem("e", "What is 1 + 1?", "number", "2", meta={"rationale": "1 + 1 = 2."})
CHAINS = [
    Chain("p", 0, "", "2 + 3 = 5.", "5", "marker", "t"),
    Chain("p", 1, "", "Count.\n\nOne, two.", "6", "marker", "t"),
    Chain("p", 2, "", "Hm.", None, "", "t"),
]
EMPTY = StudyPool()


def run(flow, reply=None):
    engine = ScriptedEngine(lambda request: reply, identity="e")
    (done,) = drive([(SamplePath("p"), flow)], Cast({"teacher": engine, "student": engine}))
    return done.value, engine.asked


def texts(examples):
    return [(e.source, "".join(s.text for s in e.target)) for e in examples]


def test_scotd_asks_the_teacher_with_exemplars_in_the_papers_format():
    pool = StudyPool([OTHER])
    reply = Reply(" 2 + 3 = 5. So the answer is: 5", tokens=9, logprobs=(-0.5, -1.5))
    chain, (request,) = run(SCoTD().sample(PROBLEM, SamplePath("p"), pool), reply)
    assert request.ask.prompt == "Q: What is 1 + 1?\nA: 1 + 1 = 2. So the answer is: 2\n\nQ: What is 2 + 3?\nA:"
    assert request.ask.stop == ("\n\n",)
    assert request.ask.max_tokens == 256
    assert (chain.rationale, chain.answer, chain.layer, chain.logprob) == ("2 + 3 = 5.", "5", "marker", -1.0)
    assert chain.prompt == request.ask.prompt


def test_scotd_learns_rationale_and_the_teachers_own_answer_from_the_question_alone():
    examples, _ = run(SCoTD().examples(PROBLEM, CHAINS, EMPTY))
    assert texts(examples) == [
        ("Q: What is 2 + 3?\nA:", " 2 + 3 = 5. So the answer is: 5\n\n"),
        ("Q: What is 2 + 3?\nA:", " Count.\nOne, two. So the answer is: 6\n\n"),
    ]
    assert [e.chain for e in examples] == [c.id for c in CHAINS[:2]]
    gold, _ = run(SCoTD(label="gold").examples(PROBLEM, CHAINS, EMPTY))
    assert [t for _, t in texts(gold)][1:] == [" Count.\nOne, two. So the answer is: 5\n\n", " Hm. So the answer is: 5\n\n"]


def test_answer_only_learns_the_gold_once_or_the_teachers_answers():
    examples, _ = run(AnswerOnly().examples(PROBLEM, CHAINS, EMPTY))
    assert texts(examples) == [("Q: What is 2 + 3?\nA:", " So the answer is: 5\n\n")]
    labels, _ = run(AnswerOnly(label="teacher").examples(PROBLEM, CHAINS, EMPTY))
    assert [t for _, t in texts(labels)] == [" So the answer is: 5\n\n", " So the answer is: 6\n\n"]
    nothing, _ = run(AnswerOnly().examples(PROBLEM.blind(), CHAINS, EMPTY))
    assert nothing == []


@pytest.mark.parametrize("method", [SCoTD(), AnswerOnly()])
def test_a_student_is_asked_with_the_source_it_was_trained_on(method):
    examples, _ = run(method.examples(PROBLEM, CHAINS, EMPTY))
    solution, (request,) = run(
        method.solve(PROBLEM.blind(), SamplePath("p"), EMPTY), Reply(" So the answer is: 5", tokens=6, logprobs=(-1.0,))
    )
    assert request.ask.prompt == examples[0].source
    assert request.ask.stop == ("\n\n",)
    assert (solution.answer, solution.tokens, solution.logprob, solution.turns[0][0]) == ("5", 6, -1.0, "student")


def test_options_and_context_are_written_once():
    choice = Problem("c", "Which?", "option", "B", choices=("sun", "moon"), context="It is night.")
    assert PromptFormat().write_prompt(choice) == "Q: It is night.\nWhich?\nAnswer Choices:\n(a) sun\n(b) moon\nA:"
    inside = Problem("c", "Which? (A) sun (B) moon", "option", "B", choices=("sun", "moon"))
    assert PromptFormat().write_prompt(inside) == "Q: Which? (A) sun (B) moon\nA:"
    named = Problem("c", "Is the sun or the moon hot?", "option", "A", choices=("sun", "moon"))
    assert PromptFormat().write_prompt(named) == "Q: Is the sun or the moon hot?\nAnswer Choices:\n(a) sun\n(b) moon\nA:", (
        "which is (a)?"
    )
    assert PromptFormat().join_reply("Night.", "B", named) == " Night. So the answer is: (b)\n\n"


def test_a_chat_puts_question_and_reply_into_turns_and_stops_at_the_end_of_its_turn():
    method = SCoTD(format=PromptFormat("messages", system="Be brief."))
    reply = Reply("Two and three.\n\nThat is 5. So the answer is: 5")
    chain, (request,) = run(method.sample(PROBLEM, SamplePath("p"), StudyPool([OTHER])), reply)
    assert request.ask.prompt == (
        Message("system", "Be brief."),
        Message("user", "What is 1 + 1?"),
        Message("assistant", "1 + 1 = 2. So the answer is: 2"),
        Message("user", "What is 2 + 3?"),
    )
    assert request.ask.stop == ()
    assert (chain.rationale, chain.answer) == ("Two and three.\n\nThat is 5.", "5")
    examples, _ = run(method.examples(PROBLEM, [chain], EMPTY))
    assert examples[0].messages == (Message("system", "Be brief."), Message("user", "What is 2 + 3?"))
    assert [s.text for s in examples[0].target] == ["Two and three.\n\nThat is 5. So the answer is: 5"]


@pytest.mark.parametrize("style", ["raw", "messages"])
def test_a_line_of_a_rationale_that_looks_like_another_problem_does_not_end_the_reply(style):
    told = PromptFormat(style).join_reply("Given: 2.\n\nProblem: add 3.\nQuestion：\nHow many?\n2 + 3 = 5.", "5", PROBLEM)
    assert told.strip() == "Given: 2. Problem: add 3. Question：\nHow many?\n2 + 3 = 5. So the answer is: 5"
    assert extract(told, "number").value == "5"
    assert PromptFormat(style).write_block("Plan:\nQ: why?").strip() == "Plan: Q: why?"
    assert PromptFormat(style).write_block("Q: a\nQ2: b").strip() == "Q: a\nQ2: b"


def test_a_raw_prompt_has_no_system_message():
    with pytest.raises(ValueError, match="style"):
        PromptFormat(system="Be brief.")


def test_exemplars_are_shuffled_and_dropped_by_seed_problem_and_path():
    problems = [Problem(f"e{i}", f"{i}?", "number", "1", meta={"rationale": "r"}) for i in range(7)]
    pool = StudyPool(problems, least=3)
    drawn = [[p.id for p, _ in pool.exemplars(SamplePath("x", i, 0))] for i in range(200)]
    assert {len(d) for d in drawn} == {3, 4, 5, 6, 7}
    assert len({tuple(d) for d in drawn}) > 190
    assert drawn[2] == [p.id for p, _ in pool.exemplars(SamplePath("x", 2, 0))]
    still = StudyPool(problems, shuffle=False).exemplars(SamplePath("x", 2, 0))
    assert [p for p, _ in still] == problems


@pytest.mark.parametrize(("chain", "shown"), [(True, " 1 + 1 = 2. So the answer is: 2"), (False, " So the answer is: 2")])
def test_few_shot_shows_exemplars_with_or_without_their_chain_and_trains_nothing(chain, shown):
    method, pool = FewShot(chain=chain), StudyPool([OTHER])
    solution, (request,) = run(method.solve(PROBLEM.blind(), SamplePath("p"), pool), Reply(" So the answer is: 5"))
    assert request.ask.prompt == f"Q: What is 1 + 1?\nA:{shown}\n\nQ: What is 2 + 3?\nA:"
    assert (request.ask.role, solution.answer, method.roles) == ("student", "5", ())
    assert run(method.examples(PROBLEM, CHAINS, pool))[0] == []


def thinking(request):
    text = request.ask.prompt if isinstance(request.ask.prompt, str) else request.ask.prompt[-1].content
    return Reply(" 5.", tokens=2, logprobs=(-1.0,)) if text.endswith(" is") else Reply(" 2 and\n\n3.", tokens=4, logprobs=(-0.5,))


def test_zero_shot_asks_for_a_rationale_and_then_for_the_answer():
    engine = ScriptedEngine(thinking, identity="e")
    (done,) = drive([(SamplePath("p"), ZeroShot().solve(PROBLEM.blind(), SamplePath("p"), EMPTY))], Cast({"student": engine}))
    first, second = (request.ask for request in engine.asked)
    assert first.prompt == "Q: What is 2 + 3?\nA: Let's think step by step."
    assert second.prompt == f"{first.prompt} 2 and\n\n3.\nTherefore, the answer (arabic numerals) is"
    assert (done.value.answer, done.value.tokens, done.value.logprob) == ("5", 6, -0.75)
    assert done.value.text == "2 and\n\n3.\nTherefore, the answer (arabic numerals) is 5."


def test_zero_shot_without_a_chain_asks_for_the_answer_alone():
    choice = Problem("c", "Which?", "option", "B", choices=("sun", "moon"))
    solution, (request,) = run(ZeroShot(chain=False).solve(choice.blind(), SamplePath("c"), EMPTY), Reply(" B."))
    assert request.ask.prompt.endswith("\nA: Among A through B, the answer is")
    assert solution.answer == "B"


def test_zero_shot_in_a_chat_thinks_in_one_turn_and_answers_in_the_next():
    engine = ScriptedEngine(thinking, identity="e")
    flow = ZeroShot(format=PromptFormat("messages")).sample(PROBLEM, SamplePath("p"), EMPTY)
    (done,) = drive([(SamplePath("p"), flow)], Cast({"teacher": engine}))
    assert [m.role for m in engine.asked[1].ask.prompt] == ["user", "assistant", "user"]
    assert engine.asked[0].ask.prompt[0].content == "What is 2 + 3?\nLet's think step by step."
    assert (done.value.answer, done.value.rationale) == ("5", "2 and\n\n3.")


def test_a_thought_that_was_cut_off_still_gets_its_answer_but_is_no_whole_chain():
    def cut(request):
        said = thinking(request)
        return said if said.text == " 5." else replace(said, finish="length")

    engine, method = ScriptedEngine(cut, identity="e"), ZeroShot()
    (solved,) = drive([(SamplePath("p"), method.solve(PROBLEM.blind(), SamplePath("p"), EMPTY))], Cast({"student": engine}))
    (sampled,) = drive([(SamplePath("p"), method.sample(PROBLEM, SamplePath("p"), EMPTY))], Cast({"teacher": engine}))
    assert (solved.value.finish, solved.value.answer, sampled.value.finish) == ("stop", "5", "length")


@pytest.mark.parametrize(
    "reply",
    [
        Reply("<think>\n2 and 3.\n\nSo 5.\n</think>\n\nThe answer is 5."),
        Reply("2 and 3.\n\nSo 5.\n</think>\nThe answer is 5."),
        Reply("The answer is 5.", reasoning="2 and 3.\n\nSo 5."),
    ],
)
def test_what_a_reasoning_teacher_thought_is_the_rationale(reply):
    method = SCoTD(format=PromptFormat("messages"))
    chain, _ = run(method.sample(PROBLEM, SamplePath("p"), EMPTY), reply)
    assert (chain.rationale, chain.answer, chain.finish) == ("2 and 3.\n\nSo 5.", "5", "stop")
    (example,), _ = run(method.examples(PROBLEM, [chain], EMPTY))
    assert [s.text for s in example.target] == ["2 and 3.\n\nSo 5. So the answer is: 5"]


def test_a_thought_that_never_ends_is_a_reply_that_was_cut_off():
    chain, _ = run(
        SCoTD(format=PromptFormat("messages")).sample(PROBLEM, SamplePath("p"), EMPTY), Reply("<think>\nThe answer is 5.")
    )
    assert (chain.answer, chain.finish) == (None, "length")
