"""Compute the numbers of a report: each arm on each split, differences between arms, and what selection, training and votes did."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import prod
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from understudy.core.asks import GREEDY_PATH
from understudy.core.errors import counted
from understudy.core.values import Outcome, grouped
from understudy.evaluation import metrics, statistics
from understudy.pipeline.cache import read_manifest, read_summary
from understudy.pipeline.stages.student import StudentSummary
from understudy.pipeline.stages.verdicts import VerdictsSummary
from understudy.reports import data
from understudy.reports.words import natural, say_detectable
from understudy.runs.fairness import Conditions, find_conditions, name_differences
from understudy.runs.looks import count_looks_before, read_looks
from understudy.runs.run import ArmOutcomes, Run, ScoredAnswers, find_clusters, list_common
from understudy.selection.select import SelectionCounts
from understudy.training.record import read_curve, read_seen

AT_CHANCE = "at chance: nothing can be said"


def make_rows(run: Run, scored: ArmOutcomes) -> Iterator[data.ResultRow]:
    """Yield the results rows of one arm, split and seed: its own decoding, and the likelihood-weighted vote if there is one."""
    arm = run.arms[scored.arm]
    judged = {arm.decode.label: scored.outcomes}
    if scored.likelihood is not None and not arm.decode.weighted:
        judged[f"weighted {arm.decode.label}"] = scored.likelihood
    names = list(scored.outcomes)
    clusters = find_clusters(run, scored.split, names)
    for decoding, outcomes in judged.items():
        measured = _measure([scored], [outcomes], names)
        low, high = statistics.accuracy_interval(statistics.correctness([outcomes], names), clusters=clusters)
        yield data.ResultRow(
            **measured,
            decoding=decoding,
            accuracy=measured["correct"] / max(1, measured["n"]),
            low=low,
            high=high,
            method=arm.method,
            model=arm.model,
            role_models=scored.summary.models,
            engine=run.study.teacher.engine if arm.model == "teacher" else "transformers",
            precision=scored.summary.precision,
            training_precision=", ".join(sorted({student.precision for student in run.student_summaries(arm.name)})),
            task=run.study.task,
            seed=scored.seed,
            extractor=scored.summary.extractor,
        )


def summarise(run: Run, scored: Sequence[ArmOutcomes], noise: statistics.SeedNoise | None) -> data.ArmSummary:
    """Summarise one arm on one split, over its seeds; ``noise``: that of all arms of the split."""
    names, all_problems = list_common(scored), run.problems_of(scored[0].split)
    problems = [all_problems[name] for name in names] or list(all_problems.values())
    correct_SN = statistics.correctness([answers.outcomes for answers in scored], names)
    clusters = find_clusters(run, scored[0].split, names)
    chance, majority = metrics.chance_rate(problems), metrics.majority_rate(problems, run.check)
    low, high = statistics.accuracy_interval(correct_SN, noise, clusters)
    return data.ArmSummary(
        **_measure(scored, [answers.outcomes for answers in scored], names),
        decoding=run.arms[scored[0].arm].decode.label,
        accuracy=float(correct_SN.mean()),
        low=low,
        high=high,
        seeds=len(scored),
        spread=tuple(correct_SN.mean(axis=1).tolist()),
        chance=chance,
        majority=majority,
        says="" if statistics.check_above(correct_SN, max(chance, majority), noise, clusters) < statistics.LEVEL else AT_CHANCE,
        stop_rate=fmean([reply.finish == "stop" for answers in scored for reply in answers.replies] or [0]),
    )


def _measure(scored: Sequence[ArmOutcomes], outcomes: Sequence[Mapping[str, Outcome]], names: Sequence[str]) -> dict[str, Any]:
    """Count the fields of `Scores` that are counts, over the ``outcomes`` of all seeds of ``scored`` on the problems ``names``."""
    counted = metrics.count_outcomes(seed[name] for seed in outcomes for name in names)
    n = sum(counted.values())
    replies = [reply for answers in scored for name in names for reply in answers.solutions[name]]
    return {
        "arm": scored[0].arm,
        "split": scored[0].split,
        "n": n,
        **counted,
        "errors": sum(answers.summary.errors for answers in scored),
        "tokens_per_answer": round(sum(s.tokens for s in replies) / max(1, n), 2),
        "read_per_answer": round(sum(s.prompt_tokens for s in replies) / max(1, n), 2),
        "calls_per_answer": round(sum(len(s.turns) for s in replies) / max(1, n), 2),
        "seconds": sum(a.summary.seconds * len(a.replies) / max(1, a.summary.solutions + a.summary.errors) for a in scored),
    }


class MeasuredArm(NamedTuple):
    """One arm on one split: its answers seed by seed, their summary, and the conditions under which they were made. ``noise``: how
    much all arms of the split vary between training seeds."""

    scored: Sequence[ArmOutcomes]
    summary: data.ArmSummary
    conditions: Conditions
    noise: statistics.SeedNoise | None


def measure_arms(arms: Mapping[str, tuple[Run, Sequence[ArmOutcomes]]]) -> dict[str, MeasuredArm]:
    """Measure arms on one split, under the names that they have here; each comes with its run."""
    correct = [statistics.correctness([arm.outcomes for arm in seeds], list_common(seeds)) for _, seeds in arms.values()]
    noise = statistics.pool_noise(correct, group_by_students([(run, seeds[0].arm) for run, seeds in arms.values()]))
    return {
        name: MeasuredArm(scored, replace(summarise(run, scored, noise), arm=name), find_conditions(run, scored), noise)
        for name, (run, scored) in arms.items()
    }


def group_by_students(arms: Sequence[tuple[Run, str]]) -> list[int]:
    """Number the group of each of ``arms``: arms that share a student are in one group. Equal stages are equal students, in
    whatever run."""
    students = [{stage.name for *_, stage in run.iter_students(arm)} for run, arm in arms]
    return list(connected_components(np.array([[bool(first & second) for second in students] for first in students]))[1])


Arms = Mapping[str, MeasuredArm]
Pairs = Sequence[tuple[str, str]]
"""An arm, and the arm that is compared with it."""


def name_pairs(run: Run) -> Pairs:
    """Return the pairs of arms that the study names, or every pair."""
    return run.study.evaluation.compare or list(combinations(run.arms, 2))


def mark_late(run: Run, pairs: Iterable[data.Comparison]) -> Iterator[data.Comparison]:
    """Mark those of ``pairs`` that the study named after results had been shown."""
    late = count_looks_before(read_looks(run.directory), run.study)
    for pair in pairs:
        looks = late.get(frozenset((pair.arm, pair.other)))
        yield replace(pair, says=f"{pair.says} (named after {counted(looks, 'look')})") if looks else pair


def compare_pairs(run: Run, arms: Arms, pairs: Pairs, split: str) -> Iterator[data.Comparison]:
    """Test ``pairs`` of ``arms`` that have problems in common on ``split``, with p corrected over all of them."""
    tests = []
    common = {pair: list_common([answers for arm in pair for answers in arms[arm].scored]) for pair in pairs}
    pairs = [pair for pair in pairs if common[pair]]
    for other, arm in pairs:
        scored, names = (arms[arm].scored, arms[other].scored), common[other, arm]
        first_SN, second_SN = (statistics.correctness([answers.outcomes for answers in seeds], names) for seeds in scored)
        clusters = find_clusters(run, split, names)
        tests.append((statistics.compare(first_SN, second_SN, arms[arm].noise, clusters=clusters, pairs=len(pairs)), len(names)))
    return _conclude(pairs, tests, arms, split)


def _conclude(pairs: Pairs, tests: list[tuple[statistics.PairedTest, int]], arms: Arms, split: str) -> Iterator[data.Comparison]:
    """Yield what can be said of each of ``pairs``; ``tests``: the test of each, and its number of problems."""
    corrected = statistics.holm([test.p for test, _ in tests])
    for (other, arm), (test, n), p in zip(pairs, tests, corrected, strict=True):
        unlike = tuple(name_differences(arms[arm].conditions, arms[other].conditions))
        verdict = _describe_difference(test, p, arms[arm], arms[other])
        yield data.Comparison(**vars(test), arm=arm, other=other, split=split, n=n, p_holm=p, says=verdict, unlike=unlike)


def _describe_difference(pair: statistics.PairedTest, p: float, arm: MeasuredArm, other: MeasuredArm) -> str:
    """Say what can be said of two arms; ``p``: after the correction."""
    if arm.summary.says and other.summary.says:
        return "both at chance: nothing can be said"
    if p < statistics.LEVEL:
        if arm.summary.seeds == other.summary.seeds == 1:  # which says nothing about the methods
            first, second = arm.conditions.students, other.conditions.students
            return "these two students differ" if first and second and first != second else "these answers differ"
        return "better" if pair.difference > 0 else "worse"
    if pair.p < statistics.LEVEL:
        return f"not shown after the correction (p = {pair.p:.4f} before)"
    return f"no difference shown ({say_detectable(pair.detectable)})"


def group_answers(run: Run, scored: Sequence[ArmOutcomes]) -> Iterator[data.Group]:
    """Yield the accuracy of one arm on one split for each value of the study's ``by``."""
    arm, split, by = scored[0].arm, scored[0].split, run.study.evaluation.by
    trained = {p.read_text(by) for p in run.problems if p.split == "train"}
    named = ((run.problems_of(split)[name].read_text(by), name) for name in list_common(scored))
    values = grouped((value, name) for value, name in named if value is not None)
    for value, names in sorted(values.items(), key=lambda item: natural(item[0])):
        correct_SN = statistics.correctness([answers.outcomes for answers in scored], names)
        low, high = statistics.accuracy_interval(correct_SN, clusters=find_clusters(run, split, names))
        yield data.Group(arm, split, value, value in trained, correct_SN.size, float(correct_SN.mean()), low, high)


def measure_consistency(run: Run, scored: ScoredAnswers, arms: Arms) -> tuple[list[data.Consistency], list[data.Comparison]]:
    """Measure how often each arm answers an original and all its changed versions right (evaluation.contrast), and compare pairs of
    arms in that. ``arms``: as measured on the first split."""
    splits, cluster = run.study.evaluation.splits, run.study.evaluation.cluster
    common = {split: list_common([one for arm in arms for one in scored[arm, split]]) for split in splits}
    problems = (run.problems_of(split)[name] for split, names in common.items() for name in names)
    named = grouped((problem.read_text(run.study.evaluation.contrast), problem) for problem in problems)
    if not (groups := [group for value, group in named.items() if value is not None and len(group) > 1]):
        return [], []
    versions = [problem for group in groups for problem in group]
    masks = {split: mask for split in splits if any(mask := [problem.split == split for problem in versions])}
    starts = np.cumsum([0, *map(len, groups[:-1])])
    clusters = [first.read_text(cluster) or f"\0{first.id}" for first, *_ in groups] if cluster else None
    all_right_SG, accuracies = {}, {}
    for arm in arms:
        seeds = zip(*(scored[arm, split] for split in splits), strict=True)
        outcomes = [{name: outcome for one in seed for name, outcome in one.outcomes.items()} for seed in seeds]
        right_SP = statistics.correctness(outcomes, [problem.id for problem in versions])
        all_right_SG[arm] = np.minimum.reduceat(right_SP, starts, axis=1)
        accuracies[arm] = {split: float(right_SP[:, mask].mean()) for split, mask in masks.items()}
    noise = statistics.pool_noise(list(all_right_SG.values()), group_by_students([(run, arm) for arm in arms]))
    constant = Counter(golds.pop() for group in groups if len(golds := {p.answer for p in group}) == 1)
    guessed = fmean(prod(metrics.chance_rate([p]) for p in group) for group in groups)
    chance = max(guessed, max(constant.values(), default=0) / len(groups))
    rows, pairs, judged = [], name_pairs(run), dict(arms)
    for arm, right_SG in all_right_SG.items():
        low, high = statistics.accuracy_interval(right_SG, noise, clusters)
        verdict = AT_CHANCE if statistics.check_above(right_SG, chance, noise, clusters) >= statistics.LEVEL else ""
        rows.append(data.Consistency(arm, right_SG.size, accuracies[arm], float(right_SG.mean()), low, high, chance, verdict))
        judged[arm] = arms[arm]._replace(summary=replace(arms[arm].summary, says=verdict))
    compared = ((all_right_SG[arm], all_right_SG[other]) for other, arm in pairs)
    tests = [(statistics.compare(*pair, noise, clusters=clusters, pairs=len(pairs)), len(groups)) for pair in compared]
    return rows, list(_conclude(pairs, tests, judged, data.ALL_VERSIONS))


def describe_selection(run: Run, arm: str) -> data.ArmSelection:
    """Describe what the selection of an arm that trains kept."""
    return data.ArmSelection(
        **vars(read_summary(run.selection(arm), SelectionCounts)),
        arm=arm,
        examples=run.student_summaries(arm)[0].examples,
        used=run.teaches_chains(arm),
    )


def collect_curves(run: Run) -> Iterator[data.Curve]:
    """Yield how each student learned. Arms that differ only in decoding share their students, which appear under the first of
    them."""
    students = grouped((stage, (seed, name)) for arm in run.arms for seed, name, stage in run.iter_students(arm))
    for stage, ((seed, name), *_) in students.items():
        student = read_summary(stage, StudentSummary)
        yield data.Curve(
            arm=name,
            seed=seed,
            **vars(read_curve(stage)),
            seconds=student.seconds,
            parameters=student.parameters,
            saw=read_seen(stage),
        )


def count_votes(run: Run, scored: Sequence[ArmOutcomes]) -> Iterator[data.Votes]:
    """Yield the votes of one arm on one split for every number of samples, over the problems that have all samples: means over the
    seeds that have any such problem. Yields nothing if no seed has one or the arm does not vote."""
    arm, split = scored[0].arm, scored[0].split
    problems, seed, count = run.problems_of(split), run.study.seed, run.arms[arm].decode.votes
    complete = [sampled for answers in scored if (sampled := {name: s for name, s in answers.solutions.items() if len(s) == count})]
    if count == 1 or not complete:
        return
    judged = [(samples, metrics.find_correct(problems, samples, run.check)) for samples in complete]

    def mean(rates: Callable[..., Sequence[float]], **options: Any) -> tuple[float, ...]:
        return tuple(map(fmean, zip(*(rates(*pair, **options) for pair in judged), strict=True)))

    likely = all(answers.likelihood is not None for answers in scored)
    yield data.Votes(
        arm=arm,
        split=split,
        k=tuple(range(1, count + 1)),
        majority=mean(metrics.votes_by_k, weighted=False, seed=seed),
        weighted=mean(metrics.votes_by_k, weighted=True, seed=seed) if likely else (),
        any_correct=mean(metrics.any_correct_by_k),
        likeliest=mean(metrics.likeliest_by_k) if likely else (),
        tokens=fmean(s.tokens + s.prompt_tokens for sampled in complete for samples in sampled.values() for s in samples),
    )


def bin_by_perplexity(run: Run, scored: ScoredAnswers) -> Iterator[data.Perplexity]:
    """Bin the teacher's chains and the sampled answers of arms that vote, if their log-probabilities are known."""

    def bins(judged: Iterable[tuple[float | None, Outcome]]) -> tuple[metrics.Bin, ...]:
        measured = ((logprob, o is Outcome.CORRECT) for logprob, o in judged if logprob is not None and o is not Outcome.NO_GOLD)
        return tuple(metrics.group_by_perplexity(measured))

    yield data.Perplexity("", "train", bins((c.logprob, v.outcome) for c, v in run.judged_chains() if c.path != GREEDY_PATH))
    for (arm, split), seeds in scored.items():
        if run.arms[arm].decode.votes > 1:
            problems, replies = run.problems_of(split), (reply for answers in seeds for reply in answers.replies)
            judged = ((s.logprob, metrics.judge_solution(problems[s.problem], s, run.check)) for s in replies)
            yield data.Perplexity(arm, split, bins(judged))


def describe_teacher(run: Run) -> data.TeacherSummary:
    """Describe what the teacher wrote, and the verdicts of every check on it."""
    chains, verdicts = run.chains_summary, read_summary(run.stage(run.plan.verdicts), VerdictsSummary)
    return data.TeacherSummary(
        engine=run.study.teacher.engine,
        teachers=chains.teachers,
        chains=chains.chains,
        problems=chains.problems,
        outcomes=verdicts.outcomes,
        worth=verdicts.worth,
        relabelled=verdicts.relabelled,
        seconds=read_manifest(run.stage(run.plan.chains)).seconds,
        errors=chains.errors + chains.unasked,
    )
