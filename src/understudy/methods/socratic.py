"""Socratic CoT (Shridhar et al. 2023, arXiv 2212.00193): one model asks the sub-questions, another answers them.

    Q: {question}
    Q1: How many coins has Ana after Monday?     the decomposer's; once nothing is left to ask: [end]
    A1: She has 4 + 3 = 7.                       the solver's; "A:" at the end gets the answer
    A: So the answer is: 7

The paper's text and second-hand notes are all there is (its repository is empty): both ways of asking, the guidance and the guards
are in the specification that was drawn from them (docs/methods.md says which is which). `methods.decompose` asks its teacher.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from understudy.core.answers.equations import equations
from understudy.core.asks import About, Call, Decoding, Flow, Path, Prompt, Reply
from understudy.core.prompting import Format, question_text, solution_of
from understudy.core.protocols import Pool
from understudy.core.subquestions import one_line, questions, steps_of, written
from understudy.core.values import Chain, Example, Problem, Solution, Step

END = "[end]"
"""What the decomposer says when there is nothing left to ask."""


@dataclass(frozen=True)
class Socratic:
    """A decomposer asks sub-questions and a solver answers them, in turns, until the decomposer ends it."""

    models: Literal["two", "shared", "unified"] = "two"
    """``two``: a model for each role (iterative, the paper's main variant); ``shared``: one model plays both, in turns;
    ``unified``: one model writes all questions and answers in one pass."""
    questions: Literal["interleaved", "plan_first"] = "interleaved"
    """``interleaved``: each question is asked after the answers before it; ``plan_first``: all of them at once. The paper's text
    allows both."""
    guidance: Literal["none", "number", "operators", "equations"] = "none"
    """What the decomposer writes before its first question, and goes by: how many steps, which operators, or which equations it
    takes (the paper's content guidance, there from gold; here too with ``roles.planner = { model = "gold" }``)."""
    context: Literal["history", "last"] = "history"
    """What the solver sees before a question: all questions and answers, or only the last one."""
    max_steps: int = 10
    """Most sub-questions (GSM8K's longest has 11, 99.9 % at most 9: its Socratic test set)."""
    retries: int = 1
    """How often an empty or repeated question is asked for again, sampled at temperature 0.7, before the questions end."""
    max_tokens: int = 96
    """Limit of one question or answer; a reply with all of them has ``max_steps`` times as much."""
    format: Format = field(default_factory=Format)
    """How prompts are written; sub-questions need plain numbers."""

    name: ClassVar[str] = "socratic"
    paper: ClassVar[str] = "2212.00193"
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    words: ClassVar[tuple[str, ...]] = (*(f"Q{i}: A{i}:" for i in range(1, 13)), f"Plan: A: {END} steps step + - * / ** ;")

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.retries < 0 or self.max_tokens < 1:
            raise ValueError(
                f"max_steps = {self.max_steps}, retries = {self.retries}, max_tokens = {self.max_tokens}: from 1, 0, 1"
            )
        if self.format.numbers == "pointers":
            raise ValueError('format.numbers = "pointers": sub-questions are words, not equations; take "plain"')
        if self.models == "unified" and (self.questions, self.guidance, self.context) != ("interleaved", "none", "history"):
            raise ValueError('models = "unified": one pass has no turns; leave questions, guidance and context as they are')

    @property
    def roles(self) -> tuple[str, ...]:
        return ("decomposer", "solver") if self.models == "two" else ("student",)

    @property
    def parts(self) -> Mapping[str, str]:
        if self.models == "unified":
            return {"student": "student"}
        asks, answers = self.roles if self.models == "two" else ("student", "student")
        return {**({} if self.guidance == "none" else {"planner": asks}), "decomposer": asks, "solver": answers}

    def unfit(self, problem: Problem, chain: Chain) -> str:
        steps = steps_of(chain)
        if not steps:
            return "no sub-questions"
        return f"more than {self.max_steps} sub-questions" if len(steps) > self.max_steps else ""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        made = []
        for chain in chains:
            if chain.answer is None or self.unfit(problem, chain):
                continue
            for call in self._calls(problem, chain):
                said = self.told(problem, chain, call)
                made.append(self.format.teaching(self.parts[call.role], call.prompt, said, problem=problem.id, chain=chain.id))
        return made

    def told(self, problem: Problem, chain: Chain, call: Call) -> str:
        steps, at = steps_of(chain), call.about.step if call.about else None
        assert chain.answer is not None, "chains without an answer are not taught"
        if call.role == "student":
            return self.format.block(_reply(written(steps)) + f"\nA: {self._conclusion(problem, chain.answer).strip()}")
        if call.role == "planner":
            return self.format.line(self._plan(steps))
        if call.role == "decomposer" and self.questions == "plan_first":
            return self.format.block(_reply(_asked([step.question or "" for step in steps])))
        if at is None:
            return self._conclusion(problem, chain.answer)
        if call.role == "decomposer":
            return self.format.line((steps[at].question or "") if at < len(steps) else END)
        return self.format.line(steps[min(at, len(steps) - 1)].text)

    def solve(self, problem: Problem, path: Path, pool: Pool) -> Flow[Solution]:
        turns: list[tuple[str, Reply]] = []
        if self.models == "unified":
            reply = yield self._call("student", self._at(problem, "", (), "Q1:"), problem, None)
            said = f"Q1: {reply.text.strip()}"
            return solution_of(problem, path, [("student", reply)], said)
        plan = ""
        if self.guidance != "none":
            call = self._call("planner", self._at(problem, "", (), "Plan:"), problem, None)
            plan = one_line((yield from self._turn(turns, call)).text)
        planned = None
        if self.questions == "plan_first":
            call = self._call("decomposer", self._at(problem, plan, (), "Q1:"), problem, None)
            planned = iter(questions(f"Q1: {(yield from self._turn(turns, call)).text.strip()}"))
        steps: list[Step] = []
        while len(steps) < self.max_steps:
            if planned is None:
                question = yield from self._next(problem, plan, steps, turns)
            else:
                question = next((q for q in planned if not _repeats(q, steps)), END)
            if question == END:
                break
            answer = yield from self._turn(turns, self._answer_call(problem, steps, question))
            steps.append(Step(one_line(answer.text), question))
        last = yield from self._turn(turns, self._conclude_call(problem, steps))
        return solution_of(problem, path, turns, f"{written(steps)}\nA: {last.text.strip()}".lstrip())

    def _next(
        self, problem: Problem, plan: str, steps: Sequence[Step], turns: list[tuple[str, Reply]]
    ) -> Generator[Call, Reply, str]:
        """The next sub-question, or END: also where it stays empty or says an earlier one again."""
        call = self._call("decomposer", self._at(problem, plan, steps, f"Q{len(steps) + 1}:"), problem, len(steps))
        for attempt in range(self.retries + 1):
            again = replace(call, attempt=attempt, decoding=Decoding(0.7) if attempt else None)
            question = one_line((yield from self._turn(turns, again)).text)
            if question and not _repeats(question, steps):
                return question
        return END

    def _calls(self, problem: Problem, chain: Chain) -> list[Call]:
        """Every turn that `solve` would take if the students said what ``chain`` does."""
        steps = steps_of(chain)
        if self.models == "unified":
            return [self._call("student", self._at(problem, "", (), "Q1:"), problem, None)]
        plan, calls = "", []
        if self.guidance != "none":
            plan = self._plan(steps)
            calls.append(self._call("planner", self._at(problem, "", (), "Plan:"), problem, None))
        for i in range(len(steps) + 1):
            if self.questions == "interleaved":
                calls.append(self._call("decomposer", self._at(problem, plan, steps[:i], f"Q{i + 1}:"), problem, i))
            elif i == 0:
                calls.append(self._call("decomposer", self._at(problem, plan, (), "Q1:"), problem, None))
            if i < len(steps):
                calls.append(self._answer_call(problem, steps[:i], steps[i].question or ""))
        return [*calls, self._conclude_call(problem, steps)]

    def _answer_call(self, problem: Problem, steps: Sequence[Step], question: str) -> Call:
        tail = f"Q{len(steps) + 1}: {question}\nA{len(steps) + 1}:"
        return self._call("solver", self._at(problem, "", self._seen(steps), tail, at=len(steps)), problem, len(steps))

    def _conclude_call(self, problem: Problem, steps: Sequence[Step]) -> Call:
        return self._call("solver", self._at(problem, "", self._seen(steps), "A:", at=len(steps)), problem, None)

    def _seen(self, steps: Sequence[Step]) -> Sequence[Step]:
        return steps if self.context == "history" else steps[-1:]

    def _at(self, problem: Problem, plan: str, steps: Sequence[Step], tail: str, *, at: int | None = None) -> Prompt:
        """The dialogue so far, up to ``tail``; ``at``: how many steps there were, where only the last of them are shown."""
        first = (len(steps) if at is None else at) - len(steps) + 1
        told = [f"Q{i}: {step.question}\nA{i}: {step.text}" for i, step in enumerate(steps, first)]
        return self.format.prompt("\n".join([f"Q: {question_text(problem)}", *([f"Plan: {plan}"] if plan else []), *told, tail]))

    def _call(self, role: str, prompt: Prompt, problem: Problem, step: int | None) -> Call:
        whole = role == "student" or (role == "decomposer" and self.questions == "plan_first")
        concludes = role == "solver" and step is None
        stop = self.format.stop if whole or concludes else self.format.line_stop
        return Call(role, prompt, stop, self.max_tokens * (self.max_steps if whole else 1), about=About(problem.id, step))

    def _turn(self, turns: list[tuple[str, Reply]], call: Call) -> Generator[Call, Reply, Reply]:
        reply = yield call
        turns.append((call.role, reply))
        return reply

    def _conclusion(self, problem: Problem, answer: str) -> str:
        return self.format.telling("", answer, problem.kind)

    def _plan(self, steps: Sequence[Step]) -> str:
        if self.guidance == "number":
            return f"{len(steps)} steps"
        found = [equation for step in steps for equation in equations(step.text)]
        if self.guidance == "operators":
            return " ".join(sign for equation in found for sign in equation.operators) or "none"
        return " ; ".join(equation.text for equation in found) or "none"


def _repeats(question: str, steps: Sequence[Step]) -> bool:
    return question.casefold() in {(step.question or "").casefold() for step in steps}


def _asked(questions: Sequence[str]) -> str:
    return "\n".join(f"Q{i}: {question}" for i, question in enumerate(questions, 1))


def _reply(text: str) -> str:
    """``text`` without the "Q1:" with which the prompt before it ends."""
    return text.removeprefix("Q1:").lstrip()
