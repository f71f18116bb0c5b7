"""The zero-shot baseline (Kojima et al. 2022, arXiv 2205.11916): a trigger instead of exemplars, nothing trained.

With ``chain`` there are two calls: "Let's think step by step." gets a rationale, and a second trigger, which depends on the kind
of answer, gets the answer. Without ``chain`` there is only the second trigger. Fine-tune-CoT (arXiv 2212.10071) samples its chains
with this teacher's method.

    Q: {question}                                         Q: {question}
    A: Let's think step by step.{rationale}               A: The answer (arabic numerals) is{answer}
    Therefore, the answer (arabic numerals) is{answer}
"""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.core.asks import Call, Count, Flow, Message, Prompt, Reply, SamplePath, add_counts
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import NoStudent, Pool
from understudy.core.values import Chain, Problem, Solution

_ANSWERS = {"number": "the answer (arabic numerals) is", "yes_no": "the answer (Yes or No) is"}


@dataclass(frozen=True)
class ZeroShot(NoStudent):
    """The prompt has the trigger "Let's think step by step." instead of exemplars. The method trains nothing, so it needs a
    ``model`` other than the trained one."""

    chain: bool = True
    """Think before answering (the paper's zero-shot-CoT)."""
    max_tokens: Count = 256
    """The maximum number of tokens in a rationale. Default chosen by this project: that of scotd (max_length_cot 128 in main.py of
    the authors' code)."""
    answer_tokens: Count = 32
    """The maximum number of tokens in an answer (32: max_length_direct in main.py of the authors' code)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written. In messages the triggers are part of the user's turns."""

    @property
    def writes_rationales(self) -> bool:
        """Whether the teacher is asked to think."""
        return self.chain

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        prompt, thought, reply = yield from self._ask("teacher", problem)
        result = replace(reply, finish="length") if thought and thought.finish == "length" else reply
        return self.format.read_chain(problem, path, result, prompt=prompt)

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        _, _, reply = yield from self._ask("student", problem)
        return self.format.read_solution(problem, path, "student", reply)

    def _ask(self, role: str, problem: Problem) -> Generator[Call, Any, tuple[Prompt, Reply | None, Reply]]:
        """Return the first prompt, the reply with the rationale, and rationale and answer as one reply. The finish is the
        answer's, which is asked for even after a cut-off rationale. (As a chain to learn from, such a reply is cut off.)"""
        question = self.format.write_prompt(problem)
        trigger = _answer_trigger(problem)
        if not self.chain:
            prompt = _add_trigger(question, f"{trigger[0].upper()}{trigger[1:]}")
            reply: Reply = yield Call(role, prompt, self.format.stop, self.answer_tokens)
            return prompt, None, replace(reply, text=f"{trigger} {reply.text.strip()}")
        prompt = _add_trigger(question, "Let's think step by step.")
        # A rationale may have empty lines, so only the next question ends it.
        thought: Reply = yield Call(role, prompt, ("\nQ:",) if isinstance(question, str) else (), self.max_tokens)
        answer_prompt = _continue(prompt, thought.text, f"Therefore, {trigger}")
        conclusion: Reply = yield Call(role, answer_prompt, self.format.stop, self.answer_tokens)
        combined = replace(
            conclusion,
            text=f"{thought.text.strip()}\nTherefore, {trigger} {conclusion.text.strip()}",
            tokens=add_counts(thought.tokens, conclusion.tokens),
            prompt_tokens=add_counts(thought.prompt_tokens, conclusion.prompt_tokens),
            logprobs=thought.logprobs + conclusion.logprobs,
        )
        return prompt, thought, combined


def _answer_trigger(problem: Problem) -> str:
    if problem.choices:
        return f"among A through {chr(64 + len(problem.choices))}, the answer is"
    return _ANSWERS.get(problem.kind, "the answer is")


def _add_trigger(prompt: Prompt, trigger: str) -> Prompt:
    """Add ``trigger`` to ``prompt`` at the beginning of the reply, or in messages at the end of the user's turn."""
    if isinstance(prompt, str):
        return f"{prompt} {trigger}"
    return (*prompt[:-1], Message("user", f"{prompt[-1].content}\n{trigger}"))


def _continue(prompt: Prompt, text: str, trigger: str) -> Prompt:
    if isinstance(prompt, str):
        return f"{prompt}{text.rstrip()}\n{trigger}"
    return (*prompt, Message("assistant", text.strip()), Message("user", trigger))
