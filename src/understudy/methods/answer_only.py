"""The label-only baseline: the student learns answers and no reasoning (SCoTD's DROP_RATIONALE, arXiv 2306.14050)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from understudy.core.asks import AtLeast, Call, Count, Flow, Prompt, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import OneStudent, Pool
from understudy.core.values import Chain, Example, Problem, Solution

DUMMY = "NOOP"


@dataclass(frozen=True)
class AnswerOnly(OneStudent):
    """The student learns only the answer, without a chain: the label-only baseline."""

    label: Literal["gold", "teacher"] = "gold"
    """Whose answer the student learns. ``gold`` is the data set's, with one example for each problem (as in the authors'
    hf_datasets.py without PREDICT_RATIONALE). ``teacher`` is the answer of the selected chains, with one example for each chain
    (the unlabelled setting)."""
    dummies: Annotated[int, AtLeast(0)] = 0
    """The number of dummy tokens after the question, in place of a rationale. They show whether more computation alone helps
    (NO_OP_TOKEN_NUM, 0 in arguments.py of the authors' code)."""
    in_context: Annotated[int, AtLeast(0)] = 0
    """The number of other training problems, each with its answer, before the question: like ``in_context`` of scotd (the
    label-only student that SCoTD's paper transfers to another task)."""
    max_tokens: Count = 32
    """The maximum number of tokens in a reply (32: MAX_LENGTH_DIRECT in arguments.py of the authors' code)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    writes_rationales: ClassVar[bool] = False
    """The teacher is asked for answers alone."""

    @property
    def words(self) -> tuple[str, ...]:
        return (DUMMY,) if self.dummies else ()

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        prompt = self.format.write_prompt(problem, [(p, replace(c, rationale="")) for p, c in pool.exemplars(path)])
        reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens)
        return self.format.read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        labels = [(problem.answer, None)] if self.label == "gold" else [(chain.answer, chain.id) for chain in chains]
        prompt = self._prompt(problem, SamplePath(problem.id), pool)
        return [
            self.format.write_example("student", prompt, self.format.join_reply("", answer, problem), problem.id, chain)
            for answer, chain in labels
            if answer is not None
        ]

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        reply = yield Call("student", self._prompt(problem, path, pool), self.format.stop, self.max_tokens)
        return self.format.read_solution(problem, path, "student", reply)

    def _prompt(self, problem: Problem, path: SamplePath, pool: Pool) -> Prompt:
        others = pool.others(path, self.in_context) if self.in_context else []
        solved = [(p, replace(c, rationale="", answer=p.answer if self.label == "gold" else c.answer)) for p, c in others]
        return self.format.write_prompt(problem, solved, suffix=f" {DUMMY}" * self.dummies)
