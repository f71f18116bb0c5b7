"""Symbolic chain-of-thought distillation, SCoTD (Li et al. 2023, arXiv 2306.14050): many sampled chains per question.

N chains are sampled for each question, kept if their answer is right (supervised) or all of them (unlabelled: the teacher's
own answer is the label), and the student learns to write rationale and answer from the question alone. Which chains are kept
is the arm's ``select``; the balanced draw of one chain per visit of a problem is ``training.visits``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from understudy.core.asks import About, Call, Flow, Path
from understudy.core.prompting import END, asking, exemplars_text, read_chain, read_solution, telling
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class SCoTD:
    """``exemplars``: solved problems in the teacher's prompt, drawn anew for each sample path (SCoTD: about 7, shuffled per
    call; 0 suits a teacher that needs none). ``label``: the answer that ends a training chain; ``gold`` where the data set
    has one differs from ``teacher`` only for chains that state a wrong answer. ``max_tokens``: limit of a reply (256:
    configs/train.yaml of the authors' code)."""

    exemplars: int = 0
    label: Literal["teacher", "gold"] = "teacher"
    max_tokens: int = 256

    name: ClassVar[str] = "scotd"
    paper: ClassVar[str] = "2306.14050"
    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        shown = exemplars_text(pool.draw(path, self.exemplars, purpose="exemplars"))
        prompt = shown + asking(problem)
        reply = yield Call("teacher", prompt, stop=(END,), max_tokens=self.max_tokens, about=About(problem.id))
        return read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        made = []
        for chain in chains:
            answer = chain.answer if self.label == "teacher" else problem.answer
            if answer is not None:
                target = telling(chain.rationale, answer, problem.kind)
                made.append(Example.of("student", asking(problem), target, problem=problem.id, chain=chain.id))
        return made

    def solve(self, problem: Problem, path: Path) -> Flow[Solution]:
        reply = yield Call("student", asking(problem), stop=(END,), max_tokens=self.max_tokens, about=About(problem.id))
        return read_solution(problem, path, "student", reply)
