"""The label-only baseline: a student that is taught answers and no reasoning (SCoTD's DROP_RATIONALE, arXiv 2306.14050)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from understudy.core.asks import About, Call, Flow, Path
from understudy.core.prompting import END, asking, read_chain, read_solution, telling
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class AnswerOnly:
    """``label``: whose answer is taught. ``gold``: the data set's, one example for every problem. ``teacher``: what the
    selected chains state, one example per chain (the unlabelled setting). ``max_tokens``: limit of a reply."""

    label: Literal["gold", "teacher"] = "gold"
    max_tokens: int = 32

    name: ClassVar[str] = "answer_only"
    paper: ClassVar[str] = "2306.14050"
    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        prompt = asking(problem)
        reply = yield Call("teacher", prompt, stop=(END,), max_tokens=self.max_tokens, about=About(problem.id))
        return read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        labels = [(problem.answer, None)] if self.label == "gold" else [(chain.answer, chain.id) for chain in chains]
        return [
            Example.of("student", asking(problem), telling("", answer, problem.kind), problem=problem.id, chain=chain)
            for answer, chain in labels
            if answer is not None
        ]

    def solve(self, problem: Problem, path: Path) -> Flow[Solution]:
        reply = yield Call("student", asking(problem), stop=(END,), max_tokens=self.max_tokens, about=About(problem.id))
        return read_solution(problem, path, "student", reply)
