"""The questions of a run, each from its chains to the students' answers: what `understudy why` prints and `understudy view` shows.

Only an entry for each question is held. Chains, verdicts and training examples are read from the run's files when they are shown.
Of a run that is not finished, what is there is shown: `understudy check` is enough.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow.compute as pc
import pyarrow.parquet as pq

from understudy.core.prompt_format import question_text
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict, grouped
from understudy.corpus.store import read_rows
from understudy.evaluation.metrics import outcome_of
from understudy.pipeline.stages.selection import chosen_ids
from understudy.runs.attribution import check_steps
from understudy.runs.run import ArmOutcomes, Run, score
from understudy.training.record import ShownExample, read_examples


@dataclass(frozen=True)
class JudgedChain:
    """A chain with the verdict of each check. ``arms``: those whose selection took it."""

    chain: Chain
    verdicts: tuple[Verdict, ...]
    arms: tuple[str, ...]


@dataclass(frozen=True)
class ArmAnswer:
    """What ``arm`` answers with one training seed: its ``outcome``, and each sampled solution with its own. ``step``: the first in
    which an equation is wrong, counted from 1; None where none is or the answer is right."""

    arm: str
    seed: int
    outcome: Outcome
    solutions: tuple[tuple[Solution, Outcome], ...]
    step: int | None


@dataclass(frozen=True)
class QuestionRecord:
    """One question. ``rows``: those of its chains in the run's file. ``verdicts``: what the first check says of them -> how many.
    ``length``: characters of its longest chain."""

    problem: Problem
    rows: range
    verdicts: Mapping[str, int]
    length: int
    answers: tuple[ArmAnswer, ...]

    @property
    def arms_disagree(self) -> bool:
        right = grouped((answer.arm, answer.outcome is Outcome.CORRECT) for answer in self.answers)
        return len({sum(of_arm) / len(of_arm) for of_arm in right.values()}) > 1


@dataclass(frozen=True)
class Filters:
    """Which questions: ``text`` stands in the question, in a chain of it or in an answer; some chain has the ``verdict``; ``arm``
    (any, where it is "") answers with ``outcome``, and its first wrong step is ``step``; the arms are not right equally often
    (``disagree``); the arm's longest answer, or the longest chain where no arm is named, has ``least`` to ``most`` characters."""

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
        """Whether ``entry`` passes all of them but ``text``."""
        answers = [answer for answer in entry.answers if self.arm in ("", answer.arm)]
        wanted = [a for a in answers if self.outcome in ("", a.outcome) and self.step in (None, a.step)]
        length = max((len(s.text) for a in answers for s, _ in a.solutions), default=0) if self.arm else entry.length
        return (
            self.split in ("", entry.problem.split)
            and (not self.verdict or self.verdict in entry.verdicts)
            and (bool(wanted) or not (self.arm or self.outcome or self.step is not None))
            and (not self.disagree or entry.arms_disagree)
            and (self.least is None or length >= self.least)
            and (self.most is None or length <= self.most)
        )


class QuestionIndex:
    """Every question of ``run``, in its order, those of the evaluated splits first. Raises DataError where the chains are not
    judged yet."""

    def __init__(self, run: Run) -> None:
        self.run = run
        splits = run.study.evaluation.splits
        rows_of, lengths = self._read_chains()
        verdicts = pq.read_table(run.verdicts_file, columns=["check", "outcome"])
        told = verdicts.filter(pc.equal(verdicts["check"], run.study.checks[0]))["outcome"].to_pylist()  # of each chain
        scored = (one for split in splits for arm in run.arms if run.has(arm, "answers") for one in score(run, arm, split))
        answers = grouped((name, self._describe(one, run.problems_of(one.split)[name])) for one in scored for name in one.outcomes)
        entries = [
            QuestionRecord(p, rows, Counter(told[rows.start : rows.stop]), max(lengths[rows.start : rows.stop], default=0), found)
            for p in run.problems
            for rows, found in [(rows_of.get(p.id, range(0)), tuple(answers.get(p.id, ())))]
        ]
        entries.sort(key=lambda entry: splits.index(entry.problem.split) if entry.problem.split in splits else len(splits))
        self.entries = {entry.problem.id: entry for entry in entries}

    def _read_chains(self) -> tuple[Mapping[str, range], Sequence[int]]:
        """Problem -> the rows of its chains, and the length of each chain."""
        table = pq.read_table(self.run.chains_file, columns=["problem", "text"])
        places = grouped((name, i) for i, name in enumerate(table["problem"].to_pylist()))
        rows = {name: range(of_problem[0], of_problem[-1] + 1) for name, of_problem in places.items()}
        return rows, pc.utf8_length(table["text"]).to_pylist()

    def _describe(self, one: ArmOutcomes, problem: Problem) -> ArmAnswer:
        solutions = tuple((s, outcome_of(problem, s, self.run.check)) for s in one.solutions[problem.id])
        outcome = one.outcomes[problem.id]
        wrong = next((s for s, own in solutions if own is outcome), None) if outcome is Outcome.WRONG else None
        step = check_steps(problem, wrong.as_chain()).first_wrong if wrong else None
        return ArmAnswer(one.arm, one.seed, outcome, solutions, step or None)

    def find(self, filters: Filters) -> list[QuestionRecord]:
        """The questions that pass ``filters``."""
        kept = [entry for entry in self.entries.values() if filters.keeps(entry)]
        if not filters.text:
            return kept
        wanted = filters.text.casefold()
        table = pq.read_table(self.run.chains_file, columns=["problem", "text"])
        in_a_chain = set(table.filter(pc.match_substring(table["text"], filters.text, ignore_case=True))["problem"].to_pylist())

        def has(entry: QuestionRecord) -> bool:
            texts = (entry.problem.id, question_text(entry.problem), *(s.text for a in entry.answers for s, _ in a.solutions))
            return entry.problem.id in in_a_chain or any(wanted in text.casefold() for text in texts)

        return [entry for entry in kept if has(entry)]

    def chains(self, entry: QuestionRecord) -> list[JudgedChain]:
        """The chains of a question, with what every check says of each."""
        chains = list(read_rows(self.run.chains_file, Chain, entry.rows))
        checks, n = len(self.run.study.checks), len(entry.rows)
        said = list(read_rows(self.run.verdicts_file, Verdict, range(entry.rows.start * checks, entry.rows.stop * checks)))
        return [
            JudgedChain(chain, tuple(of_chain), tuple(arm for arm, ids in self._chosen.items() if chain.id in ids))
            for chain, *of_chain in zip(chains, *(said[n * i : n * (i + 1)] for i in range(checks)), strict=True)
        ]

    @cached_property
    def _chosen(self) -> Mapping[str, frozenset[str]]:
        """arm -> the chains that its selection took, of arms that train on chains and have come so far."""
        run = self.run
        arms = [arm for arm in run.arms if run.has(arm, "selection") and (not run.has(arm, "student") or run.teaches_chains(arm))]
        return {arm: chosen_ids(run.selection(arm)) for arm in arms}

    def examples(self, entry: QuestionRecord) -> Iterator[tuple[str, ShownExample]]:
        """(student, example) of what each student learned from a question."""
        for stage, name in self.run.name_students([arm for arm in self.run.arms if self.run.has(arm, "student")]).items():
            yield from ((name, example) for example in read_examples(stage, entry.problem.id))
