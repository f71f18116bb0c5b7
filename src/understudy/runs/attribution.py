"""Whose errors they are: the same problems answered with gold in the place of one part, and the first step that goes wrong.

A wrong answer that becomes right when gold takes the place of the decomposer was the decomposer's; one that stays wrong was not its
alone. Arithmetic is checked step by step in what the students wrote (`core.answers.equations`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from understudy.core.answers.equations import find_equations, find_first_wrong
from understudy.core.subquestions import read_steps, split_sentences
from understudy.core.values import Outcome, Solution
from understudy.corpus.store import read_rows
from understudy.evaluation.outcomes import outcome_of, outcome_of_vote
from understudy.evaluation.statistics import paired
from understudy.reports.data import Attribution, FirstWrong
from understudy.runs.scores import Run, Scored, correctness

All = Mapping[tuple[str, str], list[Scored]]


def attributions(run: Run, everything: All) -> Iterator[Attribution]:
    """Every part of every arm that was answered again with gold in its place, on the first split."""
    split = run.study.evaluation.splits[0]
    for arm in run.arms:
        as_is = {scored.seed: scored for scored in everything[arm, split]}
        for part, seeds in run.gold(arm).items():
            swapped = {seed: _outcomes(run, arm, split, stage) for seed, stage in seeds.items()}
            names = [n for n in as_is[min(as_is)].outcomes if all(n in as_is[s].outcomes and n in swapped[s] for s in as_is)]
            if not names:
                continue
            before_SN = correctness([as_is[seed] for seed in sorted(as_is)], names)
            after_SN = [[swapped[seed][name] is Outcome.CORRECT for name in names] for seed in sorted(as_is)]
            gold_SN = np.array(after_SN, dtype=np.float64)
            found = paired(gold_SN, before_SN, resamples=run.study.evaluation.resamples, seed=run.study.seed)
            wrong = before_SN == 0
            yield Attribution(
                arm=arm,
                part=part,
                split=split,
                seeds=len(as_is),
                n=before_SN.size,
                accuracy=float(before_SN.mean()),
                with_gold=float(gold_SN.mean()),
                difference=found.difference,
                low=found.low,
                high=found.high,
                p=found.p,
                wrong=int(wrong.sum()),
                mended=int((wrong & (gold_SN == 1)).sum()),
            )


def _outcomes(run: Run, arm: str, split: str, stage: Path) -> dict[str, Outcome]:
    problems, decode = run.of_split(split), run.arms[arm].decode
    by_problem: dict[str, list[Solution]] = defaultdict(list)
    for solution in read_rows(stage / "solutions.parquet", Solution):
        if solution.problem in problems:
            by_problem[solution.problem].append(solution)
    if decode.votes == 1:
        return {name: outcome_of(problems[name], found[0], run.check) for name, found in by_problem.items()}
    return {name: outcome_of_vote(problems[name], s, weighted=decode.weighted, by=run.check) for name, s in by_problem.items()}


def first_wrong_steps(run: Run, everything: All) -> Iterator[FirstWrong]:
    """For every arm whose students write equations: where those of the wrong answers to the first split first go wrong."""
    split = run.study.evaluation.splits[0]
    for arm in run.arms:
        problems = run.of_split(split)
        at: Counter[int] = Counter()
        wrong = holds = without = 0
        for scored in everything[arm, split]:
            for name, solutions in scored.solutions.items():
                if scored.outcomes.get(name) is not Outcome.WRONG:
                    continue
                wrong += 1
                one = next((s for s in solutions if outcome_of(problems[name], s, run.check) is Outcome.WRONG), solutions[0])
                steps = steps_written(one.text)
                if not any(True for step in steps for _ in find_equations(step)):
                    without += 1
                elif (place := find_first_wrong(steps)) is None:
                    holds += 1
                else:
                    at[place + 1] += 1
        if wrong > without:
            yield FirstWrong(arm, split, wrong, tuple(sorted(at.items())), holds, without)


def steps_written(text: str) -> Sequence[str]:
    """The steps of a solution: the answers to its sub-questions, or its lines or sentences."""
    return [step.text for step in read_steps(text)] or split_sentences(text)
