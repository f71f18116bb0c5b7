"""Decompose and Rationalise: what the teacher is asked in each mode, and what is made of what it says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.asks import Message, Reply, SamplePath
from understudy.core.errors import StudyError
from understudy.core.prompt_format import PromptFormat, show_prompt
from understudy.core.prompts import load_prompts
from understudy.core.subquestions import join_lines, list_steps, read_steps
from understudy.core.values import Problem, Step
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import drive
from understudy.methods.decompose import Decompose
from understudy.methods.rationalise import Rationalise
from understudy.methods.socratic import Socratic
from understudy.sampling.pool import StudyPool

PAIRS = [("How many after Monday?", "She has 4 + 3 = 7."), ("How many in the end?", "She has 7 - 2 = 5.")]
META = {"subquestions": [{"question": q, "answer": a} for q, a in PAIRS], "rationale": "4 + 3 = 7 coins.\n7 - 2 = 5 coins."}
COINS = Problem("p", "Ana has 4 coins, finds 3 and loses 2. How many has she?", "number", "5", meta=META)
OTHER = replace(COINS, id="e", question="Another?")
STEPS = tuple(Step(answer, question) for question, answer in PAIRS)
SAID = " How many after Monday?\nA1: She has 4 + 3 = 7.\nQ2: How many in the end?\nA2: She has 7 - 2 = 5.\nThe answer is: 5"
ICE = Problem("i", "What is frozen water?", "option", "B", choices=("sun", "ice"))
PROMPTS = {**load_prompts("decompose"), **load_prompts("rationalise")}
POOL = StudyPool(prompts=PROMPTS)
STYLES = pytest.mark.parametrize("style", ["raw", "messages"])


def ask(method, *replies, problem=COINS, pool=POOL):
    """(the chain, what was asked): the teacher says ``replies`` in turn."""
    said = iter(replies)
    engine = ScriptedEngine(lambda request: next(said), identity="e")
    (done,) = drive([(SamplePath(problem.id), method.sample(problem, SamplePath(problem.id), pool))], Cast({"teacher": engine}))
    assert next(said, None) is None
    return done.value, [request.ask for request in engine.asked]


def tail(call, n):
    """The last ``n`` lines of a prompt."""
    prompt = call.prompt if isinstance(call.prompt, str) else call.prompt[-1].content
    return prompt.split("\n")[-n:]


@STYLES
def test_a_problem_is_decomposed_in_one_reply(style):
    chain, (call,) = ask(Decompose(format=PromptFormat(style)), SAID)
    assert tail(call, 2) == [f"Q: {COINS.question}", "Q1:"]
    assert (call.role, call.stop, isinstance(call.prompt, str)) == (
        *(("teacher", ("\nQ:",), True) if style == "raw" else ("teacher", (), False)),
    )
    assert (chain.steps, chain.answer, chain.layer) == (STEPS, "5", "marker")
    assert chain.rationale == "She has 4 + 3 = 7. She has 7 - 2 = 5."
    assert list_steps(chain) == STEPS


def test_in_a_chat_the_prompt_is_one_turn_after_the_system_message():
    _, (call,) = ask(Decompose(format=PromptFormat("messages", system="Be brief.")), SAID)
    assert [m.role for m in call.prompt] == ["system", "user"]


@pytest.mark.parametrize(
    "reply",
    [
        f"Q1:{SAID}",
        f"Here are the sub-questions:\n\n**Q1:**{SAID}",
        f"<think>\nQ1: Is that right?\nA1: Hm.\n</think>\n\nQ1:{SAID}",
        f"<think>\nQ1: Is that right?\nA1: Hm.\n</think>{SAID}",
        Reply(f"Q1:{SAID}", reasoning="Q1: Is that right?\nA1: Hm."),
        SAID.replace("\n", "\r\n") + "\n\nI hope this helps!",
    ],
)
def test_a_reply_may_begin_again_or_think_first(reply):
    chain, _ = ask(Decompose(format=PromptFormat("messages")), reply)
    assert (chain.steps, chain.answer) == (STEPS, "5")


def test_the_last_pair_counts_where_no_line_of_its_own_states_the_answer():
    chain, _ = ask(Decompose(), SAID.removesuffix("\nThe answer is: 5"))
    assert (chain.steps, chain.answer) == (STEPS, "5")


@pytest.mark.parametrize("reply", ["", " \n", "I cannot help with that.", "A1: 5\nA2: 6"])
@STYLES
def test_a_reply_without_pairs_gives_a_chain_without_steps(reply, style):
    chain, _ = ask(Decompose(format=PromptFormat(style)), reply)
    assert (chain.steps, list_steps(chain)) == ((), ())
    assert chain.text == "" or reply.strip() in chain.text


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["Q1: a?", "A1: 4", "Q2:", "A2: b", "</think>", "The answer is: 5", ""])).map("\n".join)
)
def test_whatever_the_teacher_says_no_word_of_a_step_is_made_up(reply):
    for mode in ("decompose", "answer", "backfill"):
        chain, _ = ask(
            Decompose(mode=mode, of="human" if mode == "backfill" else "teacher", format=PromptFormat("messages")), reply
        )
        questions = join_lines(reply) if mode != "answer" else " ".join(q for q, _ in PAIRS)
        assert all(step.question in questions for step in list_steps(chain))
        assert mode != "answer" or len(list_steps(chain)) in (0, 2)


def test_a_studys_exemplars_with_sub_questions_take_the_place_of_the_houses():
    _, (call,) = ask(Decompose(), SAID, pool=StudyPool([OTHER], prompts=PROMPTS))
    shown = f"Q: Another?\nQ1:{SAID}\n\n"
    assert call.prompt.endswith(f"\n\n{shown}Q: {COINS.question}\nQ1:")
    plain = replace(OTHER, meta={"rationale": "5."})
    _, (house,) = ask(Decompose(), SAID, pool=StudyPool([plain], prompts=PROMPTS))
    assert house.prompt == ask(Decompose(), SAID)[1][0].prompt


def test_the_subject_is_that_of_the_problem_or_the_one_that_is_named():
    _, (science,) = ask(Decompose(), "", problem=ICE)
    assert "(a) sun\n(b) ice\nQ1:" in science.prompt and "spoon" in science.prompt
    _, (named,) = ask(Decompose(subject="commonsense"), "", problem=ICE)
    assert "piano" in named.prompt and named.prompt.endswith("(b) ice\nQ1:")


@STYLES
def test_given_sub_questions_are_answered(style):
    chain, (call,) = ask(
        Decompose(mode="answer", format=PromptFormat(style)), " She has 4 + 3 = 7.\nA2: She has 7 - 2 = 5.\nThe answer is: 5"
    )
    assert tail(call, 4) == [f"Q: {COINS.question}", f"Q1: {PAIRS[0][0]}", f"Q2: {PAIRS[1][0]}", "A1:"]
    assert (chain.steps, chain.answer, chain.rationale) == (STEPS, "5", "She has 4 + 3 = 7. She has 7 - 2 = 5.")


@pytest.mark.parametrize("reply", [" She has 7.", " 7\nA2:", " 7\nA2: 5\nA3: 5", "A1: 7\nA3: 5", "A1: 7\nA1: 8\nA2: 5", ""])
def test_as_many_answers_as_questions_or_no_steps(reply):
    chain, _ = ask(Decompose(mode="answer"), reply)
    assert list_steps(chain) == ()
    assert Socratic().unfit(COINS, chain) == "no sub-questions"


def test_without_sub_questions_there_is_nothing_to_answer():
    with pytest.raises(StudyError, match=r"meta\.subquestions"):
        ask(Decompose(mode="answer"), problem=replace(COINS, meta={}))


@STYLES
def test_a_human_chain_gets_a_question_for_each_step(style):
    method = Decompose(mode="backfill", of="human", format=PromptFormat(style))
    chain, (call,) = ask(method, Reply(" How many now?\nQ2: How many in the end?", tokens=9, prompt_tokens=40))
    assert tail(call, 4) == [f"Q: {COINS.question}", "A1: 4 + 3 = 7 coins.", "A2: 7 - 2 = 5 coins.", "Q1:"]
    assert chain.steps == (Step("4 + 3 = 7 coins.", "How many now?"), Step("7 - 2 = 5 coins.", "How many in the end?"))
    assert (chain.rationale, chain.answer, chain.teacher) == (META["rationale"], "5", "human")
    assert (chain.tokens, chain.prompt_tokens) == (9, 40)


def test_a_teachers_chain_is_asked_for_as_scotd_asks_and_then_gets_its_questions():
    first = Reply(" 4 + 3 = 7. 7 - 2 = 5. So the answer is: 5", tokens=9)
    chain, (plain, back) = ask(Decompose(mode="backfill"), first, Reply(" Now?\nQ2: In the end?", tokens=6))
    assert (plain.prompt, plain.stop) == (f"Q: {COINS.question}\nA:", ("\n\n",))
    assert tail(back, 3) == ["A1: 4 + 3 = 7.", "A2: 7 - 2 = 5.", "Q1:"]
    assert ([s.question for s in chain.steps], chain.answer, chain.tokens) == (["Now?", "In the end?"], "5", 15)


@pytest.mark.parametrize(
    "reply", [" Now?", " Now?\nQ2: End?\nQ3: More?", "", Reply(" Now?\nQ2: How ma", finish="length"), "I see no steps."]
)
def test_a_question_for_each_step_or_none_and_the_chain_stays_whole(reply):
    chain, _ = ask(Decompose(mode="backfill", of="human"), reply)
    assert (chain.steps, chain.rationale, chain.answer) == ((), META["rationale"], "5")


def test_a_chain_without_a_rationale_or_a_whole_one_gets_no_questions():
    assert ask(Decompose(mode="backfill"), "")[0].steps == ()
    assert ask(Decompose(mode="backfill"), Reply(" 4 + 3", finish="length"))[0].steps == ()
    with pytest.raises(StudyError, match="rationale"):
        ask(Decompose(mode="backfill", of="human"), problem=replace(COINS, meta={}))


@STYLES
def test_a_step_that_most_opinions_find_useless_is_left_out(style):
    method = Decompose(feedback=3, format=PromptFormat(style))
    votes = [" Yes\nUseful 2: No", "Useful 1: no\nUseful 2: no", Reply("Q2: Yes", tokens=3)]
    chain, calls = ask(method, SAID, *votes)
    assert tail(calls[1], 4) == [f"Q: {COINS.question}", f"Q1: {PAIRS[0][0]}", f"Q2: {PAIRS[1][0]}", "Useful 1:"]
    assert [(call.attempt, call.decoding.temperature) for call in calls[1:]] == [(0, 0.7), (1, 0.7), (2, 0.7)]
    assert chain.steps == STEPS[:1]
    assert chain.sampling["useful"] == [2 / 3, 1 / 3]


def test_without_steps_no_opinion_is_asked_for_and_with_none_left_none_come_back():
    ask(Decompose(feedback=2), "I cannot.")
    chain, _ = ask(Decompose(feedback=1), SAID, "No\nNo")
    assert (chain.steps, list_steps(chain)) == ((), ())


@STYLES
def test_as_a_baseline_it_answers_by_asking_itself(style):
    engine = ScriptedEngine(lambda request: SAID, identity="e")
    flow = Decompose(format=PromptFormat(style)).solve(COINS.blind(), SamplePath("p"), POOL)
    (done,) = drive([(SamplePath("p"), flow)], Cast({"student": engine}))
    assert (done.value.answer, read_steps(done.value.text)) == ("5", STEPS)


@STYLES
def test_a_rationale_for_the_right_answer_is_conditioned_on_it(style):
    chain, (call,) = ask(Rationalise(format=PromptFormat(style)), " Water freezes to ice. So the answer is: (b)", problem=ICE)
    assert tail(call, 2) == ["The right answer is: (b)", "A:"]
    assert (chain.rationale, chain.answer, chain.layer) == ("Water freezes to ice.", "B", "marker")
    assert chain.answer_conditioned


@pytest.mark.parametrize("reply", [" Water freezes to ice.", "<think>\nIt says ice.\n</think>\nWater freezes to ice."])
def test_a_rationale_that_states_no_answer_has_the_given_one(reply):
    chain, _ = ask(Rationalise(format=PromptFormat("messages")), reply, problem=ICE)
    assert (chain.rationale, chain.answer, chain.layer) == ("Water freezes to ice.", "B", "given")


@pytest.mark.parametrize(
    ("problem", "reply", "answer"),
    [
        (ICE, " The sun is hot. So the answer is: (a)", "A"),
        (ICE, " It may be any. The answer is (a) or (b).", None),
        (Problem("y", "Is ice warm?", "yes_no", "no"), "Yes. Ice is warm.", "yes"),
        (COINS, " 4 + 3 = 7.\n#### 7", "7"),
    ],
)
def test_a_rationale_that_argues_for_another_answer_keeps_that(problem, reply, answer):
    chain, _ = ask(Rationalise(), reply, problem=problem)
    assert (chain.answer, chain.answer_conditioned) == (answer, True)


@pytest.mark.parametrize("reply", ["", " \n", "<think>\nIt says (b)."])
def test_a_reply_that_explains_nothing_has_no_answer(reply):
    chain, _ = ask(Rationalise(format=PromptFormat("messages")), reply, problem=ICE)
    assert chain.answer is None


def test_a_studys_exemplars_are_shown_with_their_answers_and_their_rationales():
    problem = replace(OTHER, meta={"rationale": "4 + 3 = 7.\n\n7 - 2 = 5. {{answer}}"})
    _, (call,) = ask(Rationalise(), "", pool=StudyPool([problem], prompts=PROMPTS))
    shown = "Q: Another?\nThe right answer is: 5\nA: 4 + 3 = 7. 7 - 2 = 5. {{answer}} So the answer is: 5\n\nQ: Ana"
    assert shown in call.prompt


def test_without_gold_there_is_nothing_to_explain():
    with pytest.raises(StudyError, match="no gold answer"):
        ask(Rationalise(), problem=replace(COINS, answer=None))


def test_prompts_name_no_answer_but_where_it_is_asked_to_be_explained():
    for method, n in ((Decompose(), 1), (Decompose(mode="answer"), 1)):
        _, calls = ask(method, *[""] * n, problem=replace(COINS, answer="73021"))
        assert not any("73021" in show_prompt(call.prompt) for call in calls)
    assert isinstance(ask(Rationalise(format=PromptFormat("messages")), "")[1][0].prompt[0], Message)
