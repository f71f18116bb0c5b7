"""What a procedural teacher is asked, which it reads off how a raw prompt ends, and how it replies.

    Q: {question}                                the chain and its answer
    A:                                            Start 4. Mon 4 + 3 = 7. So the answer is: 7

    Q: {question}                                sub-questions, each with its step
    Q1:                                           How many after Mon?
                                                 A1: Start 4. Mon 4 + 3 = 7.
                                                 The answer is: 7

    Q: {question}                                the steps that answer given sub-questions
    Q1: How many after Mon?                       Start 4. Mon 4 + 3 = 7.
    A1:                                          The answer is: 7

    Q: {question}                                the sub-questions that given steps answer
    A1: Start 4. Mon 4 + 3 = 7.                   How many after Mon?
    Q1:

    Q: {question}                                whether each sub-question is of use: its own exact working asks it, and it
    Q1: How many after Mon?                      was not asked before
    Useful 1:                                     Yes

    Q: {question}                                a chain that explains an answer
    The right answer is: 7                        Start 4. Mon 4 + 3 = 7.
    A:

Zero-shot (`methods.zero_shot`): ``A: Let's think step by step.`` is answered by the chain without its answer, that with a chain
and ``Therefore, ... is`` by the answer that the chain ends with, and ``A: ... is`` by the answer alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from understudy.core.answers import extract
from understudy.core.errors import EngineError
from understudy.core.prompt_format import ANSWER, answer_text
from understudy.core.worlds import Worked

RETRIES = 8
"""So many further workings are tried for one that ends in the answer that is to be explained."""

GIVEN = "What is given?"
"""Asks for the steps that come before those of its own working: "Start 4." on a line of its own."""

_OPTION = re.compile(r"^\([a-z]\) (.+)$", re.M)


@dataclass(frozen=True)
class Teacher:
    """Who is asked: ``work`` works a question, anew and perhaps wrongly at each call, ``exact`` without error."""

    work: Callable[[str], Worked]
    exact: Callable[[str], Worked]


def reply(prompt: str, teacher: Teacher) -> str:
    """What ``teacher`` writes after ``prompt``; what stands before its last ``Q: `` (instructions, exemplars) is not read.

    Raises EngineError where it ends in none of these ways, ValueError where the question is not of the teacher's world.
    """
    asked = prompt.rpartition("Q: ")[2].rstrip()
    for ending, say in _LAYOUTS.items():
        if found := re.fullmatch(rf"(?P<question>.+?){ending}", asked, re.S):
            return say(teacher, found)
    raise EngineError(
        f"the procedural teacher does not know what a prompt wants that ends with {prompt[-80:]!r}; it answers 'Q: ...' and then "
        "'A:', 'Q1:', 'Q1: ... A1:', 'A1: ... Q1:', 'Q1: ... Useful 1:', 'The right answer is: ... A:', "
        '"A: Let\'s think step by step." (and what follows it in methods/zero_shot.py)'
    )


def _chain(teacher: Teacher, asked: re.Match[str]) -> str:
    worked = teacher.work(asked["question"])
    return f" {worked.rationale}{ANSWER}{_answer(worked)}"


def _socratic(teacher: Teacher, asked: re.Match[str]) -> str:
    worked = teacher.work(asked["question"])
    turns = [f"Q{i}: {step.question}\nA{i}: {step.text}" for i, step in enumerate(worked.steps, 1)]
    return "\n".join([*turns, _conclusion(worked)]).removeprefix("Q1:")


def _answers(teacher: Teacher, asked: re.Match[str]) -> str:
    worked = teacher.work(asked["question"])
    said = [step.text for step in worked.steps[: len(_given(asked))]]
    return "\n".join([_numbered("A", said), _conclusion(worked)])


def _questions(teacher: Teacher, asked: re.Match[str]) -> str:
    own = [step.question or "" for step in teacher.work(asked["question"]).steps]
    given = len(_given(asked))
    return _numbered("Q", [GIVEN] * (given - len(own)) + own[:given])


def _useful(teacher: Teacher, asked: re.Match[str]) -> str:
    open_ = list(teacher.exact(asked["question"]).wordings)
    said = []
    for question in _given(asked):
        step = next((wordings for wordings in open_ if question in wordings), None)
        said.append("No" if step is None else "Yes")
        if step is not None:
            open_.remove(step)
    return _numbered("Useful ", said)


def _explanation(teacher: Teacher, asked: re.Match[str]) -> str:
    worked = teacher.work(asked["question"])
    for _ in range(RETRIES):
        if _answer(worked) == asked["answer"]:
            break
        worked = teacher.work(asked["question"])
    return f" {worked.rationale}"


def _thought(teacher: Teacher, asked: re.Match[str]) -> str:
    return f" {teacher.work(asked['question']).rationale}"


def _concluded(teacher: Teacher, asked: re.Match[str]) -> str:
    question, kind = asked["question"], teacher.exact(asked["question"]).kind
    value = extract(asked["said"], kind, _OPTION.findall(question), question).value
    return "" if value is None else f" {answer_text(value, kind)}"


def _alone(teacher: Teacher, asked: re.Match[str]) -> str:
    return f" {_answer(teacher.work(asked['question']))}"


def _given(asked: re.Match[str]) -> list[str]:
    """The given sub-questions or steps, without their numbers."""
    return [line.partition(": ")[2].strip() for line in asked["given"].strip().split("\n")]


def _numbered(label: str, said: list[str]) -> str:
    """Lines with numbered labels, without the first label, which ends the prompt."""
    return "\n".join(f"{label}{i}: {line}" for i, line in enumerate(said, 1)).removeprefix(f"{label}1:")


def _conclusion(worked: Worked) -> str:
    return f"The answer is: {_answer(worked)}"


def _answer(worked: Worked) -> str:
    return answer_text(worked.answer, worked.kind)


_THINKING = r"\nA: Let's think step by step\."
_LAYOUTS: dict[str, Callable[[Teacher, re.Match[str]], str]] = {
    # An ending that another one ends with comes first.
    r"\nThe right answer is: (?P<answer>[^\n]+)\nA:": _explanation,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nA1:": _answers,
    r"(?P<given>(?:\nA\d+: [^\n]*)+)\nQ1:": _questions,
    r"(?P<given>(?:\nQ\d+: [^\n]*)+)\nUseful 1:": _useful,
    rf"{_THINKING}(?P<said>.*)\nTherefore, [^\n]* is": _concluded,
    _THINKING: _thought,
    r"\nA: [^\n]* is": _alone,
    r"\nQ1:": _socratic,
    r"\nA:": _chain,
}
