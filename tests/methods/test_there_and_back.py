"""The contract of all methods: a student who says what the examples of a chain teach gives the answer of the chain."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from playing import made, solved, taught

from understudy.core.answers import normalise
from understudy.core.asks import Reply, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.subquestions import write_steps
from understudy.core.thoughts import has_tags
from understudy.core.values import COMMA, Outcome, Problem, Step
from understudy.methods.answer_first import AnswerFirst
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.reasoning_teacher import ReasoningTeacher
from understudy.methods.sci_cot import SciCoT
from understudy.methods.scotd import SCoTD
from understudy.methods.socratic import Socratic
from understudy.methods.step_by_step import StepByStep
from understudy.sampling.pool import StudyPool

CHOICES = ("the sun", "ice", "a warm day")
ANSWERS = {
    "number": st.integers(-(10**9), 10**9).map(str) | st.decimals(0, 1000, places=2, allow_nan=False).map(str),
    "option": st.sampled_from(["A", "B", "C"]),
    "yes_no": st.sampled_from(["yes", "no"]),
    "date": st.dates().map(lambda day: day.strftime("%m/%d/%Y")),
    "text": st.lists(st.sampled_from(["ice", "Ana", "red", "York", "seven"]), min_size=1, max_size=12).map(" ".join),
}
FORMS = {"number": ["", COMMA], "date": ["", "%m/%d/%Y", "%d/%m/%Y", "%-d %B %Y", "%d.%m.%Y"]}
PIECES = [
    "So",
    "she has",
    "4 + 3 = 7.",
    "(b)",
    "option A",
    "ice",
    "\n",
    "\n\n",
    "Hence",
    "no",
    "yes,",
    "$5.",
    "-->",
    "it is",
    "1/2",
]
RATIONALES = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=12).map(" ".join)


@st.composite
def chains(draw):
    kind = draw(st.sampled_from(sorted(ANSWERS)))
    form = draw(st.sampled_from(FORMS.get(kind, [""])))
    problem = Problem("p", "Which is it?", kind, choices=CHOICES if kind == "option" else (), form=form)
    answer = normalise(draw(ANSWERS[kind]), kind, problem.choices)
    assume(answer is not None)
    told = PromptFormat("messages").join_reply(draw(RATIONALES), answer, problem)
    chain = PromptFormat().read_chain(problem, SamplePath("p"), Reply(told), prompt="")
    assume(chain.answer is not None)
    return problem, chain


STYLES = [PromptFormat(), PromptFormat("messages")]
PLAIN = [
    (AnswerOnly, {"label": "teacher"}),
    (AnswerOnly, {"label": "teacher", "dummies": 2}),
    (AnswerFirst, {}),
    (SCoTD, {}),
    (SCoTD, {"control": True}),
    (SCoTD, {"label": "teacher", "wrong_weight": -0.1}),
    (ReasoningTeacher, {}),
    (StepByStep, {"label": "teacher"}),
    (SciCoT, {"label": "teacher"}),
    (SciCoT, {"label": "teacher", "answer_sees": "rationale"}),
    (SciCoT, {"label": "teacher", "source": "none"}),
]


def comes_back(method, problem, chain):
    pool = StudyPool(outcomes={chain.id: Outcome.CORRECT})
    examples = made(method, problem, [chain], pool)
    solution, _ = solved(method, problem, taught(method, examples), pool)
    assert (solution.answer, solution.finish) == (chain.answer, "stop"), solution.text
    return solution.text


@pytest.mark.parametrize("style", STYLES, ids=["raw", "messages"])
@pytest.mark.parametrize(("kind", "options"), PLAIN, ids=lambda value: str(getattr(value, "__name__", value)))
@settings(max_examples=40)
@given(chains())
def test_what_a_chain_teaches_gives_its_answer(kind, options, style, given):
    comes_back(kind(**options, format=style), *given)


@settings(max_examples=40)
@given(chains(), st.sampled_from(["letters", "choices"]), st.sampled_from(STYLES))
def test_a_masked_rationale_is_the_same_in_training_and_when_asked(given, mask, style):
    problem, chain = given
    assume(problem.choices or (problem.kind == "yes_no" and mask == "choices"))
    comes_back(SciCoT(label="teacher", mask=mask, format=style), problem, chain)


LINES = st.text(max_size=20).map(lambda text: " ".join(text.split())).filter(lambda text: not has_tags(text))
"""What a reading of a teacher's reply can leave of a line: marks of thoughts are taken out there."""


@st.composite
def socratic(draw):
    problem, chain = draw(chains())
    said = draw(st.lists(st.tuples(LINES, LINES), min_size=1, max_size=6, unique=True))
    return problem, replace(chain, steps=tuple(Step(f"It is {a}", f"What is {q}?") for q, a in said))


@pytest.mark.parametrize("style", STYLES, ids=["raw", "messages"])
@pytest.mark.parametrize("models", ["two", "shared"])
@pytest.mark.parametrize("asks", ["interleaved", "plan_first"])
@settings(max_examples=40)
@given(socratic(), st.sampled_from(["none", "number", "operators", "equations"]), st.sampled_from(["history", "last"]))
def test_what_a_socratic_chain_teaches_gives_its_answer_and_its_steps(models, asks, style, given, guidance, context):
    problem, chain = given
    method = Socratic(models=models, questions=asks, guidance=guidance, context=context, format=style)
    assume(not method.unfit(problem, chain))
    assert comes_back(method, problem, chain).startswith(write_steps(chain.steps))


@pytest.mark.parametrize("style", STYLES, ids=["raw", "messages"])
@settings(max_examples=40)
@given(socratic())
def test_what_a_socratic_chain_teaches_in_one_pass_gives_its_answer(style, given):
    comes_back(Socratic(models="unified", format=style), *given)
