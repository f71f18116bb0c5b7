"""A method of one's own: SCoTD's student, asked again where its reply has no answer that can be read or is cut off.

What is asked of the teacher and what a chain teaches are SCoTD's (arXiv 2306.14050). Only the answering differs: a first greedy
reply, then drawn ones, at most ``tries`` in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from understudy.core.asks import Call, Decoding, Flow, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class Retry:
    """The options of an arm's ``options`` table."""

    tries: int = 3
    temperature: float = 0.7
    max_tokens: int = 64
    format: PromptFormat = field(default_factory=PromptFormat)

    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries = {self.tries}: must be at least 1")

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        prompt = self.format.write_prompt(problem, pool.exemplars(path))
        reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens)
        return self.format.read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()  # asks nothing, and is a flow all the same
        return [
            self.format.teach("student", problem, chain.rationale, chain.answer, chain=chain.id)
            for chain in chains
            if chain.answer is not None
        ]

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        prompt, spent = self.format.write_prompt(problem), 0
        for attempt in range(self.tries):
            decoding = None if attempt == 0 else Decoding(self.temperature)
            # The same ask again needs the next attempt: an equal request is an equal reply.
            ask = Call("student", prompt, self.format.stop, self.max_tokens, decoding, attempt)
            found = self.format.read_solution(problem, path, "student", (yield ask))
            spent += found.tokens
            if found.answer is not None and found.finish == "stop":
                break
        return replace(found, tokens=spent)


UNDERSTUDY = {"method": {"retry": Retry}}
