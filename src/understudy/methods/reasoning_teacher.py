"""Fine-tune-CoT (Ho et al. 2023, arXiv 2212.10071): a teacher's zero-shot chains, several per question, in their own format.

    {question} ###  ->  {rationale} --> {answer}

The teacher is asked in two calls, "Let's think step by step." and "Therefore, the answer is" (``teacher.method = "zero_shot"``),
several times for each question (diverse reasoning: ``teacher.samples``, temperature 0.7). Chains with the right answer are kept.
The formats and limits are those of itsnamgyu/reasoning-teacher.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from understudy.core.asks import Call, Count, Flow, Prompt, SamplePath
from understudy.core.prompt_format import ANSWER, PromptFormat, make_solution, write_answer, write_question
from understudy.core.protocols import OneStudent, Pool
from understudy.core.values import Chain, Example, Problem, Solution

ARROW = "-->"


@dataclass(frozen=True)
class ReasoningTeacher(OneStudent):
    """The student learns zero-shot chains that end with an arrow and the answer."""

    delimiter: str = " ###"
    """Ends the question in raw text, for decoders. Encoder-decoders need "" (src/data/format.py of the authors' code)."""
    max_tokens: Count = 256
    """The maximum number of tokens in a reply. Default chosen by this project: that of scotd (the paper: teacher 128, students up
    to 512 and 1024)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written. Numbers are plain."""

    words: ClassVar[tuple[str, ...]] = (f"### {ARROW}",)
    rationale_roles: ClassVar[tuple[str, ...]] = ("student",)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        return [
            self.format.write_example("student", self._prompt(problem), self._write(c.rationale, problem, answer), problem.id, c.id)
            for c in chains
            if (answer := c.answer) is not None
        ]

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        reply = yield Call("student", self._prompt(problem), self.format.stop, self.max_tokens)
        rationale, arrow, answer = reply.text.rpartition(ARROW)
        text = f"{rationale}{ANSWER}{answer.strip()}" if arrow else reply.text
        return replace(make_solution(problem, path, [("student", reply)], text), text=reply.text)

    def _prompt(self, problem: Problem) -> Prompt:
        return self.format.wrap_prompt(write_question(problem) + (self.delimiter if self.format.style == "raw" else ""))

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        rationale, arrow, _ = solution.text.rpartition(ARROW)
        return rationale.strip() if arrow and solution.answer is not None else None

    def put_rationale(self, rationale: str, _: Call) -> tuple[str, bool]:
        return self._write(rationale).rstrip(), True

    def _write(self, rationale: str, problem: Problem | None = None, answer: str = "") -> str:
        # An arrow inside the rationale would be read as the one before the answer.
        escaped = re.sub(r"--+>", "->", rationale.strip())
        return self.format.write_block(f"{escaped} {ARROW} {write_answer(answer, problem) if problem else ''}")
