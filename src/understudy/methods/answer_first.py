"""The answer before its rationale (MM-CoT's QCM->AE; post-thinking, arXiv 2404.09170): what the chain teaches without being read.

    Q: {question}
    A: So the answer is: (b)
    {rationale}

Asked, the student is stopped at the end of its first line, so it costs what a student without chains costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from understudy.core.asks import About, Call, Flow, Path
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class AnswerFirst:
    """The student learns to answer first and to explain afterwards; asked, it only answers."""

    max_tokens: int = 32
    """Limit of an answer (32 is ours: as answer_only's)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written; an answer that comes first has nothing to point at, so numbers stay plain."""

    name: ClassVar[str] = "answer_first"
    paper: ClassVar[str] = "2404.09170"
    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.format.numbers == "pointers":
            raise ValueError('format.numbers = "pointers": an answer that comes first has nothing to point at; take "plain"')

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        made = []
        for chain in chains:
            if chain.answer is not None:
                stated = self.format.join_reply("", chain.answer, problem.kind).strip()
                said = self.format.write_block(f"{stated}\n{chain.rationale}")
                prompt = self.format.write_prompt(problem)
                made.append(self.format.write_example("student", prompt, said, problem=problem.id, chain=chain.id))
        return made

    def solve(self, problem: Problem, path: Path, pool: Pool) -> Flow[Solution]:
        # In messages, too: nothing else parts the answer from the rationale after it.
        reply = yield Call("student", self.format.write_prompt(problem), ("\n",), self.max_tokens, about=About(problem.id))
        return self.format.read_solution(problem, path, "student", reply)
