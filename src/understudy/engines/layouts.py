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
from understudy.core.prompt_format import ANSWER, write_answer
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
    for ending, write in _LAYOUTS.items():
        if match := re.fullmatch(rf"(?P<question>.+?){ending}", question, re.S):
            return write(teacher, match)
    raise EngineError(
        f"the procedural teacher cannot answer a prompt that ends with {prompt[-80:]!r}; it answers 'Q: ...' followed by "
        "'A:', 'Q1:', 'Q1: ... A1:', 'A1: ... Q1:', 'Q1: ... Useful 1:', 'The right answer is: ... A:', "
        '"A: Let\'s think step by step." (and what follows it in methods/zero_shot.py)'
    )


def _write_chain(teacher: WorldTeacher, match: re.Match[str]) -> str:
    solution = teacher.work(match["question"])
    return f" {solution.rationale}{ANSWER}{_write_answer(solution)}"


def _write_dialogue(teacher: WorldTeacher, match: re.Match[str]) -> str:
    solution = teacher.work(match["question"])
    return f"{write_steps(solution.steps)}\nThe answer is: {_write_answer(solution)}".removeprefix("Q1:")


def _answer_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    solution = teacher.work(match["question"])
    texts = [step.text for step in solution.steps[: len(_read_lines(match))]]
    return f"{_number_lines('A', texts)}\nThe answer is: {_write_answer(solution)}"


def _ask_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    questions = [step.question or "" for step in teacher.work(match["question"]).steps]
    count = len(_read_lines(match))
    return _number_lines("Q", [GIVEN] * (count - len(questions)) + questions[:count])


def _judge_questions(teacher: WorldTeacher, match: re.Match[str]) -> str:
    unasked = list(teacher.work_exactly(match["question"]).wordings)
    verdicts = []
    for question in _read_lines(match):
        wordings = next((candidates for candidates in unasked if question in candidates), None)
        verdicts.append("No" if wordings is None else "Yes")
        if wordings is not None:
            unasked.remove(wordings)
    return _number_lines("Useful ", verdicts)


def _explain(teacher: WorldTeacher, match: re.Match[str]) -> str:
    for _ in range(1 + RETRIES):
        solution = teacher.work(match["question"])
        if _write_answer(solution) == match["answer"]:
            break
    return f" {solution.rationale}"


def _conclude(teacher: WorldTeacher, match: re.Match[str]) -> str:
    question, kind = match["question"], teacher.work_exactly(match["question"]).kind
    value = extract(match["said"], kind, _OPTION.findall(question), question).value
    return "" if value is None else f" {write_answer(value, Problem('', question, kind))}"


def _read_lines(match: re.Match[str]) -> list[str]:
    """List the sub-questions or steps in the prompt, without their numbers."""
    return [line.partition(": ")[2].strip() for line in match["given"].strip().split("\n")]


def _number_lines(label: str, lines: list[str]) -> str:
    """Number the lines with labels. The first label is left out, because the prompt ends with it."""
    return number_lines(label, lines).removeprefix(f"{label}1:")


def _write_answer(solution: WorldSolution) -> str:
    return write_answer(solution.answer, Problem("", "", solution.kind))


_THINKING = r"\nA: Let's think step by step\."
_LAYOUTS: dict[str, Callable[[WorldTeacher, re.Match[str]], str]] = {
    # Beware: a longer ending must come before the shorter ending that it contains.
    r"\nThe right answer is: (?P<answer>[^\n]+)\nA:": _explain,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nA1:": _answer_questions,
    r"(?P<given>(?:\nA\d+: [^\n]*)+)\nQ1:": _ask_questions,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nUseful 1:": _judge_questions,
    rf"{_THINKING}(?P<said>.*)\nTherefore, [^\n]* is": _conclude,
    _THINKING: lambda teacher, match: f" {teacher.work(match['question']).rationale}",
    r"\nA: [^\n]* is": lambda teacher, match: f" {_write_answer(teacher.work(match['question']))}",
    r"\nQ1:": _write_dialogue,
    r"\nA:": _write_chain,
}
