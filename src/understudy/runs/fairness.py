"""Find what arms differ in besides their method: a comparison is only about the method if the rest is equal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from understudy.core.errors import counted
from understudy.core.values import digest, grouped
from understudy.pipeline.cache import read_manifest, read_summary
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.pipeline.stages.student import StudentSummary
from understudy.reports.words import join_names, percent
from understudy.runs.looks import describe_looks, read_looks
from understudy.runs.run import ArmOutcomes, Run
from understudy.tasks.overlap import copy_key
from understudy.training.record import read_seen

CUT_OFF = 0.05
"""A larger share of cut-off answers than this is reported."""
ALIKE = 0.05
"""Learned tokens and parameters that differ by no more than this share count as equal."""


class Conditions(NamedTuple):
    """The conditions under which the students of one arm answered a split. Those of training are sums over roles and means over
    seeds, and 0 for an arm that trains none. ``training_problems``: of the student with most. ``learned_tokens``: those that bore
    loss. ``cut_off``: the share of replies, each reply of a vote counted. ``settings``: how checkpoints were chosen, the limits of
    the method's replies, and the values of [training] and [student], of all roles. ``students``: their stages; arms that differ
    only in decoding share them."""

    training_steps: float
    training_problems: float
    learned_tokens: float
    parameters: float
    decoding: str
    cut_off: float
    settings: Mapping[str, str]
    students: frozenset[str]


def find_conditions(run: Run, scored: Sequence[ArmOutcomes]) -> Conditions:
    """Find the conditions of one arm on one split, over the seeds that were ``scored``."""
    arm, scored_seeds = scored[0].arm, {answers.seed for answers in scored}
    stages = [stage for seed, _, stage in run.iter_students(arm) if seed in scored_seeds]
    students = [read_summary(stage, StudentSummary) for stage in stages]
    seeds = max(1, len(scored_seeds & run.students(arm).keys()))
    return Conditions(
        training_steps=sum(student.steps for student in students) / seeds,
        training_problems=max((student.problems for student in students), default=0),
        learned_tokens=sum(read_seen(stage).tokens for stage in stages) / seeds,
        parameters=sum(student.parameters for student in students) / seeds,
        decoding=run.arms[arm].decode.label,
        cut_off=fmean([reply.finish == "length" for answers in scored for reply in answers.replies] or [0]),
        settings={
            "checkpoints": "chosen on dev" if all(student.chosen for student in students) else "the last ones",
            **read_limits(run, arm, scored[0].split),
            **_read_settings(stages),
        },
        students=frozenset(stage.name for stage in stages),
    )


def read_limits(run: Run, arm: str, split: str) -> dict[str, str]:
    """Read the limits of the replies that answer ``split``, by option: {"socratic.max_tokens": "96"}."""
    inputs = read_manifest(next(iter(run.answers(arm, split).values()))).inputs
    return {f"{inputs['name']}.{option}": str(value) for option, value in inputs["method"].items() if option.endswith(_LIMITS)}


def _read_settings(students: Iterable[Path]) -> dict[str, str]:
    inputs = [read_manifest(stage).inputs for stage in students]
    tables = [(table, of[table]) for of in inputs for table in ("training", "student")]
    pairs = [(f"{table}.{name}", str(value)) for table, options in tables for name, value in options.items()]
    pairs += [("the start's files", digest(of["files"]) if of["files"] else "none") for of in inputs]
    values = grouped(pair for pair in pairs if pair[0] not in _NO_CONDITION)
    return {name: " and ".join(sorted(set(texts))) for name, texts in values.items()}


_LIMITS = ("_tokens", "max_steps")
"""The endings of the options of methods that limit replies."""
_NAMES = "class steps tokens tokens_of preset device processes sharded micro_batch save_every".split()
_NO_CONDITION = {"student.class", *(f"training.{name}" for name in _NAMES)}
"""Keys that do not change students, or whose effect is a condition of its own."""


_NUMBERS = {"training_steps": 0.0, "training_problems": ALIKE, "learned_tokens": ALIKE, "parameters": ALIKE}
"""A number among the conditions -> the share by which it may differ."""


def name_differences(arm: Conditions, other: Conditions) -> Iterator[str]:
    """Yield the names of the conditions that differ: "learned tokens", "decoding"."""
    yield from (name for name, _ in _find_unlike({"one": arm, "other": other}))
    if max(arm.cut_off, other.cut_off) > CUT_OFF:
        yield "cut off"


def describe_differences(arms: Mapping[str, Conditions]) -> Iterator[str]:
    """Yield a sentence for each condition that differs between ``arms``, with the values."""
    yield from (f"Arms differ in {name}: {_join(values)}." for name, values in _find_unlike(arms))


def describe_cut_off(arms: Mapping[str, Conditions], split: str) -> Iterator[str]:
    """Yield a sentence if more than `CUT_OFF` of the answers of some of ``arms`` to ``split`` were cut off."""
    if cut := {arm: f"{percent(conditions.cut_off)} %" for arm, conditions in arms.items() if conditions.cut_off > CUT_OFF}:
        yield f"More than one answer in twenty on {split} was cut off at the token limit: {_join(cut)}; raise max_tokens first."


def _find_unlike(arms: Mapping[str, Conditions]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the name of each condition that differs between ``arms``, with its value by arm."""
    trained = {arm: conditions for arm, conditions in arms.items() if conditions.training_steps}
    for name, share in _NUMBERS.items():
        values = {arm: getattr(conditions, name) for arm, conditions in trained.items()}
        if values and not isclose(min(values.values()), max(values.values()), rel_tol=share):
            yield name.replace("_", " "), {arm: f"{value:,.0f}" for arm, value in values.items()}
    settings = {"decoding": {arm: conditions.decoding for arm, conditions in arms.items()}}
    for key in sorted({key for conditions in arms.values() for key in conditions.settings}):
        compared = arms if key.endswith(_LIMITS) else trained
        settings[key] = {arm: conditions.settings[key] for arm, conditions in compared.items() if key in conditions.settings}
    yield from ((name, by_arm) for name, by_arm in settings.items() if len(set(by_arm.values())) > 1)


def _join(values: Mapping[str, str]) -> str:
    """List the arms of each value: ``400 (SCoTD, answer-only), 300 (Sci-CoT)``."""
    names = grouped((value, arm) for arm, value in values.items())
    return ", ".join(f"{value} ({join_names(group)})" for value, group in names.items())


def note_unfair(run: Run, arms: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each thing that makes comparisons of ``arms`` of a run unfair, besides their conditions."""
    yield from describe_looks(read_looks(run.directory), run.study)
    by_arm = {arm: run.student_summaries(arm) for arm in arms}
    splits = run.study.evaluation.splits
    for arm, trained in by_arm.items():
        answered = [read_summary(stage, AnswersSummary).saw for split in splits for stage in run.answers(arm, split).values()]
        if seen := max([*answered, *(student.saw for student in trained)], default=0):
            yield f"Unfair: {arm} is, or starts from, a student that learned from, or was chosen by, {seen:,} of these questions."
    chosen = [arm for arm, trained in by_arm.items() if trained and all(student.chosen for student in trained)]
    if unlabelled := [arm for arm in chosen if _learns_without_gold(run, arm)]:
        names = join_names(unlabelled, " and ")
        yield f"No gold answer judged what these arms are taught, but gold answers chose their checkpoints: {names}."
    for split in splits:
        if copies := run.count_copies(split):
            yield f"Not counted: {counted(copies, 'problem')} of {split}, as copies of another problem with the same answer."
        if repeated := len(run.problems_of(split)) - len(set(map(copy_key, run.problems_of(split).values()))):
            yield f"Beware: {split} asks {counted(repeated, 'question')} again, with another gold answer."
    if run.problems_summary.near:
        yield f"{run.problems_summary.describe_near()}."


_WITHOUT_GOLD = frozenset(("majority", "arithmetic", "form", "likelihood", "judged"))
"""Checks that use no gold answer."""


def _learns_without_gold(run: Run, arm: str) -> bool:
    """Whether gold answers chose neither the chains of ``arm`` nor the answers that it learns."""
    select, method = run.arms[arm].select, run.study.method(run.arms[arm])
    chosen = select.keep == "all" or (select.check or run.study.checks[0]) in _WITHOUT_GOLD
    return chosen and run.teaches_chains(arm) and getattr(method, "label", "teacher") == "teacher"
