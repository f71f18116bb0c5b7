"""Sci-CoT (Ma et al. 2023, arXiv 2308.04679): one model writes the rationale, a second answers from it.

    Q: {question}                                Q: {question}
    Rationale:{rationale}                        Rationale: {rationale}
                                                 A: So the answer is: (b)

Only the abstract was available. The two stages are those of MM-CoT (amazon-science/mm-cot: QCM-E, then QCMG-A), which trains stage
2 on the teacher's rationales and answers from generated ones. That mismatch is an option here (``source``). An arm with
``answer_sees = "rationale"`` measures how much rationales give the answer away. Stage 2 reads a cut-off rationale as it is, in
training and in answering; only the finish of the answer stage counts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from understudy.core.answers import answer_key
from understudy.core.asks import AtLeast, Call, Count, Decoding, Flow, Reply, SamplePath
from understudy.core.errors import StudyError, TooLongError
from understudy.core.prompt_format import PromptFormat, cut_off_solution, drop_empty_lines, make_solution, write_question
from understudy.core.protocols import Pool
from understudy.core.values import Chain, Example, Problem, Solution
from understudy.core.vote import vote

MASK = "[...]"


@dataclass(frozen=True)
class SciCoT:
    """Stage 1 writes a rationale, stage 2 reads it and answers: two students, whose sizes may differ (``roles``)."""

    source: Literal["teacher", "out_of_fold", "mix", "shuffled", "none"] = "teacher"
    """Whose rationales stage 2 learns from. ``teacher``: the teacher's (MM-CoT's files). ``out_of_fold``: those that stage 1
    writes for problems outside its training, which resemble what stage 2 later reads. ``mix``: both, with half of the loss each.
    ``shuffled``: those of other problems. ``none``: there is no stage 1."""
    folds: Annotated[int, AtLeast(2)] = 5
    """out_of_fold, mix: the number of parts of the training problems. Stage 1 is trained once more without each part. Default
    chosen by this project: with more parts stage 1 sees more problems, but each part costs a student."""
    rationales: Count = 1
    """The number of rationales that stage 1 samples (at temperature 0.7 if there are several). Stage 2 answers from each, and the
    majority counts. 1 is MM-CoT's."""
    mask: Literal["none", "letters", "choices"] = "none"
    """What to hide from stage 2 in a rationale: option ``letters``, as in "(b)", "option B", "the answer is B", or letters and the
    texts of all ``choices`` (and yes and no). The gold text alone cannot be hidden, because it is unknown when stage 2 answers.
    ``none`` is MM-CoT's."""
    answer_sees: Literal["both", "rationale"] = "both"
    """``both``: question and rationale (MM-CoT's QCMG-A). ``rationale``: stage 2 does not see the question, so its accuracy shows
    how much rationales give away (the leak probe)."""
    label: Literal["gold", "teacher"] = "gold"
    """Which answer stage 2 learns: the data set's (MM-CoT), or that of the chains (after rationales of stage 1: that of most
    chains)."""
    max_tokens: Count = 256
    """The maximum number of tokens in a rationale. Default chosen by this project: that of scotd (MM-CoT: 512)."""
    answer_tokens: Count = 32
    """The maximum number of tokens in an answer. Default chosen by this project: that of answer_only (MM-CoT: 64)."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    words: ClassVar[tuple[str, ...]] = (f"Rationale: A: {MASK}",)
    rationale_roles: ClassVar[tuple[str, ...]] = ("rationale",)

    def __post_init__(self) -> None:
        if self.source == "none" and self.answer_sees == "rationale":
            raise ValueError('source = "none" with answer_sees = "rationale": stage 2 would see nothing')

    @property
    def roles(self) -> tuple[str, ...]:
        return ("answer",) if self.source == "none" else ("rationale", "answer")

    @property
    def parts(self) -> Mapping[str, str]:
        return {role: role for role in self.roles}

    @property
    def swaps(self) -> tuple[str, ...]:
        return () if self.source == "none" else ("rationale",)

    @property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        return {"answer": ("rationale",)} if self.source in ("out_of_fold", "mix") else {}

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool, role: str = "answer") -> Flow[list[Example]]:
        examples = []
        if self.source != "none":
            prompt = self._stage1(problem).prompt
            blocks = [(self.format.write_block(chain.rationale), chain.id) for chain in chains]
            examples = [self.format.write_example("rationale", prompt, block, problem.id, chain) for block, chain in blocks]
        if role == "rationale":
            return examples
        sources: list[tuple[str, Chain, str]] = []
        if self.source in ("teacher", "mix", "none"):
            sources = [(c.rationale, c, "main") for c in chains]
        elif self.source == "shuffled":
            others = [(c, pool.others(SamplePath(problem.id, c.path), 1)) for c in chains]
            sources = [(other_chain.rationale, c, "main") for c, pairs in others for _, other_chain in pairs]
        if chains and self.source in ("out_of_fold", "mix"):
            replies: list[Reply] = yield [replace(call, out_of_fold=True) for call in self._rationale_calls(problem)]
            keys = {c.id: answer_key(c.answer or "") for c in chains}
            majority = max(chains, key=lambda c: list(keys.values()).count(keys[c.id]))
            sources += [(reply.text, majority, "generated") for reply in replies]
        for rationale, chain, group in sources:
            answer = problem.answer if self.label == "gold" else chain.answer
            if answer is not None:
                target = self.format.join_reply("", answer, problem)
                options: dict[str, Any] = {"group": group, "weight": 0.5} if self.source == "mix" else {}
                prompt = self._stage2(problem, rationale).prompt
                examples.append(self.format.write_example("answer", prompt, target, problem.id, chain.id, **options))
        return examples

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        (role, text), *_ = solution.turns
        return text.strip() if role == "rationale" and self.rationales == 1 else None

    def put_rationale(self, rationale: str, _: Call) -> tuple[str, bool]:
        return rationale, False

    def quote(self, problem: Problem, chain: Chain, call: Call) -> str:
        if call.role == "rationale":
            return self.format.write_block(chain.rationale)
        assert chain.answer is not None, "gold chains have an answer"
        return self.format.join_reply("", chain.answer, problem)

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        written: list[Reply] = []
        if self.source != "none":
            written = yield self._rationale_calls(problem)
        try:
            answered: list[Reply] = yield [self._stage2(problem, r.text) for r in written] or [self._stage2(problem, "")]
        except TooLongError:
            if not written:
                raise
            return cut_off_solution(problem, path, [("rationale", reply) for reply in written])
        solutions = []
        for i, reply in enumerate(answered):
            turns = [*([("rationale", written[i])] if written else []), ("answer", reply)]
            solution = make_solution(problem, path, turns, reply.text)
            solutions.append(replace(solution, text="\n".join(r.text.strip() for _, r in turns)))
        # If no solution could vote, the result is cut off if one of them was, as in a vote over several paths.
        cut_off = [s for s in solutions if s.finish == "length"]
        return replace(
            vote(solutions).winner or (cut_off or solutions)[0],
            turns=tuple(turn for s in solutions for turn in s.turns),
            tokens=sum(s.tokens for s in solutions),
            prompt_tokens=sum(s.prompt_tokens for s in solutions),
        )

    def _rationale_calls(self, problem: Problem) -> list[Call]:
        call = self._stage1(problem)
        if self.rationales == 1:
            return [call]
        return [replace(call, attempt=i, decoding=Decoding(0.7)) for i in range(self.rationales)]

    def _stage1(self, problem: Problem) -> Call:
        prompt = self.format.wrap_prompt(f"Q: {write_question(problem)}\nRationale:")
        return Call("rationale", prompt, self.format.stop, self.max_tokens)

    def _stage2(self, problem: Problem, rationale: str) -> Call:
        rationale_lines = [f"Rationale: {self._mask_text(problem, rationale)}"] if self.source != "none" else []
        question_lines = [f"Q: {write_question(problem)}"] if self.answer_sees == "both" else []
        prompt = self.format.wrap_prompt("\n".join([*question_lines, *rationale_lines, "A:"]))
        return Call("answer", prompt, self.format.stop, self.answer_tokens)

    def _mask_text(self, problem: Problem, rationale: str) -> str:
        text = drop_empty_lines(rationale)
        if self.mask == "none":
            return text
        hidden = [words for choice in problem.choices if (words := choice.strip(" .").split())]
        if self.mask == "choices" and problem.kind == "yes_no":
            hidden += [["yes"], ["no"]]
        elif not hidden:
            raise StudyError(f'mask = "{self.mask}": problem {problem.id!r} has no options to hide; use "none"')
        if problem.choices:
            text = _match_letters(len(problem.choices)).sub(MASK, text)
        if self.mask == "choices":
            for words in sorted(hidden, key=lambda words: len(" ".join(words)), reverse=True):
                text = re.sub(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)", MASK, text, flags=re.I)
        return text


def _match_letters(n: int) -> re.Pattern[str]:
    """Return a pattern for the letters of ``n`` options that does not match an article, a plural in "(s)" or vitamin C."""
    any_case, capital = f"[a-{chr(96 + n)}A-{chr(64 + n)}]", f"[A-{chr(64 + n)}]"
    patterns = (
        rf"(?<!\w)\({any_case}\)|(?<![\w(]){capital}\)",
        rf"\b(?i:options?|choices?) {any_case}(?![\w'])(?:(?:,| and| or) {any_case}(?![\w']))*",
        rf"\b(?i:answers?(?: is| are)?:?)\s\**{capital}(?![\w'])",
        rf"(?<![\w']){capital}(?= is (?:the )?(?:correct|right|best|wrong|answer))",
    )
    return re.compile("|".join(patterns))
