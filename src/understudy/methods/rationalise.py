"""A rationale for the right answer: the teacher sees the answer and explains it (Sci-CoT, arXiv 2308.04679; STaR, 2203.14465).

    Q: {question}
    The right answer is: (b)
    A:

The chain records this (``answer_conditioned``). Its answer is the given one, unless it plainly states another. We know the details
of Sci-CoT's teacher only second-hand. Its other way, which keeps a chain if its answer is right, is any other method with the
arm's ``select.keep = "correct"``.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from understudy.core.answers import STATED
from understudy.core.asks import Call, Count, Flow, Reply, SamplePath
from understudy.core.errors import StudyError
from understudy.core.prompt_format import ANSWER, PromptFormat, write_answer, write_question
from understudy.core.prompts import choose_subject, fill
from understudy.core.protocols import NoStudent, Pool
from understudy.core.subquestions import join_lines
from understudy.core.thoughts import split_thought
from understudy.core.values import ABSTAINED, Chain, Problem


@dataclass(frozen=True)
class Rationalise(NoStudent):
    """The method asks for an explanation of the gold answer. It is only a teacher's method, because it must know the answer."""

    subject: Literal["auto", "maths", "science", "commonsense"] = "auto"
    """Which of Understudy's prompts to use. ``auto``, the default of this project, chooses by the kind of answer."""
    max_tokens: Count = 256
    """The maximum number of tokens in a reply. Default chosen by this project: that of scotd."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        if problem.answer is None:
            raise StudyError(f"problem {problem.id!r} has no gold answer to explain; use another teacher.method")
        answer = write_answer(problem.answer, problem)
        exemplars = "".join(
            f"Q: {write_question(p)}\nThe right answer is: {write_answer(c.answer, p)}\nA: {join_lines(c.rationale)}{ANSWER}"
            f"{write_answer(c.answer, p)}\n\n"
            for p, c in pool.exemplars(path)
            if c.answer is not None and c.rationale
        )
        text = pool.prompt(f"rationalise-{choose_subject(problem, self.subject)}")
        prompt = self.format.wrap_prompt(fill(text, {"question": write_question(problem), "answer": answer}, examples=exemplars))
        reply: Reply = yield Call("teacher", prompt, self.format.stop, self.max_tokens)
        # Drop the thought, because it argues about the answer that the prompt gave.
        start = split_thought(reply.text)[1]
        explanation = reply if start is None else replace(reply, text=reply.text[start:], reasoning="")
        chain = replace(self.format.read_chain(problem, path, explanation, prompt=prompt), answer_conditioned=True)
        # A rationale that ends in another answer, or in none, argues for that, so it keeps it, and selection drops it as wrong. A
        # chain whose answer is not plainly stated gets the given one.
        if chain.layer in (*STATED, ABSTAINED) or start is None or not explanation.text.strip():
            return chain
        return replace(chain, rationale=explanation.text.strip(), answer=problem.answer, layer="given")
