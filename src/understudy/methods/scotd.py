"""Symbolic chain-of-thought distillation, SCoTD (Li et al. 2023, arXiv 2306.14050): many sampled chains per question.

The teacher writes N sampled chains for each question. Either those with the right answer are kept (supervised), or all of them
(unlabelled: the teacher's answer is the label). From the question alone the student learns to write rationale and answer. The
arm's ``select`` decides which chains are kept (wrong ones too, for ``wrong_weight`` and ``control``). ``training.visits`` is the
balanced draw of one chain per visit of a problem. Names in capitals are switches of the authors' code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from understudy.core.answers import extract
from understudy.core.asks import Call, Count, Flow, Prompt, SamplePath
from understudy.core.prompt_format import PromptFormat, write_question
from understudy.core.prompts import choose_subject, fill
from understudy.core.protocols import OneStudent, Pool
from understudy.core.values import Chain, Example, Outcome, Problem, Solution

GOOD, BAD = "[right]", "[wrong]"
_TOKENS = {Outcome.CORRECT: GOOD, Outcome.WRONG: BAD}


@dataclass(frozen=True)
class SCoTD(OneStudent):
    """The student learns to write the selected chains and then the answer."""

    label: Literal["teacher", "gold"] = "teacher"
    """The answer at the end of a training chain: the ``teacher``'s (``__getitem__`` of hf_datasets.py), or the data set's
    ``gold``, which differs only for chains with a wrong answer."""
    wrong_weight: float = 1.0
    """The loss weight of selected chains with a wrong answer, which ``select.keep = "all"`` keeps. -0.1 is the authors'
    VANILLA_POLICY_GRADIENT, which is off (1 here) in arguments.py."""
    control: bool = False
    """Put a token before the question that says whether the chain is right (USE_QUARK, off in train.yaml). When the student
    answers, the token asks for a right chain. A chain without a verdict has no token."""
    in_context: int = 0
    """The number of other training problems, each with one of its chains, before the question. Each example and each sample path
    draws its own (USE_RANDOM_TRAIN_PROMPT, off in arguments.py)."""
    house_exemplars: bool = False
    """Show Understudy's own solved examples in the teacher's prompt if the study has no exemplars (docs/prompts.md). Default
    chosen by this project, because the study should decide which examples a teacher sees."""
    subject: Literal["auto", "maths", "science", "commonsense", "everyday", "reviews"] = "auto"
    """Which of Understudy's prompts ``house_exemplars`` shows. ``auto``, the default of this project, chooses by the kind of
    answer. ``everyday`` (like CommonsenseQA) and ``reviews`` have options, and ``auto`` never chooses them."""
    max_tokens: Count = 256
    """The maximum number of tokens in a reply (256: configs/train.yaml of the authors' code)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    def __post_init__(self) -> None:
        if not -1 <= self.wrong_weight <= 1 or self.in_context < 0:
            values = f"wrong_weight = {self.wrong_weight}, in_context = {self.in_context}"
            raise ValueError(f"{values}: wrong_weight must be from -1 to 1, in_context at least 0")

    rationale_roles: ClassVar[tuple[str, ...]] = ("student",)

    @property
    def words(self) -> tuple[str, ...]:
        return (f"{GOOD} {BAD}",) if self.control else ()

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        exemplars = pool.exemplars(path)
        prompt = self.format.write_prompt(problem, exemplars)
        if self.house_exemplars and not exemplars:
            text = pool.prompt(f"scotd-chains-{choose_subject(problem, self.subject)}")
            prompt = self.format.wrap_prompt(fill(text, {"question": write_question(problem)}))
        reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens)
        return self.format.read_chain(problem, path, reply, prompt=prompt)

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        examples = []
        for chain in chains:
            answer = chain.answer if self.label == "teacher" else problem.answer
            if answer is not None:
                outcome = pool.outcome(chain)
                prompt = self._prompt(problem, SamplePath(problem.id, chain.path), pool, _TOKENS.get(outcome, ""))
                target = self.format.join_reply(chain.rationale, answer, problem)
                weight = self.wrong_weight if outcome is Outcome.WRONG else 1.0
                if weight:
                    examples.append(self.format.write_example("student", prompt, target, problem.id, chain.id, weight=weight))
        return examples

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        reply = yield Call("student", self._prompt(problem, path, pool, GOOD), self.format.stop, self.max_tokens)
        return self.format.read_solution(problem, path, "student", reply)

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        extraction = extract(solution.text, problem.kind, problem.choices, problem.question, problem.form)
        return None if extraction.value is None else solution.text[: extraction.start].strip()

    def put_rationale(self, rationale: str, _: Call) -> tuple[str, bool]:
        return self.format.begin_reply(rationale), True

    def _prompt(self, problem: Problem, path: SamplePath, pool: Pool, token: str) -> Prompt:
        context = pool.others(path, self.in_context) if self.in_context else ()
        return self.format.write_prompt(problem, context, prefix=f"{token} " if self.control and token else "")
