"""Socratic CoT (Shridhar et al. 2023, arXiv 2212.00193): one model asks the sub-questions, another answers them.

    Q: {question}
    Q1: How many coins has Ana after Monday?     by the decomposer, which writes [end] when it has no more questions
    A1: She has 4 + 3 = 7.                       by the solver, which also writes the answer after the last "A:"
    A: So the answer is: 7

The sources are the paper's abstract and second-hand notes, because its repository is empty. docs/methods.md says which of the two
each option comes from. The teacher's side is `methods.decompose`.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from understudy.core.answers.equations import find_equations
from understudy.core.answers.spans import to_point
from understudy.core.asks import AtLeast, Call, Count, Decoding, Flow, Reply, SamplePath, T
from understudy.core.errors import TooLongError
from understudy.core.prompt_format import PromptFormat, cut_off_solution, make_solution, show_prompt, write_question
from understudy.core.protocols import Pool
from understudy.core.subquestions import join_lines, list_steps, number_lines, read_questions, read_steps, write_steps
from understudy.core.values import Chain, Example, Problem, Solution, Step

END = "[end]"
"""The decomposer writes this when it has no more questions."""

Talk = Generator[Call, Reply, T]
Turns = list[tuple[str, Reply]]


@dataclass(frozen=True)
class Socratic:
    """A decomposer asks sub-questions and a solver answers them, in turns, until the decomposer stops."""

    models: Literal["two", "shared", "unified"] = "two"
    """``two``: each role has its own model (iterative, the paper's main variant). ``shared``: one model plays both roles in turns.
    ``unified``: one model writes all questions and answers in one pass."""
    questions: Literal["interleaved", "plan_first"] = "interleaved"
    """``interleaved``: each question follows the answers before it. ``plan_first``: all questions come at once. The paper's text
    allows both. Default chosen by this project, because an answer can then change the next question."""
    guidance: Literal["none", "number", "operators", "equations"] = "none"
    """The plan that the decomposer writes before its first question: how many steps, which operators, or which equations the
    solution takes (the paper's content guidance, which comes from gold; also possible here with ``roles.planner = { model = "gold"
    }``). Default chosen by this project, because no gold is known when a student answers."""
    context: Literal["history", "last"] = "history"
    """What the solver sees before a question: all questions and answers (the paper's loss, second-hand), or only the last pair."""
    max_steps: Count = 10
    """The maximum number of sub-questions (GSM8K's longest has 11, 99.9 % at most 9: its Socratic test set)."""
    retries: Annotated[int, AtLeast(0)] = 1
    """How often to repeat a turn, at temperature 0.7, if it is empty or cut off, or repeats an earlier question with its answer.
    After that the questions end. Default chosen by this project: a second try is cheap, and a decomposer without questions ends
    soon."""
    max_tokens: Count = 96
    """The maximum number of tokens in one question or answer. A reply with all of them may have ``max_steps`` times as many (96:
    the longest answer to a sub-question in GSM8K's Socratic test set has 88 words and signs)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        if self.models == "unified" and (self.questions, self.guidance, self.context) != ("interleaved", "none", "history"):
            raise ValueError('models = "unified": one reply has no turns; leave questions, guidance and context at their defaults')

    @property
    def roles(self) -> tuple[str, ...]:
        return ("decomposer", "solver") if self.models == "two" else ("student",)

    @property
    def parts(self) -> Mapping[str, str]:
        if self.models == "unified":
            return {"student": "student"}
        asks, answers = self.roles if self.models == "two" else ("student", "student")
        return {**({} if self.guidance == "none" else {"planner": asks}), "decomposer": asks, "solver": answers}

    @property
    def swaps(self) -> tuple[str, ...]:
        return () if self.models == "unified" else tuple(self.parts)

    @property
    def words(self) -> tuple[str, ...]:
        """The marks of turns and plans, up to ``max_steps``, because the chains may not contain them all."""
        return (*(f"Q{i}: A{i}: {i} steps" for i in range(1, self.max_steps + 1)), f"A: {END} Plan: none + - * / ** ( ) ;")

    def unfit(self, problem: Problem, chain: Chain) -> str:
        steps = list_steps(chain)
        if not steps:
            return "no sub-questions"
        if len(steps) > self.max_steps:
            return f"more than {self.max_steps} sub-questions"
        if not all(join_lines(step.text) for step in steps):
            return "a sub-question without an answer"
        return "a sub-question and its answer twice" if any(_repeats(s, steps[:i]) for i, s in enumerate(steps)) else ""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        yield from ()
        examples = []
        for chain in chains:
            if chain.answer is not None and not self.unfit(problem, chain):
                for call, target in self._replay(problem, chain, pool):
                    examples.append(self.format.write_example(self.parts[call.role], call.prompt, target, problem.id, chain.id))
        return examples

    def _replay(self, problem: Problem, chain: Chain, pool: Pool) -> Iterator[tuple[Call, str]]:
        """Yield every call of `solve` and its reply, if the students say what ``chain`` says."""
        flow = self.solve(problem.blind(), SamplePath(problem.id), pool)
        with suppress(StopIteration):
            call = next(flow)
            while True:
                assert isinstance(call, Call)
                target = self.quote(problem, chain, call)
                yield call, target
                call = flow.send(Reply(target))

    def quote(self, problem: Problem, chain: Chain, call: Call) -> str:
        steps, index = list_steps(chain), call.step
        assert chain.answer is not None, "a chain without an answer cannot be quoted"
        conclusion = self.format.join_reply("", chain.answer, problem)
        if call.role == "student":
            return self.format.write_block(f"{_strip_mark(write_steps(steps))}\nA: {conclusion.strip()}")
        if call.role == "planner":
            return self.format.write_line(self._write_plan(steps, problem.form))
        if _concludes(call):
            # If the questions end too early, they have not led to the chain's answer.
            return conclusion if index >= len(steps) else self.format.write_block("")
        return self._quote_step(steps, call)

    def _quote_step(self, steps: Sequence[Step], call: Call) -> str:
        """Return what ``steps`` say in a turn of the decomposer, or as an answer of the solver."""
        if call.role == "decomposer" and self.questions == "plan_first":
            return self.format.write_block(_strip_mark(number_lines("Q", (step.question or "" for step in steps))))
        if call.role == "decomposer":
            return self.format.write_line((steps[call.step].question or "") if call.step < len(steps) else END)
        return self.format.write_line(steps[min(call.step, len(steps) - 1)].text)

    @property
    def rationale_roles(self) -> tuple[str, ...]:
        return ("student",) if self.models == "unified" else ("decomposer", "solver")

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        rationale, mark, _ = f"\n{solution.text}".rpartition("\nA:")
        return rationale.strip() if mark else None

    def put_rationale(self, rationale: str, call: Call) -> tuple[str, bool]:
        if call.role == "student":
            return self.format.write_block(f"{_strip_mark(rationale)}\nA:").rstrip(), True
        return ("", True) if _concludes(call) else (self._quote_step(read_steps(rationale), call), False)

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        turns: Turns = []
        if self.models == "unified":
            reply = yield from _take_turn(self._call("student", problem, (), "Q1:"), turns)
            return make_solution(problem, path, turns, f"Q1: {reply.text.strip()}")
        try:
            steps, text = yield from self._hold_dialogue(problem, turns)
        except TooLongError:
            if not turns:
                raise
            return cut_off_solution(problem, path, turns)
        return replace(make_solution(problem, path, turns, text), text=f"{write_steps(steps)}\nA: {text}".lstrip())

    def _hold_dialogue(self, problem: Problem, turns: Turns) -> Talk[tuple[list[Step], str]]:
        """Return the steps and the solver's conclusion. The steps end when the decomposer ends them or repeats itself, when the
        solver has no answer, or after ``max_steps``."""
        plan = ""
        if self.guidance != "none":
            plan = join_lines((yield from self._ask_until_complete(self._call("planner", problem, (), "Plan:"), turns)))
        steps: list[Step] = []
        planned = None
        if self.questions == "plan_first":
            text = yield from self._ask_until_complete(self._call("decomposer", problem, (), "Q1:", plan=plan), turns)
            planned = list(read_questions(f"Q1: {text}"))
        refused, tried = 0, set[str]()
        while len(steps) < self.max_steps and refused <= self.retries:
            if planned is None:
                call = self._call("decomposer", problem, steps, f"Q{len(steps) + 1}:", plan=plan)
                question = join_lines(_read_complete((yield from _take_turn(call, turns, refused))))
            else:
                question = planned.pop(0) if planned else END
            if question.startswith(END):
                break
            if question and question not in tried:
                n = len(steps) + 1
                call = self._call("solver", problem, steps, f"Q{n}: {question}\nA{n}:")
                step = Step(join_lines((yield from self._ask_until_complete(call, turns))), question)
                if not step.text:
                    break
                if not _repeats(step, steps):
                    steps.append(step)
                    refused, tried = 0, set()
                    continue
                tried.add(question)
            refused += planned is None
        return steps, (yield from _take_turn(self._call("solver", problem, steps, "A:"), turns)).text.strip()

    def _ask_until_complete(self, call: Call, turns: Turns) -> Talk[str]:
        """Return the reply to ``call``. Repeat the call if the reply is empty or cut off; return "" if all replies are."""
        for attempt in range(self.retries + 1):
            if text := _read_complete((yield from _take_turn(call, turns, attempt))):
                return text
        return ""

    def _call(self, role: str, problem: Problem, steps: Sequence[Step], tail: str, *, plan: str = "") -> Call:
        """Return the call that asks ``role`` to continue after ``tail``, below the ``steps`` that the role sees."""
        visible = steps[-1:] if role == "solver" and self.context == "last" else steps
        pairs = [f"Q{i}: {step.question}\nA{i}: {step.text}" for i, step in enumerate(visible, len(steps) - len(visible) + 1)]
        lines = [f"Q: {write_question(problem)}", *([f"Plan: {plan}"] if plan else []), *pairs, tail]
        sees_all = role == "student" or (role == "decomposer" and self.questions == "plan_first")
        return Call(
            role,
            self.format.wrap_prompt("\n".join(lines)),
            self.format.stop if sees_all or tail == "A:" else self.format.line_stop,
            self.max_tokens * (self.max_steps if sees_all else 1),
            step=len(steps),
        )

    def _write_plan(self, steps: Sequence[Step], form: str) -> str:
        if self.guidance == "number":
            return f"{len(steps)} steps"
        equations = [equation for step in steps for equation in find_equations(to_point(step.text, form))]
        if self.guidance == "operators":
            return " ".join(sign for equation in equations for sign in equation.operators) or "none"
        return " ; ".join(equation.text for equation in equations) or "none"


def _concludes(call: Call) -> bool:
    """Return whether ``call`` asks the solver for the answer to the whole problem."""
    return call.role == "solver" and show_prompt(call.prompt).endswith("\nA:")


def _take_turn(call: Call, turns: Turns, attempt: int = 0) -> Talk[Reply]:
    reply = yield replace(call, attempt=attempt, decoding=Decoding(0.7) if attempt else None)
    turns.append((call.role, reply))
    return reply


def _read_complete(reply: Reply) -> str:
    return reply.text.strip() if reply.finish == "stop" else ""


def _repeats(step: Step, steps: Sequence[Step]) -> bool:
    """Return whether ``step`` repeats the question and the answer of one of ``steps``. A question alone may occur twice: one in
    six of GSM8K's Socratic solutions asks one twice, for two steps, and none has the same answer twice."""
    return (step.question or "", step.text) in {(s.question, s.text) for s in steps}


def _strip_mark(text: str) -> str:
    """Return ``text`` without its first "Q1:", because the prompt ends with it."""
    return text.removeprefix("Q1:").lstrip()
