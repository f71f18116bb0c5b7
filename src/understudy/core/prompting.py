"""How a question and a chain are written: one truth for teacher prompts, training examples and asking students.

    Q: {question}
    A: {rationale} So the answer is: {answer}⏎⏎

The format is SCoTD's (arXiv 2306.14050; configs_data/_dataset_config.py and _prompts.py of the authors' code), which puts
"A: " before the reply. Here the blank belongs to the reply, so that a tokenizer that joins blanks to words sees the same
tokens in training and when asked; students that were trained elsewhere with the blank in the prompt are another format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from understudy.core.answers import extract
from understudy.core.asks import Path, Reply
from understudy.core.values import AnswerKind, Chain, Problem, Solution

ANSWER = " So the answer is: "
END = "\n\n"
"""Ends a reply, and parts the exemplars of a prompt."""


def question_text(problem: Problem) -> str:
    """Context, question and options, as both teacher and student see them.

    Options go on lines of their own as in SCoTD's CommonsenseQA prompts, unless the question has them in its text (QuaRel).
    """
    lines = [problem.context, problem.question]
    if problem.choices and not all(choice in problem.question for choice in problem.choices):
        lines += ["Answer Choices:", *(f"({chr(97 + i)}) {choice}" for i, choice in enumerate(problem.choices))]
    return "\n".join(line for line in lines if line)


def asking(problem: Problem) -> str:
    """The prompt that asks ``problem``."""
    return f"Q: {question_text(problem)}\nA:"


def answer_text(answer: str, kind: AnswerKind) -> str:
    """A canonical answer as it is written in a chain: an option letter in brackets, all else as it is."""
    return f"({answer.lower()})" if kind == "option" else answer


def telling(rationale: str, answer: str, kind: AnswerKind) -> str:
    """A whole reply. Empty lines of the rationale become line breaks, since an empty line ends a reply."""
    joined = re.sub(r"\s*\n\s*", "\n", rationale.strip())
    return f"{' ' if joined else ''}{joined}{ANSWER}{answer_text(answer, kind)}{END}"


def exemplars_text(exemplars: Iterable[tuple[Problem, Chain]]) -> str:
    """Solved problems that go before a prompt; those whose chain has no answer are left out."""
    return "".join(
        asking(problem) + telling(chain.rationale, chain.answer, problem.kind) for problem, chain in exemplars if chain.answer
    )


def read_solution(problem: Problem, path: Path, role: str, reply: Reply) -> Solution:
    """The solution that one reply gives. A cut-off reply keeps what was found in it, and is counted as truncated later."""
    found = extract(reply.text, problem.kind, problem.choices, problem.question)
    return Solution(
        problem=problem.id,
        path=path.index,
        text=reply.text,
        answer=found.value,
        layer=found.layer,
        finish=reply.finish,
        tokens=reply.tokens or 0,
        logprob=reply.mean_logprob,
        turns=((role, reply.text),),
    )


def read_chain(problem: Problem, path: Path, reply: Reply, *, prompt: str) -> Chain:
    """The chain that one reply of the teacher is; its ``teacher`` is filled in by who knows the engine."""
    found = extract(reply.text, problem.kind, problem.choices, problem.question)
    return Chain(
        problem=problem.id,
        path=path.index,
        text=reply.text,
        rationale=reply.text[: found.start].strip(),
        answer=found.value,
        layer=found.layer,
        teacher="",
        finish=reply.finish,
        tokens=reply.tokens,
        logprob=reply.mean_logprob,
        prompt=prompt,
    )
