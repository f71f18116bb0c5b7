"""Distilling step-by-step (Hsieh et al. 2023, arXiv 2305.02301): the answer and the rationale as two tasks of one student.

    predict   Q: {question}\\nA:            So the answer is: (b)       loss = alpha * L_label + (1 - alpha) * L_rationale
    explain   Q: {question}\\nRationale:    {rationale}

The authors' code puts "predict:" and "explain:" before the question; here the end of the prompt distinguishes the tasks. Each step
sees both tasks of an item, and each L is a mean over its own tokens (model_utils.py). At inference the student answers at once:
its rationale costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from understudy.core.asks import Call, Count, Flow, SamplePath
from understudy.core.prompt_format import PromptFormat, write_question
from understudy.core.protocols import OneStudent, Pool
from understudy.core.values import Chain, Example, Problem, Solution


@dataclass(frozen=True)
class StepByStep(OneStudent):
    """The student learns to answer and, as a second task, to write the rationale. At inference it only answers."""

    alpha: float = 0.5
    """The weight of the answers' loss against the rationales' (0.5: the authors' run.py)."""
    label: Literal["gold", "teacher"] = "gold"
    """Which answer the student learns (``gt``, the default, and ``llm`` in the authors' run.py)."""
    max_tokens: Count = 32
    """The maximum number of tokens in an answer. Default chosen by this project: that of answer_only (64 in the authors'
    run.py)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    words: ClassVar[tuple[str, ...]] = ("Rationale:",)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha = {self.alpha}: must be between 0 and 1; for answers alone use the method answer_only")

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        labels = [(problem.answer, None)] if self.label == "gold" else [(chain.answer, chain.id) for chain in chains]
        predict = self.format.write_prompt(problem)
        explain = self.format.wrap_prompt(f"Q: {write_question(problem)}\nRationale:")
        write = partial(self.format.write_example, "student", problem=problem.id)
        answers = [(self.format.join_reply("", answer, problem), chain) for answer, chain in labels if answer is not None]
        blocks = [(self.format.write_block(chain.rationale), chain.id) for chain in chains]
        examples = [write(predict, reply, chain=chain, group="label", weight=self.alpha) for reply, chain in answers]
        return examples + [write(explain, block, chain=chain, group="rationale", weight=1 - self.alpha) for block, chain in blocks]

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        reply = yield Call("student", self.format.write_prompt(problem), self.format.stop, self.max_tokens)
        return self.format.read_solution(problem, path, "student", reply)
