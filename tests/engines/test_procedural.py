"""The teacher of a procedural world answers raw prompts by how they end; every reply can be read back."""

import re

import pytest

from understudy.core.asks import Call, Decoding, Message, Request, SamplePath
from understudy.core.errors import EngineError
from understudy.core.prompt_format import write_answer, write_question
from understudy.core.prompts import load_prompts
from understudy.engines.procedural import ProceduralEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import drive
from understudy.methods.decompose import Decompose
from understudy.methods.rationalise import Rationalise
from understudy.methods.scotd import SCoTD
from understudy.methods.zero_shot import ZeroShot
from understudy.sampling.pool import StudyPool
from understudy.tasks.worlds.diary import Diary
from understudy.tasks.worlds.materials import Materials
from understudy.tasks.worlds.scales import Scales

WORLDS = [
    Diary(train=8, dev=0, test=0, longer_test=0),
    Materials(train=9, dev=0, test=0),
    Scales(train=12, dev=0, test=0, longer_test=0),
]
each_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: type(world).__name__)


def ask(world, prompt, path=0, *, slip=0.0, misread=0.0, stop=("\n\n",), max_tokens=500):
    engine = ProceduralEngine(world, slip=slip, misread=misread, seed=0)
    return engine._reply(Request(Call("teacher", prompt, stop, max_tokens), Decoding(), path))


def asked(world):
    """(question as it is put, answer as it is written, texts of the exact working)."""
    for problem in world.problems(seed=3):
        assert problem.answer is not None
        texts = [step["answer"] for step in problem.meta["subquestions"]]
        yield write_question(problem), write_answer(problem.answer, problem), texts


def numbered(label, lines):
    return "".join(f"\n{label}{i}: {line}" for i, line in enumerate(lines, 1))


@each_world
def test_a_question_gets_a_chain_and_its_answer_whatever_stands_before_it(world):
    for question, answer, texts in asked(world):
        reply = ask(world, f"Be brief.\n\nQ: another one\nA: So the answer is: 7\n\nQ: {question}\nA:")
        rationale, sign, said = reply.text.partition(" So the answer is: ")
        assert (sign, said, reply.finish) == (" So the answer is: ", answer, "stop")
        assert rationale.startswith(" ")
        assert rationale.count(".") >= len(texts)


@each_world
def test_sub_questions_come_with_their_steps_and_the_answer(world):
    for question, answer, texts in asked(world):
        said = "Q1:" + ask(world, f"Q: {question}\nQ1:").text
        lines = said.split("\n")
        assert [line.partition(":")[0] for line in lines[:-1]] == [f"{x}{i + 1}" for i in range(len(texts)) for x in "QA"]
        assert all(line.endswith("?") for line in lines[:-1:2])
        assert lines[-1] == f"The answer is: {answer}"


@each_world
def test_given_sub_questions_are_answered_as_many_as_it_has_steps(world):
    for question, answer, texts in asked(world):
        for n in (1, len(texts), len(texts) + 2):
            reply = ask(world, f"Q: {question}{numbered('Q', ['Why?'] * n)}\nA1:")
            *said, last = ("A1:" + reply.text).split("\n")
            assert [line.partition(":")[0] for line in said] == [f"A{i + 1}" for i in range(min(n, len(texts)))]
            assert last == f"The answer is: {answer}"


@each_world
def test_given_steps_get_the_sub_questions_that_they_answer(world):
    for question, _, texts in asked(world):
        lines = ("Q1:" + ask(world, f"Q: {question}{numbered('A', texts)}\nQ1:").text).split("\n")
        assert [line.partition(":")[0] for line in lines] == [f"Q{i + 1}" for i in range(len(texts))]
        useful = ask(world, f"Q: {question}\n" + "\n".join(lines) + "\nUseful 1:").text
        assert re.findall("Yes|No", useful) == ["Yes"] * len(texts)


def test_a_step_that_comes_before_those_of_its_own_working_gets_a_question_too():
    question = "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?"
    first, second = ask(WORLDS[0], f"Q: {question}\nA1: Start 4.\nA2: Mon 4 + 3 = 7.\nQ1:").text.split("\n")
    assert first == " What is given?"
    assert "Mon" in second


@each_world
def test_a_sub_question_is_of_use_once_and_in_any_wording(world):
    for question, _, _ in asked(world):
        drawn = [ask(world, f"Q: {question}\nQ1:", path).text.partition("\n")[0].strip() for path in range(20)]
        wordings = sorted(set(drawn))
        assert len(wordings) >= 2
        given = [wordings[0], "How old is the moon?", wordings[1], wordings[0]]
        reply = ask(world, f"Q: {question}{numbered('Q', given)}\nUseful 1:", slip=1.0, misread=1.0)
        assert reply.text == " Yes\nUseful 2: No\nUseful 3: No\nUseful 4: No"


@each_world
def test_an_explanation_mostly_ends_in_the_answer_that_it_is_given(world):
    ends, without = [], []
    for question, answer, _ in asked(world):
        for path in range(10):
            prompts = [f"Q: {question}\nThe right answer is: {answer}\nA:", f"Q: {question}\nA: Let's think step by step."]
            said = [ask(world, prompt, path, slip=0.3, misread=0.5).text for prompt in prompts]
            assert all("answer" not in text for text in said)
            rest = [ask(world, f"{prompts[1]}{text}\nTherefore, the answer is").text.strip() for text in said]
            ends.append(rest[0] == answer)
            without.append(rest[1] == answer)
    assert sum(ends) > 0.95 * len(ends) > sum(without)


def test_an_explanation_of_an_answer_that_it_never_finds_is_its_last_try():
    question = "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?"
    said = ask(WORLDS[0], f"Q: {question}\nThe right answer is: 99\nA:").text
    assert said.endswith(" 7.")


@each_world
@pytest.mark.parametrize("chain", [True, False])
def test_it_can_be_asked_zero_shot(world, chain):
    engine, problems, method = ProceduralEngine(world, slip=0, misread=0, seed=0), world.problems(seed=3), ZeroShot(chain=chain)
    flows = [(SamplePath(p.id), method.sample(p, SamplePath(p.id), StudyPool())) for p in problems]
    answers = {done.value.problem: done.value.answer for done in drive(flows, Cast({"teacher": engine}))}
    assert answers == {p.id: p.answer for p in problems}


def test_nothing_is_concluded_from_a_thought_that_says_nothing():
    question = "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?"
    assert ask(WORLDS[0], f"Q: {question}\nA: Let's think step by step. Well.\nTherefore, the answer is").text == ""


@each_world
def test_chains_are_read_by_the_methods(world):
    engine = ProceduralEngine(world, slip=0, misread=0, seed=0)
    problems = world.problems(seed=3)
    flows = [(SamplePath(p.id), SCoTD().sample(p, SamplePath(p.id), StudyPool())) for p in problems]
    assert {d.value.problem: d.value.answer for d in drive(flows, Cast({"teacher": engine}))} == {p.id: p.answer for p in problems}


@each_world
@pytest.mark.parametrize(
    "method",
    [Decompose(), Decompose(mode="answer"), Decompose(mode="backfill"), Decompose(mode="backfill", of="human"), Rationalise()],
    ids=["decompose", "answer", "backfill", "backfill-human", "rationalise"],
)
def test_the_prompts_of_the_house_are_understood(world, method):
    engine, problems = ProceduralEngine(world, slip=0, misread=0, seed=0), {p.id: p for p in world.problems(seed=3)}
    pool = StudyPool(prompts=load_prompts(type(method).__name__.lower()))
    chains = [
        d.value
        for d in drive(
            [(SamplePath(i), method.sample(p, SamplePath(i), pool)) for i, p in problems.items()], Cast({"teacher": engine})
        )
    ]
    assert [chain.answer for chain in chains] == [problems[chain.problem].answer for chain in chains]
    if isinstance(method, Decompose):
        assert all(len(chain.steps) >= problems[chain.problem].meta["steps"] for chain in chains)


def test_a_reply_is_cut_at_its_stop_string_or_its_limit_and_keeps_its_lines():
    prompt = "Q: Ana has 4 coins. Mon: finds 3. Tue: loses 1. How many coins does Ana have?\nQ1:"
    first = ask(WORLDS[0], prompt, stop=("\n",))
    assert (first.text.count("?"), first.text.count("\n"), first.finish) == (1, 0, "stop")
    short = ask(WORLDS[0], prompt, max_tokens=14)
    assert (len(short.text.split()), short.finish, short.tokens) == (14, "length", 14)
    assert "\nA1: " in short.text


@pytest.mark.parametrize("prompt", ["", "Ana", "Q: Ana has 4 coins.", "Q: x\nQ1: y\nQ2:", "Q: x\nB:", "Q: \nA:"])
def test_an_unknown_ending_is_an_error_that_shows_it_and_lists_the_known_ones(prompt):
    with pytest.raises(EngineError, match=r"ends with .*'Q1: \.\.\. Useful 1:'"):
        ask(WORLDS[0], prompt)


def test_a_question_of_another_world_is_an_error():
    with pytest.raises(EngineError, match=r"cannot read the question that ends .*must look like"):
        ask(WORLDS[0], "Q: What is 2 + 2?\nA:")


def test_it_reads_no_messages():
    engine = ProceduralEngine(WORLDS[0], slip=0, misread=0, seed=0)
    with pytest.raises(EngineError, match="messages"):
        engine._reply(Request(Call("teacher", (Message("user", "Q: x\nA:"),)), Decoding(), 0))
