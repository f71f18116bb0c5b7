"""Whose errors they are: the same problems answered with gold in the place of one part, and the first step that goes wrong.

A wrong answer that becomes right when gold takes the place of the decomposer was the decomposer's; one that stays wrong was not its
alone. Arithmetic is checked step by step in what the students wrote (`core.answers.equations`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from understudy.core.answers import answer_key
from understudy.core.answers.equations import find_equations, find_first_wrong
from understudy.core.answers.spans import to_point
from understudy.core.subquestions import read_steps, split_sentences
from understudy.core.values import Outcome, Problem, Solution
from understudy.evaluation.metrics import outcome_of
from understudy.evaluation.statistics import accuracy_interval, correctness, paired
from understudy.reports.data import Attribution, Faithfulness, FirstWrong
from understudy.runs.run import Run, ScoredAnswers, find_clusters, outcomes_of_answers


def attribute_errors(run: Run, scored: ScoredAnswers) -> Iterator[Attribution]:
    """Every part of every arm that was answered again with gold in its place, on the first split."""
    split = run.study.evaluation.splits[0]
    for arm in run.arms:
        own = {one.seed: one for one in scored[arm, split]}
        weighted = run.arms[arm].decode.weighted
        for part, stages in run.gold(arm).items():
            solutions = {seed: run.solutions(stage, split) for seed, stage in stages.items()}
            swapped = {seed: outcomes_of_answers(run, split, given, weighted=weighted) for seed, given in solutions.items()}
            names = [n for n in own[min(own)].outcomes if all(n in own[s].outcomes and n in swapped[s] for s in own)]
            if not names:
                continue
            before_SN = correctness([own[seed].outcomes for seed in sorted(own)], names)
            after_SN = correctness([swapped[seed] for seed in sorted(own)], names)
            wrong = before_SN == 0
            yield Attribution(
                **vars(paired(after_SN, before_SN, clusters=find_clusters(run, split, names))),
                arm=arm,
                part=part,
                split=split,
                seeds=len(own),
                n=before_SN.size,
                accuracy=float(before_SN.mean()),
                with_gold=float(after_SN.mean()),
                wrong=int(wrong.sum()),
                mended=int((wrong & (after_SN == 1)).sum()),
            )


def measure_faithfulness(run: Run, scored: ScoredAnswers) -> Iterator[Faithfulness]:
    """How often the answers of every arm that was probed stay the same after each alteration of its rationales."""
    split = run.study.evaluation.splits[0]
    for arm in run.arms:
        own = {one.seed: one for one in scored[arm, split]}
        for how, stages in run.probes(arm).items():
            after = {seed: run.solutions(stage, split) for seed, stage in stages.items()}
            judged = {seed: outcomes_of_answers(run, split, given, weighted=False) for seed, given in after.items()}
            names = [
                name for name in own[min(own)].outcomes if all(name in judged[seed] and name in own[seed].outcomes for seed in own)
            ]
            if not names:
                continue
            seeds = sorted(own)
            same_SN = np.array(
                [[_same(own[seed].solutions[name][0], after[seed][name][0]) for name in names] for seed in seeds], dtype=float
            )
            before, now = (correctness([of[seed] for seed in seeds], names) for of in ({s: own[s].outcomes for s in seeds}, judged))
            low, high = accuracy_interval(same_SN, clusters=find_clusters(run, split, names))
            means = float(same_SN.mean()), low, high, float(before.mean()), float(now.mean())
            yield Faithfulness(arm, how, split, same_SN.size, *means)


def _same(before: Solution, after: Solution) -> bool:
    """Both state one answer; two replies without any have none in common."""
    return None not in (before.answer, after.answer) and answer_key(before.answer or "") == answer_key(after.answer or "")


def find_first_wrong_steps(run: Run, scored: ScoredAnswers) -> Iterator[FirstWrong]:
    """For every arm with wrong answers to the first split: where the equations in them first go wrong."""
    split = run.study.evaluation.splits[0]
    problems = run.of_split(split)
    for arm in run.arms:
        at: Counter[int] = Counter()
        wrong = holds = without = 0
        for one in scored[arm, split]:
            for name in (name for name, outcome in one.outcomes.items() if outcome is Outcome.WRONG):
                solutions = one.solutions[name]
                solution = next((s for s in solutions if outcome_of(problems[name], s, run.check) is Outcome.WRONG), solutions[0])
                steps = _read_steps(problems[name], solution)
                wrong += 1
                if not any(True for step in steps for _ in find_equations(step)):
                    without += 1
                elif (place := find_first_wrong(steps)) is None:
                    holds += 1
                else:
                    at[place + 1] += 1
        if wrong:
            yield FirstWrong(arm, split, wrong, tuple(sorted(at.items())), holds, without)


def find_wrong_step(problem: Problem, wrong: Sequence[Solution]) -> int | None:
    """The first step, counted from 1, of the first of the ``wrong`` solutions in which an equation does not hold."""
    place = find_first_wrong(_read_steps(problem, wrong[0])) if wrong else None
    return None if place is None else place + 1


def _read_steps(problem: Problem, solution: Solution) -> Sequence[str]:
    """The answers to its sub-questions, or its lines or sentences."""
    text = to_point(solution.text, problem.form)
    return [step.text for step in read_steps(text)] or split_sentences(text)
