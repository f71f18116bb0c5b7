"""The questions of a run, each from its chains to the students' answers: what `understudy why` prints and `understudy view` shows.

Memory holds only an entry for each question. Chains, verdicts and training examples are read from the run's files when they are
shown. An unfinished run shows what it has so far: `understudy check` is enough.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow.compute as pc
import pyarrow.parquet as pq

from understudy.core.prompt_format import write_question
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict, grouped
from understudy.core.vote import vote
from understudy.corpus.store import read_rows
from understudy.evaluation.metrics import judge_solution
from understudy.pipeline.stages.selection import read_chosen
from understudy.runs.attribution import check_steps
from understudy.runs.run import ArmOutcomes, Run, score
from understudy.training.record import ShownExample, read_examples


@dataclass(frozen=True)
class JudgedChain:
    """A chain with the verdict of each check. ``arms``: those whose selection chose it."""

    chain: Chain
    verdicts: tuple[Verdict, ...]
    arms: tuple[str, ...]


@dataclass(frozen=True)
class ArmAnswer:
    """The answer of ``arm`` with one training seed: its ``outcome``, and each sampled solution with its own outcome. ``elected``:
    the answer that gets most votes, None if no solution could vote. ``step``: the first with a wrong equation, counted from 1; None
    if there is none or the answer is right."""

    arm: str
    seed: int
    outcome: Outcome
    solutions: tuple[tuple[Solution, Outcome], ...]
    elected: str | None
    step: int | None


@dataclass(frozen=True)
class QuestionRecord:
    """One question. ``rows``: those of its chains in the run's file. ``verdicts``: outcome by the first check -> how many of its
    chains. ``length``: characters of its longest chain."""

    problem: Problem
    rows: range
    verdicts: Mapping[str, int]
    length: int
    answers: tuple[ArmAnswer, ...]

    @property
    def arms_disagree(self) -> bool:
        correct = grouped((answer.arm, answer.outcome is Outcome.CORRECT) for answer in self.answers)
        return len({sum(flags) / len(flags) for flags in correct.values()}) > 1


@dataclass(frozen=True)
class Filters:
    """Which questions to show: ``text`` occurs in the question, one of its chains or an answer; some chain has the ``verdict``;
    ``arm`` ("": any arm) answers with ``outcome``, and its first wrong step is ``step``; the arms are not right equally often
    (``disagree``); the arm's longest answer, or the longest chain if no arm is named, has ``least`` to ``most`` characters."""

    text: str = ""
    split: str = ""
    verdict: str = ""
    arm: str = ""
    outcome: str = ""
    step: int | None = None
    disagree: bool = False
    least: int | None = None
    most: int | None = None

    def keeps(self, entry: QuestionRecord) -> bool:
        """Whether ``entry`` passes all filters but ``text``."""
        answers = [answer for answer in entry.answers if self.arm in ("", answer.arm)]
        matching = [a for a in answers if self.outcome in ("", a.outcome) and self.step in (None, a.step)]
        length = max((len(s.text) for a in answers for s, _ in a.solutions), default=0) if self.arm else entry.length
        return (
            self.split in ("", entry.problem.split)
            and (not self.verdict or self.verdict in entry.verdicts)
            and (bool(matching) or not (self.arm or self.outcome or self.step is not None))
            and (not self.disagree or entry.arms_disagree)
            and (self.least is None or length >= self.least)
            and (self.most is None or length <= self.most)
        )


class QuestionIndex:
    """Every question of ``run``, in its order, those of the evaluated splits first. Raises DataError if the chains are not judged
    yet."""

    def __init__(self, run: Run) -> None:
        self.run = run
        splits = run.study.evaluation.splits
        rows_of, lengths = self._read_chains()
        verdicts = pq.read_table(run.verdicts_file, columns=["check", "outcome"])
        outcomes = verdicts.filter(pc.equal(verdicts["check"], run.study.checks[0]))["outcome"].to_pylist()  # of each chain
        scored = (one for split in splits for arm in run.arms if run.has(arm, "answers") for one in score(run, arm, split))
        answers = grouped((name, self._describe(one, run.problems_of(one.split)[name])) for one in scored for name in one.outcomes)
        self.entries: dict[str, QuestionRecord] = {}
        for p in sorted(run.problems, key=lambda p: splits.index(p.split) if p.split in splits else len(splits)):
            rows, arm_answers = rows_of.get(p.id, range(0)), tuple(answers.get(p.id, ()))
            chains = slice(rows.start, rows.stop)
            self.entries[p.id] = QuestionRecord(p, rows, Counter(outcomes[chains]), max(lengths[chains], default=0), arm_answers)

    def _read_chains(self) -> tuple[Mapping[str, range], Sequence[int]]:
        """Read problem -> the rows of its chains, and the length of each chain."""
        table = pq.read_table(self.run.chains_file, columns=["problem", "text"])
        positions = grouped((name, i) for i, name in enumerate(table["problem"].to_pylist()))
        rows = {name: range(indices[0], indices[-1] + 1) for name, indices in positions.items()}
        return rows, pc.utf8_length(table["text"]).to_pylist()

    def _describe(self, answers: ArmOutcomes, problem: Problem) -> ArmAnswer:
        solutions = tuple((s, judge_solution(problem, s, self.run.check)) for s in answers.solutions[problem.id])
        outcome = answers.outcomes[problem.id]
        wrong = [s.as_chain() for s, judged in solutions if judged is outcome is Outcome.WRONG]
        step = check_steps(problem, wrong[0]).first_wrong if wrong else None
        elected = vote(answers.solutions[problem.id], weighted=self.run.arms[answers.arm].decode.weighted).answer
        return ArmAnswer(answers.arm, answers.seed, outcome, solutions, elected, step or None)

    def find(self, filters: Filters) -> list[QuestionRecord]:
        """Find the questions that pass ``filters``."""
        entries = [entry for entry in self.entries.values() if filters.keeps(entry)]
        if not filters.text:
            return entries
        needle = filters.text.casefold()
        table = pq.read_table(self.run.chains_file, columns=["problem", "text"])
        in_a_chain = set(table.filter(pc.match_substring(table["text"], filters.text, ignore_case=True))["problem"].to_pylist())

        def contains(entry: QuestionRecord) -> bool:
            texts = (entry.problem.id, write_question(entry.problem), *(s.text for a in entry.answers for s, _ in a.solutions))
            return entry.problem.id in in_a_chain or any(needle in text.casefold() for text in texts)

        return [entry for entry in entries if contains(entry)]

    def chains(self, entry: QuestionRecord) -> list[JudgedChain]:
        """Read the chains of a question, with the verdict of every check on each."""
        chains = list(read_rows(self.run.chains_file, Chain, entry.rows))
        checks, n = len(self.run.study.checks), len(entry.rows)
        verdicts = list(read_rows(self.run.verdicts_file, Verdict, range(entry.rows.start * checks, entry.rows.stop * checks)))
        return [
            JudgedChain(chain, tuple(chain_verdicts), tuple(arm for arm, ids in self._chosen.items() if chain.id in ids))
            for chain, *chain_verdicts in zip(chains, *(verdicts[n * i : n * (i + 1)] for i in range(checks)), strict=True)
        ]

    @cached_property
    def _chosen(self) -> Mapping[str, frozenset[str]]:
        """arm -> the chains that its selection chose, for arms that train on chains and have got that far."""
        run = self.run
        arms = [arm for arm in run.arms if run.has(arm, "selection") and (not run.has(arm, "student") or run.teaches_chains(arm))]
        return {arm: read_chosen(run.selection(arm)) for arm in arms}

    def examples(self, entry: QuestionRecord) -> Iterator[tuple[str, ShownExample]]:
        """Yield (student, example) for everything that each student learned from a question."""
        for stage, name in self.run.name_students([arm for arm in self.run.arms if self.run.has(arm, "student")]).items():
            yield from ((name, example) for example in read_examples(stage, entry.problem.id))
