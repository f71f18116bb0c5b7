"""Sub-questions by prompting: the teacher's side of Socratic CoT (arXiv 2212.00193), and Socratic prompting as a baseline.

    mode = "decompose"   Q: {question}\\nQ1:                      questions and answers in one reply
    mode = "answer"      Q: {question}\\nQ1: ...\\nQ2: ...\\nA1:    answers to the sub-questions that the data set has
    mode = "backfill"    Q: {question}\\nA1: ...\\nA2: ...\\nQ1:    a sub-question for each step of a plain chain

Decomposing, answering and feedback are the modes of DT6A/GSM8K-AI-SubQ (chatgpt_qg.py, chatgpt_qa.py, chatgpt_feedback.py).
GSM8K's Socratic layout was made by filling in a question for each step (openai/grade-school-math). The texts of the prompts are in
``prompts/``.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from understudy.core import subquestions
from understudy.core.asks import AtLeast, Call, Count, Decoding, Flow, Prompt, Reply, SamplePath, add_counts
from understudy.core.errors import StudyError
from understudy.core.prompt_format import PromptFormat, answer_text, question_text, solution_of
from understudy.core.prompts import fill, subject_of
from understudy.core.protocols import NoStudent, Pool
from understudy.core.subquestions import join_lines, number_lines, read_opinions, read_steps, steps_of, write_steps
from understudy.core.thoughts import thought_of
from understudy.core.values import Chain, Problem, Solution, Step


@dataclass(frozen=True)
class Decompose(NoStudent):
    """The method asks for sub-questions and trains nothing. It is a teacher's method; with ``mode = "decompose"`` it is also a
    baseline for a ``model`` other than the trained one."""

    mode: Literal["decompose", "answer", "backfill"] = "decompose"
    """What the prompt asks for. ``decompose``: questions and answers in one reply, the paper's way (caption of its figure 3).
    ``answer``: answers to sub-questions that the problems must have (``meta.subquestions``: GSM8K, StrategyQA). ``backfill``: a
    question for each step of a plain chain."""
    of: Literal["teacher", "human"] = "teacher"
    """backfill: whose chains get sub-questions, the ``teacher``'s (sampled as in scotd) or the data set's rationales (``human``).
    Default chosen by this project, because not every data set has rationales."""
    feedback: Annotated[int, AtLeast(0)] = 0
    """The number of opinions on whether each sub-question is useful. A step is dropped if fewer than half of them find its
    question useful (GSM8K-AI-SubQ takes the mean over several samples as confidence). Default chosen by this project, because each
    opinion is a call."""
    subject: Literal["auto", "maths", "science", "commonsense"] = "auto"
    """Which of Understudy's prompts to use. ``auto``, the default of this project, chooses by the kind of answer."""
    max_tokens: Count = 512
    """The maximum number of tokens in a reply. Default chosen by this project: twice scotd's, because the reply has questions
    too."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    def __post_init__(self) -> None:
        if self.of == "human" and self.mode != "backfill":
            raise ValueError(f'of = "human", mode = {self.mode!r}: only "backfill" starts from existing chains')

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        ways = {"decompose": self._decompose, "answer": self._answer, "backfill": self._backfill}
        chain = yield from ways[self.mode](problem, path, pool)
        return (yield from self._judge(problem, chain, pool)) if self.feedback and steps_of(chain) else chain

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        if self.mode != "decompose":
            raise StudyError(f'mode = {self.mode!r}: only "decompose" answers problems; use {self.mode!r} in [teacher]')
        reply: Reply = yield self._call("student", self._questions(problem, path, pool))
        return solution_of(problem, path, [("student", reply)], _restore_mark("Q1:", reply).text)

    def _decompose(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        prompt = self._questions(problem, path, pool)
        reply = _restore_mark("Q1:", (yield self._call("teacher", prompt)))
        return _add_steps(self.format.read_chain(problem, path, reply, prompt=prompt), read_steps(_strip_thought(reply)))

    def _answer(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        questions = [join_lines(pair["question"]) for pair in problem.meta.get("subquestions") or ()]
        if not questions:
            raise StudyError(f'mode = "answer": problem {problem.id!r} has no sub-questions (meta.subquestions); use "decompose"')
        prompt = self._prompt("answer", problem, pool, {"questions": number_lines("Q", questions)})
        reply = _restore_mark("A1:", (yield self._call("teacher", prompt)))
        answers = subquestions.match_answers(_strip_thought(reply), len(questions))
        steps = tuple(Step(answer, question) for question, answer in zip(questions, answers, strict=False))
        chain = _add_steps(self.format.read_chain(problem, path, reply, prompt=prompt), steps)
        # A step without a question marks a chain whose text was read but lacks an answer to some question.
        return chain if steps else replace(chain, steps=(Step(join_lines(chain.rationale)),))

    def _backfill(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        if self.of == "human":
            chain = subquestions.recorded_chain(problem)
            if chain is None:
                raise StudyError(f'of = "human": problem {problem.id!r} has no human rationale; set of = "teacher"')
            chain = replace(chain, path=path.index)
        else:
            plain = self.format.write_prompt(problem, pool.exemplars(path))
            reply = yield replace(self._call("teacher", plain), stop=self.format.stop)
            chain = self.format.read_chain(problem, path, reply, prompt=plain)
        sentences = subquestions.split_sentences(chain.rationale)
        if not sentences or chain.finish != "stop":
            return chain
        reply = yield self._call("teacher", self._prompt("backfill", problem, pool, {"steps": number_lines("A", sentences)}))
        complete = reply.finish == "stop"  # a cut-off question is not a question
        questions = subquestions.match_questions(_strip_thought(_restore_mark("Q1:", reply)), len(sentences)) if complete else ()
        steps = tuple(Step(join_lines(step), question) for question, step in zip(questions, sentences, strict=False))
        return _add_cost(replace(chain, steps=steps), [reply])

    def _judge(self, problem: Problem, chain: Chain, pool: Pool) -> Generator[Any, Any, Chain]:
        """Drop the steps whose questions are useless. The chain keeps the share of useful opinions for each question."""
        questions = number_lines("Q", (step.question or "" for step in chain.steps))
        prompt = self._prompt("feedback", problem, pool, {"questions": questions})
        calls = [self._call("teacher", prompt, attempt=i, decoding=Decoding(0.7)) for i in range(self.feedback)]
        replies: list[Reply] = yield calls
        opinions = [read_opinions(_strip_thought(_restore_mark("Useful 1:", reply)), len(chain.steps)) for reply in replies]
        shares = [sum(o[i] for o in opinions) / len(opinions) for i in range(len(chain.steps))]
        steps = tuple(step for step, share in zip(chain.steps, shares, strict=True) if share >= 0.5)
        return _add_cost(replace(chain, steps=steps, sampling={**chain.sampling, "useful": shares}), replies)

    def _questions(self, problem: Problem, path: SamplePath, pool: Pool) -> Prompt:
        worked_out = "".join(
            f"Q: {question_text(p)}\n{write_steps(steps_of(c))}\nThe answer is: {answer_text(c.answer, p)}\n\n"
            for p, c in pool.exemplars(path)
            if c.answer is not None and steps_of(c)
        )
        return self._prompt("questions", problem, pool, {}, examples=worked_out)

    def _prompt(self, purpose: str, problem: Problem, pool: Pool, values: Mapping[str, str], *, examples: str = "") -> Prompt:
        text = pool.prompt(f"decompose-{purpose}-{subject_of(problem, self.subject)}")
        return self.format.wrap_prompt(fill(text, {"question": question_text(problem), **values}, examples=examples))

    def _call(self, role: str, prompt: Prompt, **more: Any) -> Call:
        return Call(role, prompt, ("\nQ:",) if isinstance(prompt, str) else (), self.max_tokens, **more)


def _restore_mark(mark: str, reply: Reply) -> Reply:
    """Put the ``mark`` that ends the prompt in front of ``reply``, after its thought, unless the reply repeats the mark. An empty
    reply and a thought that never ends stay as they are."""
    text = _strip_thought(reply)
    begin = len(reply.text) - len(text)
    return replace(reply, text=reply.text[:begin] + subquestions.restore_mark(mark, text)) if text.strip() else reply


def _strip_thought(reply: Reply) -> str:
    begin = thought_of(reply.text)[1]
    return "" if begin is None else reply.text[begin:]


def _add_steps(chain: Chain, steps: tuple[Step, ...]) -> Chain:
    """Return ``chain`` with ``steps``, whose texts without the questions become its rationale."""
    return replace(chain, steps=steps, rationale=" ".join(step.text for step in steps)) if steps else chain


def _add_cost(chain: Chain, replies: Sequence[Reply]) -> Chain:
    """Return ``chain`` with the tokens of further ``replies`` added; None where one of the counts is unknown."""
    return replace(
        chain,
        tokens=add_counts(chain.tokens or 0, *(r.tokens for r in replies)),
        prompt_tokens=add_counts(chain.prompt_tokens or 0, *(r.prompt_tokens for r in replies)),
    )
