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
from understudy.core.prompt_format import PromptFormat, make_solution, write_answer, write_question
from understudy.core.prompts import choose_subject, fill
from understudy.core.protocols import NoStudent, Pool
from understudy.core.subquestions import join_lines, list_steps, number_lines, read_opinions, read_steps, write_steps
from understudy.core.thoughts import split_thought
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
        modes = {"decompose": self._sample_dialogue, "answer": self._sample_answers, "backfill": self._sample_questions}
        chain = yield from modes[self.mode](problem, path, pool)
        return (yield from self._drop_useless(problem, chain, pool)) if self.feedback and list_steps(chain) else chain

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        if self.mode != "decompose":
            raise StudyError(f'mode = {self.mode!r}: only "decompose" answers problems; use {self.mode!r} in [teacher]')
        reply: Reply = yield self._call("student", self._write_questions(problem, path, pool))
        return make_solution(problem, path, [("student", reply)], _restore_mark("Q1:", reply).text)

    def _sample_dialogue(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        prompt = self._write_questions(problem, path, pool)
        reply = _restore_mark("Q1:", (yield self._call("teacher", prompt)))
        return _add_steps(self.format.read_chain(problem, path, reply, prompt=prompt), read_steps(_strip_thought(reply)))

    def _sample_answers(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        questions = [join_lines(str(pair["question"])) for pair in subquestions.list_subquestions(problem)]
        if not questions:
            raise StudyError(f'mode = "answer": problem {problem.id!r} has no sub-questions (meta.subquestions); use "decompose"')
        prompt = self._prompt("answer", problem, pool, {"questions": number_lines("Q", questions)})
        reply = _restore_mark("A1:", (yield self._call("teacher", prompt)))
        answers = subquestions.match_answers(_strip_thought(reply), len(questions))
        steps = tuple(Step(answer, question) for question, answer in zip(questions, answers, strict=False))
        chain = _add_steps(self.format.read_chain(problem, path, reply, prompt=prompt), steps)
        # A step without a question marks a chain whose text was read but lacks an answer to some question.
        return chain if steps else replace(chain, steps=(Step(join_lines(chain.rationale)),))

    def _sample_questions(self, problem: Problem, path: SamplePath, pool: Pool) -> Generator[Call, Reply, Chain]:
        if self.of == "human":
            chain = subquestions.make_gold_chain(problem)
            if chain is None:
                raise StudyError(f'of = "human": problem {problem.id!r} has no human rationale; set of = "teacher"')
            chain = replace(chain, path=path.index)
        else:
            prompt = self.format.write_prompt(problem, pool.exemplars(path))
            reply = yield replace(self._call("teacher", prompt), stop=self.format.stop)
            chain = self.format.read_chain(problem, path, reply, prompt=prompt)
        sentences = subquestions.split_sentences(chain.rationale)
        if not sentences or chain.finish != "stop":
            return chain
        reply = yield self._call("teacher", self._prompt("backfill", problem, pool, {"steps": number_lines("A", sentences)}))
        complete = reply.finish == "stop"  # a cut-off question is not a question
        questions = subquestions.match_questions(_strip_thought(_restore_mark("Q1:", reply)), len(sentences)) if complete else ()
        steps = tuple(Step(join_lines(step), question) for question, step in zip(questions, sentences, strict=False))
        return _add_cost(replace(chain, steps=steps), [reply])

    def _drop_useless(self, problem: Problem, chain: Chain, pool: Pool) -> Generator[Any, Any, Chain]:
        """Drop the steps whose questions are useless. The chain keeps the share of useful opinions for each question."""
        questions = number_lines("Q", (step.question or "" for step in chain.steps))
        prompt = self._prompt("feedback", problem, pool, {"questions": questions})
        calls = [self._call("teacher", prompt, attempt=i, decoding=Decoding(0.7)) for i in range(self.feedback)]
        replies: list[Reply] = yield calls
        opinions = [read_opinions(_strip_thought(_restore_mark("Useful 1:", reply)), len(chain.steps)) for reply in replies]
        shares = [sum(opinion[i] for opinion in opinions) / len(opinions) for i in range(len(chain.steps))]
        steps = tuple(step for step, share in zip(chain.steps, shares, strict=True) if share >= 0.5)
        return _add_cost(replace(chain, steps=steps, sampling={**chain.sampling, "useful": shares}), replies)

    def _write_questions(self, problem: Problem, path: SamplePath, pool: Pool) -> Prompt:
        examples = "".join(
            f"Q: {write_question(p)}\n{write_steps(list_steps(c))}\nThe answer is: {write_answer(c.answer, p)}\n\n"
            for p, c in pool.exemplars(path)
            if c.answer is not None and list_steps(c)
        )
        return self._prompt("questions", problem, pool, {}, examples=examples)

    def _prompt(self, purpose: str, problem: Problem, pool: Pool, values: Mapping[str, str], *, examples: str = "") -> Prompt:
        text = pool.prompt(f"decompose-{purpose}-{choose_subject(problem, self.subject)}")
        return self.format.wrap_prompt(fill(text, {"question": write_question(problem), **values}, examples=examples))

    def _call(self, role: str, prompt: Prompt, **options: Any) -> Call:
        return Call(role, prompt, ("\nQ:",) if isinstance(prompt, str) else (), self.max_tokens, **options)


def _restore_mark(mark: str, reply: Reply) -> Reply:
    """Put the ``mark`` that ends the prompt in front of ``reply``, after its thought, unless the reply repeats the mark. An empty
    reply and a thought that never ends stay as they are."""
    text = _strip_thought(reply)
    start = len(reply.text) - len(text)
    return replace(reply, text=reply.text[:start] + subquestions.restore_mark(mark, text)) if text.strip() else reply


def _strip_thought(reply: Reply) -> str:
    start = split_thought(reply.text)[1]
    return "" if start is None else reply.text[start:]


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
