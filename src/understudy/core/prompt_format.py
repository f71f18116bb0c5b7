"""The one way to write questions and chains: in teacher prompts, in training examples and in the prompts of students.

    Q: {question}
    A: {rationale} So the answer is: {answer}⏎⏎

The raw style is SCoTD's (arXiv 2306.14050; configs_data/_dataset_config.py and _prompts.py of the authors' code), which ends the
prompt with "A: ". Here the blank belongs to the reply, so a tokenizer that joins blanks to words sees the same tokens in training
and in answering. A student trained elsewhere, with the blank in the prompt, has another format.

In the style of messages, a question is a user turn and a reply is an assistant turn. The model's chat template renders them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.core.answers import date, extract
from understudy.core.answers.spans import keep_one_problem
from understudy.core.asks import Message, Prompt, Reply, SamplePath
from understudy.core.thoughts import add_thought, split_thought
from understudy.core.values import COMMA, Chain, Example, Problem, Segment, Solution, grouped

ANSWER = " So the answer is: "
END = "\n\n"
"""Ends a raw reply, and separates the exemplars of a raw prompt."""

Exemplars = Sequence[tuple[Problem, Chain]]


@dataclass(frozen=True)
class PromptFormat:
    """How a method writes its prompts: the ``format`` table of its options, for an arm and for the teacher."""

    style: Literal["raw", "messages"] = "raw"
    """``raw`` text, ``Q: ...`` and ``A:``, suits a model without instruction tuning. ``messages`` are turns that the model's chat
    template renders. The default is SCoTD's."""
    system: str = ""
    """The first message, where the style is ``messages``. Default chosen by this project: no system message, because templates
    treat it differently."""

    def __post_init__(self) -> None:
        if self.system and self.style == "raw":
            raise ValueError(f'system = {self.system!r}: a raw prompt has no system message; set style = "messages"')

    @property
    def stop(self) -> tuple[str, ...]:
        """The stop strings of a reply: an empty line in raw text. In a chat the token that ends the turn is enough."""
        return (END,) if self.style == "raw" else ()

    def write_prompt(self, problem: Problem, exemplars: Exemplars = (), *, prefix: str = "", suffix: str = "") -> Prompt:
        """Write the prompt that asks ``problem`` after solved ``exemplars``, leaving out exemplars whose chain has no answer.
        ``prefix`` and ``suffix`` go before and after the question."""
        solved = [(write_question(p), self.join_reply(c.rationale, c.answer, p)) for p, c in exemplars if c.answer is not None]
        question = f"{prefix}{write_question(problem)}{suffix}"
        if self.style == "raw":
            return "".join(f"Q: {example}\nA:{reply}" for example, reply in solved) + f"Q: {question}\nA:"
        turns = [Message("system", self.system)] if self.system else []
        for example, reply in solved:
            turns += [Message("user", example), Message("assistant", reply)]
        return (*turns, Message("user", question))

    def join_reply(self, rationale: str, answer: str, problem: Problem) -> str:
        """Join rationale and answer to a whole reply. In raw text an empty line ends a reply, so empty lines of the rationale
        become line breaks. A line that looks like the beginning of another problem is joined to the line before it."""
        reply = f"{self.begin_reply(rationale)} {write_answer(answer, problem)}"
        return f"{reply}{END}" if self.style == "raw" else reply.strip()

    def teach(self, role: str, problem: Problem, rationale: str, answer: str, *, chain: str | None = None) -> Example:
        """Write the example that teaches ``role`` this rationale and answer to ``problem``."""
        return self.write_example(role, self.write_prompt(problem), self.join_reply(rationale, answer, problem), problem.id, chain)

    def wrap_prompt(self, text: str) -> Prompt:
        """Return a method's own prompt: ``text`` as it is, or as one user turn."""
        if self.style == "raw":
            return text
        return (*([Message("system", self.system)] if self.system else []), Message("user", text))

    def write_line(self, text: str) -> str:
        """Write a one-line reply to be taught. In raw text the end of the line ends it (`line_stop`)."""
        return f" {' '.join(text.split())}\n" if self.style == "raw" else " ".join(text.split())

    @property
    def line_stop(self) -> tuple[str, ...]:
        """The stop strings of a one-line reply."""
        return ("\n",) if self.style == "raw" else ()

    def write_block(self, text: str) -> str:
        """Write a reply of several lines to be taught. In raw text an empty line ends it (`stop`), so there is none inside."""
        body = keep_one_problem(text.strip())
        return f" {drop_empty_lines(body)}{END}" if self.style == "raw" else body

    def write_example(self, role: str, prompt: Prompt, reply: str, problem: str, chain: str | None, **fields: Any) -> Example:
        """Write the example that teaches ``role`` this ``reply`` to this ``prompt``; ``fields``: group, weight."""
        if isinstance(prompt, str):
            return replace(Example.of(role, prompt, reply, problem=problem, chain=chain), **fields)
        return Example(role, (Segment(reply),), problem=problem, chain=chain, messages=prompt, **fields)

    def begin_reply(self, rationale: str) -> str:
        """Return the beginning of a reply: ``rationale`` and the words before the answer, without the trailing blank."""
        body = keep_one_problem(rationale.strip())
        if self.style == "messages":
            return f"{body}{ANSWER}".strip()
        return " " + f"{drop_empty_lines(body)}{ANSWER}".strip()

    def read_solution(self, problem: Problem, path: SamplePath, role: str, reply: Reply) -> Solution:
        """Read the solution in one reply. A reply that was cut off keeps the answer found in it, and later counts as truncated."""
        return make_solution(problem, path, [(role, reply)], reply.text)

    def read_chain(self, problem: Problem, path: SamplePath, reply: Reply, *, prompt: Prompt) -> Chain:
        """Read the chain in one reply of the teacher. ``teacher`` stays empty: the caller, who knows the engine, fills it in.

        If the reply has a thought, the inside of the thought is the rationale. A thought that never ends makes the chain cut off.
        """
        text = add_thought(reply.reasoning, reply.text)
        extraction = extract(text, problem.kind, problem.choices, problem.question, problem.form)
        thought, start = split_thought(text)
        return Chain(
            problem=problem.id,
            path=path.index,
            text=text,
            rationale=thought or text[start or 0 : extraction.start].strip(),
            answer=extraction.value,
            layer=extraction.layer,
            teacher="",
            finish="length" if start is None else reply.finish,
            tokens=reply.tokens,
            logprob=_compute_mean_logprob([reply]),
            prompt=show_prompt(prompt),
            prompt_tokens=reply.prompt_tokens,
            sampling={"version": reply.model} if reply.model else {},
        )


def make_solution(problem: Problem, path: SamplePath, turns: Sequence[tuple[str, Reply]], text: str) -> Solution:
    """Return the solution of several ``turns`` (role, reply), whose answer ``text`` states. Its finish is the last turn's. An
    earlier turn that was cut off is merely a bad turn: the last turn was asked after it, as for a user, and states a whole
    answer."""
    extraction = extract(text, problem.kind, problem.choices, problem.question, problem.form)
    replies = [reply for _, reply in turns]
    return Solution(
        problem=problem.id,
        path=path.index,
        text=text,
        answer=extraction.value,
        layer=extraction.layer,
        finish=replies[-1].finish,
        tokens=sum(reply.tokens or 0 for reply in replies),
        logprob=_compute_mean_logprob(replies),
        turns=tuple((role, reply.text) for role, reply in turns),
        prompt_tokens=sum(reply.prompt_tokens or 0 for reply in replies),
    )


def _compute_mean_logprob(replies: Sequence[Reply]) -> float | None:
    logprobs = [value for reply in replies for value in reply.logprobs]
    return sum(logprobs) / len(logprobs) if logprobs else None


def cut_off_solution(problem: Problem, path: SamplePath, turns: Sequence[tuple[str, Reply]]) -> Solution:
    """Return the solution of ``turns`` that leave no room in the next model's context. It is cut off, like a single reply."""
    text = "\n".join(reply.text.strip() for _, reply in turns)
    return replace(make_solution(problem, path, turns, ""), text=text, finish="length")


def drop_empty_lines(text: str) -> str:
    """Return ``text`` without empty lines and without blanks around its lines."""
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())


_LABEL = re.compile(r"(?<!\w)([a-z])[).:]\s*")
"""The label of an option in a question in lower case: ``(a) ``, ``a: ``."""


def write_question(problem: Problem) -> str:
    """Write context, question and options as teacher and student see them.

    Each option has its own line, as in SCoTD's CommonsenseQA prompts, unless the question itself lists the options with their
    letters (QuaRel: "... (A) ice (B) grass").
    """
    lines = [problem.context, problem.question]
    wanted, question = [(chr(97 + i), choice.strip().lower()) for i, choice in enumerate(problem.choices)], problem.question.lower()
    after = grouped((label[1], label.end()) for label in _LABEL.finditer(question if wanted else ""))
    if not all(any(question.startswith(choice, at) for at in after.get(letter, ())) for letter, choice in wanted):
        lines += ["Answer Choices:", *(f"({chr(97 + i)}) {choice}" for i, choice in enumerate(problem.choices))]
    return "\n".join(line for line in lines if line)


def write_answer(answer: str, problem: Problem) -> str:
    """Write a canonical answer to ``problem`` as in a chain: an option letter in brackets, dates and numbers as in the data."""
    if problem.kind == "date":
        return date.write(answer, problem.form)
    answer = answer.replace(".", ",") if problem.form == COMMA else answer
    return f"({answer.lower()})" if problem.kind == "option" else answer


def show_prompt(prompt: Prompt) -> str:
    """Return a prompt as text for people: the messages in order, each under its role."""
    return prompt if isinstance(prompt, str) else "\n".join(f"[{m.role}]\n{m.content}" for m in prompt)
