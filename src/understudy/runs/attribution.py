"""Attribute errors: to a part of the method, by answering the same problems with gold in place of that part, and to the first step
that goes wrong.

A wrong answer that becomes right when gold takes the decomposer's place was the decomposer's error; one that stays wrong was not
its error alone. Arithmetic is checked step by step in what teacher and students wrote (`checks.arithmetic`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from understudy.checks.arithmetic import find_calculations
from understudy.core.answers import answer_key
from understudy.core.protocols import Check
from understudy.core.values import Chain, Outcome, Problem, Solution, grouped
from understudy.evaluation.metrics import judge_solution
from understudy.evaluation.statistics import Array, accuracy_interval, compare, correctness, holm, pool_noise
from understudy.reports.data import Attribution, Faithfulness, FirstWrong
from understudy.runs.run import ArmOutcomes, Run, ScoredAnswers, find_clusters, list_common, score
from understudy.runs.summaries import group_by_students


def attribute_errors(run: Run, scored: ScoredAnswers) -> Iterator[Attribution]:
    """Yield the test of every part of every arm that was answered again with gold in its place, on the first split."""
    split = run.study.evaluation.splits[0]
    rerun = list(_iter_repeated(run, scored, split, "gold"))
    pairs = len(rerun)
    tests = [compare(after, before, clusters=find_clusters(run, split, names), pairs=pairs) for *_, names, before, after in rerun]
    corrected = holm([test.p for test in tests])
    for (arm, part, original, _, _, before_SN, after_SN), test, p in zip(rerun, tests, corrected, strict=True):
        wrong = before_SN == 0
        yield Attribution(
            **vars(replace(test, p=p)),
            arm=arm,
            part=part,
            split=split,
            seeds=len(original),
            n=before_SN.size,
            accuracy=float(before_SN.mean()),
            with_gold=float(after_SN.mean()),
            wrong=int(wrong.sum()),
            mended=int((wrong & (after_SN == 1)).sum()),
        )


def measure_faithfulness(run: Run, scored: ScoredAnswers) -> Iterator[Faithfulness]:
    """Measure how often the answers of every probed arm stay the same after each alteration of its rationales."""
    split, probed = run.study.evaluation.splits[0], []
    same: dict[str, dict[str, Array]] = defaultdict(dict)
    for arm, kind, original, repeated, names, before_SN, after_SN in _iter_repeated(run, scored, split, "probe"):
        seeds = [(before.solutions, after.solutions) for before, after in zip(original, repeated, strict=True)]
        same[kind][arm] = np.array([[_is_same(before[n][0], after[n][0]) for n in names] for before, after in seeds], dtype=float)
        probed.append((arm, kind, names, float(before_SN.mean()), float(after_SN.mean())))
    noise = {kind: pool_noise(list(arms.values()), group_by_students([(run, arm) for arm in arms])) for kind, arms in same.items()}
    for arm, kind, names, before, after in probed:
        same_SN, clusters = same[kind][arm], find_clusters(run, split, names)
        low, high = accuracy_interval(same_SN, noise[kind], clusters)
        yield Faithfulness(arm, kind, split, same_SN.size, float(same_SN.mean()), low, high, before, after)


_Repeated = tuple[str, str, Sequence[ArmOutcomes], Sequence[ArmOutcomes], Sequence[str], Array, Array]


def _iter_repeated(run: Run, scored: ScoredAnswers, split: str, kind: Literal["gold", "probe"]) -> Iterator[_Repeated]:
    """Yield an arm, what was changed (`Run.reanswered`), its answers before and after the change, seed by seed, the problems that
    have both, and which of these are right before and after."""
    for arm in run.arms:
        before = sorted(scored[arm, split], key=lambda answers: answers.seed)
        for changed, stages in run.reanswered(arm, kind).items():
            after = sorted(score(run, arm, split, stages), key=lambda answers: answers.seed)
            if names := list_common([*before, *after]):
                before_SN, after_SN = (correctness([answers.outcomes for answers in seeds], names) for seeds in (before, after))
                yield arm, changed, before, after, names, before_SN, after_SN


def _is_same(before: Solution, after: Solution) -> bool:
    """Whether both state the same answer; two replies without an answer have none in common."""
    return None not in (before.answer, after.answer) and answer_key(before.answer or "") == answer_key(after.answer or "")


def find_first_wrong_steps(run: Run, scored: ScoredAnswers) -> Iterator[FirstWrong]:
    """Find where calculations first go wrong: in the teacher's chains, and in the answers of every arm to the first split."""
    problems = {problem.id: problem for problem in run.problems}
    chains = ((v.outcome, check_steps(problems[c.problem], c)) for c, v in run.judged_chains() if v.outcome in _JUDGED)
    yield from _count_wrong_steps("", "train", Counter(chains))
    split = run.study.evaluation.splits[0]
    for arm in run.arms:
        answers = (
            (outcome, check_steps(problems[name], find_solution(outcome, problems[name], scored_arm.solutions[name], run.check)))
            for scored_arm in scored[arm, split]
            for name, outcome in scored_arm.outcomes.items()
            if outcome in _JUDGED
        )
        yield from _count_wrong_steps(arm, split, Counter(answers))


_JUDGED = (Outcome.WRONG, Outcome.CORRECT)


class CheckedSteps(NamedTuple):
    """The calculations in the steps of a chain. ``first_wrong``: the first step, counted from 1, with a calculation that does not
    hold; 0 if all hold, None if there is no calculation. ``steps``: how many have a calculation; ``hold``: those that hold."""

    first_wrong: int | None
    steps: int
    hold: int


def _count_wrong_steps(arm: str, split: str, counts: Mapping[tuple[Outcome, CheckedSteps], int]) -> Iterator[FirstWrong]:
    """Count where calculations go wrong. ``counts``: (outcome, its checked steps) -> how often."""
    wrong, correct = Counter[int | None](), Counter[int | None]()
    for (outcome, checked), n in counts.items():
        (wrong if outcome is Outcome.WRONG else correct)[checked.first_wrong] += n
    if counts:
        first_steps = tuple(sorted((step, n) for step, n in wrong.items() if step))
        unsound, worked = sum(n for step, n in correct.items() if step), correct.total() - correct[None]
        steps, hold = (sum(getattr(checked, name) * n for (_, checked), n in counts.items()) for name in ("steps", "hold"))
        yield FirstWrong(arm, split, wrong.total(), first_steps, wrong[0], wrong[None], worked, unsound, steps, hold)


def find_solution(outcome: Outcome, problem: Problem, solutions: Sequence[Solution], check: Check) -> Chain:
    """Return the first of an answer's ``solutions`` whose own outcome is the answer's ``outcome``."""
    return next(s.as_chain() for s in solutions if judge_solution(problem, s, check) is outcome)


def check_steps(problem: Problem, chain: Chain) -> CheckedSteps:
    """Check the calculations in the steps of ``chain``."""
    by_step = grouped((calculation.number, calculation.holds) for calculation in find_calculations(problem, chain))
    holds = {number: all(results) for number, results in by_step.items()}
    first = next((number for number, all_hold in holds.items() if not all_hold), 0) if holds else None
    return CheckedSteps(first, len(holds), sum(holds.values()))
