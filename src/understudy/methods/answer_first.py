"""The answer before its rationale (MM-CoT's QCM->AE; post-thinking, arXiv 2404.09170): the student learns from a chain that it
need not write to answer.

    Q: {question}
    A: So the answer is: (b)
    Because: {rationale}

When the student answers, it stops at the end of its first line, so it costs as much as a student without chains. Tokenizers
without line breaks (T5's) write one line, so "Because:" stops it, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from understudy.core.asks import Call, Count, Flow, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import OneStudent, Pool
from understudy.core.values import Chain, Example, Problem, Solution

BECAUSE = "Because:"


@dataclass(frozen=True)
class AnswerFirst(OneStudent):
    """The student learns to answer first and to explain afterwards. At inference it only answers."""

    words: ClassVar[tuple[str, ...]] = (f"\n{BECAUSE}",)

    max_tokens: Count = 32
    """The maximum number of tokens in an answer. Default chosen by this project: that of answer_only."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        examples = []
        for chain in chains:
            if chain.answer is not None:
                stated = self.format.join_reply("", chain.answer, problem).strip()
                target = self.format.write_block(f"{stated}\n{BECAUSE} {chain.rationale}")
                prompt = self.format.write_prompt(problem)
                examples.append(self.format.write_example("student", prompt, target, problem.id, chain.id))
        return examples

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        # Messages need the stop strings too, because nothing else separates the answer from the rationale after it.
        reply = yield Call("student", self.format.write_prompt(problem), ("\n", BECAUSE), self.max_tokens)
        return self.format.read_solution(problem, path, "student", reply)
