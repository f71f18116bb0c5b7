"""A rationale for the right answer: the teacher is told the answer and explains it (Sci-CoT, arXiv 2308.04679; STaR, 2203.14465).

    Q: {question}
    The right answer is: (b)
    A:

That a chain was written so is recorded on it (``answer_conditioned``): its answer is the given one, unless it states another
outright. Sci-CoT's teacher details are second-hand; its other way, a chain that is kept where its answer is right, is any other
method with the arm's ``select.keep = "correct"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from understudy.core.asks import About, Call, Flow, Path, Reply
from understudy.core.errors import StudyError
from understudy.core.prompt_format import ANSWER, PromptFormat, answer_text, question_text
from understudy.core.prompts import fill, subject_of
from understudy.core.protocols import Pool
from understudy.core.subquestions import join_lines
from understudy.core.thoughts import thought_of
from understudy.core.values import Chain, Problem

STATED = frozenset({"marker", "boxed", "hashes", "opening"})
"""Layers of an answer that the reply states outright; any other is the given one."""


@dataclass(frozen=True)
class Rationalise:
    """Asks for an explanation of the gold answer; a teacher's method only, since it must know the answer."""

    subject: Literal["auto", "maths", "science", "commonsense"] = "auto"
    """Which of the house's prompts is used; ``auto``: by the kind of answer (ours)."""
    max_tokens: int = 256
    """Limit of a reply (256 is ours: as scotd's)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    name: ClassVar[str] = "rationalise"
    paper: ClassVar[str] = "2308.04679"
    roles: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        if problem.answer is None:
            raise StudyError(f"problem {problem.id!r} has no gold answer to explain; take another teacher.method")
        told = answer_text(problem.answer, problem.kind)
        shown = "".join(
            f"Q: {question_text(p)}\nThe right answer is: {answer_text(c.answer, p.kind)}\nA: {join_lines(c.rationale)}{ANSWER}"
            f"{answer_text(c.answer, p.kind)}\n\n"
            for p, c in pool.exemplars(path)
            if c.answer is not None and c.rationale
        )
        text = pool.prompt(f"rationalise-{subject_of(problem) if self.subject == 'auto' else self.subject}")
        prompt = self.format.wrap_prompt(fill(text, {"question": question_text(problem), "answer": told}, examples=shown))
        reply: Reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens, about=About(problem.id))
        # What it thought before is left out: that argues about the answer it was told.
        begin = thought_of(reply.text)[1]
        said = reply if begin is None else replace(reply, text=reply.text[begin:], reasoning="")
        chain = replace(self.format.read_chain(problem, path, said, prompt=prompt), answer_conditioned=True)
        # A rationale that goes on to another answer has argued for that one: it keeps it, and selection drops it as wrong.
        if chain.layer in STATED or begin is None or not said.text.strip():
            return chain
        return replace(chain, rationale=said.text.strip(), answer=problem.answer, layer="given")
