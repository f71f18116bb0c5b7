"""Symbolic chain-of-thought distillation, SCoTD (Li et al. 2023, arXiv 2306.14050): many sampled chains per question.

N chains are sampled for each question, kept if their answer is right (supervised) or all of them (unlabelled: the teacher's
own answer is the label), and the student learns to write rationale and answer from the question alone. Which chains are kept
is the arm's ``select``; the balanced draw of one chain per visit of a problem is ``training.visits``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from understudy.core.asks import About, Call, Flow, Path
from understudy.core.prompting import Format
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class SCoTD:
    """The student learns to write the selected chains and then the answer."""

    label: Literal["teacher", "gold"] = "teacher"
    """The answer that ends a training chain; ``gold`` where the data set has one differs from ``teacher`` only for chains that
    state a wrong answer."""
    max_tokens: int = 256
    """Limit of a reply (256: configs/train.yaml of the authors' code)."""
    format: Format = field(default_factory=Format)
    """How prompts are written."""

    name: ClassVar[str] = "scotd"
    paper: ClassVar[str] = "2306.14050"
    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        prompt = self.format.asking(problem, pool.exemplars(path))
        reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens, about=About(problem.id))
        return self.format.read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        made = []
        for chain in chains:
            answer = chain.answer if self.label == "teacher" else problem.answer
            if answer is not None and not self.format.unfit(problem, chain.rationale, answer):
                made.append(self.format.example("student", problem, chain.rationale, answer, chain=chain.id))
        return made

    def solve(self, problem: Problem, path: Path, pool: Pool) -> Flow[Solution]:
        prompt = self.format.asking(problem)
        reply = yield Call("student", prompt, self.format.stop, self.max_tokens, about=About(problem.id))
        return self.format.read_solution(problem, path, "student", reply)
