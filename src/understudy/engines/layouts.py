"""How a procedural teacher replies to a raw prompt: the end of the prompt says what it asks for.

    Prompt                                        Reply

    Q: {question}                                 the chain and its answer
    A:                                            Start 4. Mon 4 + 3 = 7. So the answer is: 7

    Q: {question}                                 sub-questions, each with its step
    Q1:                                           How many after Mon?
                                                  A1: Start 4. Mon 4 + 3 = 7.
                                                  The answer is: 7

    Q: {question}                                 the steps that answer given sub-questions
    Q1: How many after Mon?                       Start 4. Mon 4 + 3 = 7.
    A1:                                           The answer is: 7

    Q: {question}                                 the sub-questions that given steps answer
    A1: Start 4. Mon 4 + 3 = 7.                   How many after Mon?
    Q1:

    Q: {question}                                 whether each sub-question is useful: the exact solution asks it, and no earlier
    Q1: How many after Mon?                       sub-question did
    Useful 1:                                     Yes

    Q: {question}                                 a chain that explains an answer
    The right answer is: 7                        Start 4. Mon 4 + 3 = 7.
    A:

Zero-shot prompts (`methods.zero_shot`): the reply to ``A: Let's think step by step.`` is the chain without its answer. If a chain
and ``Therefore, ... is`` follow, the reply is the answer that the chain gives. The reply to ``A: ... is`` is the answer alone.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from understudy.core.answers import extract
from understudy.core.errors import EngineError
from understudy.core.prompt_format import ANSWER, answer_text
from understudy.core.subquestions import number_lines, write_steps
from understudy.core.values import Problem
from understudy.core.worlds import WorldSolution

RETRIES = 8
"""How many more solutions are tried to find one that ends in the answer to explain."""

GIVEN = "What is given?"
"""The sub-question for steps before the first step of the teacher's own solution, such as "Start 4." on a line of its own."""

_OPTION = re.compile(r"^\([a-z]\) (.+)$", re.M)


class WorldTeacher(NamedTuple):
    """Two ways to solve a question. ``work`` draws a solution at each call, perhaps a wrong one; ``work_exactly`` is exact."""

    work: Callable[[str], WorldSolution]
    work_exactly: Callable[[str], WorldSolution]


def write_reply(prompt: str, teacher: WorldTeacher) -> str:
    """Write what ``teacher`` replies to ``prompt``, ignoring the text before the last ``Q: `` (instructions, exemplars).

    Raises EngineError if the prompt has none of the endings above, ValueError if the question is not of the teacher's world.
    """
    question = prompt.rpartition("Q: ")[2].rstrip()
    for ending, say in _LAYOUTS.items():
        if match := re.fullmatch(rf"(?P<question>.+?){ending}", question, re.S):
            return say(teacher, match)
    raise EngineError(
        f"the procedural teacher cannot answer a prompt that ends with {prompt[-80:]!r}; it answers 'Q: ...' followed by "
        "'A:', 'Q1:', 'Q1: ... A1:', 'A1: ... Q1:', 'Q1: ... Useful 1:', 'The right answer is: ... A:', "
        '"A: Let\'s think step by step." (and what follows it in methods/zero_shot.py)'
    )


def _write_chain(teacher: WorldTeacher, match: re.Match[str]) -> str:
    worked = teacher.work(match["question"])
    return f" {worked.rationale}{ANSWER}{_answer(worked)}"


def _write_dialogue(teacher: WorldTeacher, match: re.Match[str]) -> str:
    worked = teacher.work(match["question"])
    return f"{write_steps(worked.steps)}\nThe answer is: {_answer(worked)}".removeprefix("Q1:")


def _answer_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    worked = teacher.work(match["question"])
    texts = [step.text for step in worked.steps[: len(_lines_of(match))]]
    return f"{_number('A', texts)}\nThe answer is: {_answer(worked)}"


def _ask_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    own = [step.question or "" for step in teacher.work(match["question"]).steps]
    count = len(_lines_of(match))
    return _number("Q", [GIVEN] * (count - len(own)) + own[:count])


def _judge_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    open_ = list(teacher.work_exactly(match["question"]).wordings)
    lines = []
    for question in _lines_of(match):
        step = next((wordings for wordings in open_ if question in wordings), None)
        lines.append("No" if step is None else "Yes")
        if step is not None:
            open_.remove(step)
    return _number("Useful ", lines)


def _explain(teacher: WorldTeacher, match: re.Match[str]) -> str:
    for _ in range(1 + RETRIES):
        worked = teacher.work(match["question"])
        if _answer(worked) == match["answer"]:
            break
    return f" {worked.rationale}"


def _conclude(teacher: WorldTeacher, match: re.Match[str]) -> str:
    question, kind = match["question"], teacher.work_exactly(match["question"]).kind
    value = extract(match["said"], kind, _OPTION.findall(question), question).value
    return "" if value is None else f" {answer_text(value, Problem('', question, kind))}"


def _lines_of(match: re.Match[str]) -> list[str]:
    """List the sub-questions or steps in the prompt, without their numbers."""
    return [line.partition(": ")[2].strip() for line in match["given"].strip().split("\n")]


def _number(label: str, lines: list[str]) -> str:
    """Number the lines with labels. The first label is left out, because the prompt ends with it."""
    return number_lines(label, lines).removeprefix(f"{label}1:")


def _answer(worked: WorldSolution) -> str:
    return answer_text(worked.answer, Problem("", "", worked.kind))


_THINKING = r"\nA: Let's think step by step\."
_LAYOUTS: dict[str, Callable[[WorldTeacher, re.Match[str]], str]] = {
    # Beware: a longer ending must come before the shorter ending that it contains.
    r"\nThe right answer is: (?P<answer>[^\n]+)\nA:": _explain,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nA1:": _answer_questions,
    r"(?P<given>(?:\nA\d+: [^\n]*)+)\nQ1:": _ask_questions,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nUseful 1:": _judge_questions,
    rf"{_THINKING}(?P<said>.*)\nTherefore, [^\n]* is": _conclude,
    _THINKING: lambda teacher, match: f" {teacher.work(match['question']).rationale}",
    r"\nA: [^\n]* is": lambda teacher, match: f" {_answer(teacher.work(match['question']))}",
    r"\nQ1:": _write_dialogue,
    r"\nA:": _write_chain,
}
