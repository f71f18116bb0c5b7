"""Compare the arms of several runs on the same questions, and say what the data support."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from understudy.core.errors import UserError, with_known
from understudy.core.values import grouped
from understudy.pipeline.cache import read_summary
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.reports.data import RunComparison
from understudy.runs.conclusions import conclude
from understudy.runs.fairness import describe_cut_off, describe_differences, note_unfair, read_limits
from understudy.runs.run import ArmOutcomes, Run, list_common, score
from understudy.runs.summaries import compare_pairs, measure_arms

Answered = Mapping[str, tuple[Run, Sequence[ArmOutcomes]]]
"""arm, by its name in this comparison -> its run, and its answers seed by seed"""


def compare_runs(runs: Sequence[Run], split: str = "", only: Sequence[str] = (), *, anyway: bool = False) -> RunComparison:
    """Compare the arms of ``runs`` on ``split`` (by default the first that all runs answered), and show those named in ``only``. p
    is corrected over all pairs, since the arms to show may have been picked by the results.

    Raises UserError if the runs' questions, checks or ways of decoding differ. With ``anyway``, their common questions are
    compared, and the notes say what differs.
    """
    if unscored := [str(run.directory) for run in runs if not run.study.evaluation.scored]:
        reason = "its answers are not scored (evaluation.scored); judge them instead: understudy judge"
        raise UserError(f"{unscored[0]}: {reason} {unscored[0]}")
    split = _find_split(runs, split)
    labelled = list(zip(runs, _choose_labels(runs), strict=True))
    names = {f"{label}{name}": name for run, label in labelled for name in run.arms}
    selected = [full_name for full_name, name in names.items() if not only or full_name in only or name in only]
    if unknown := [name for name in only if name not in names and name not in names.values()]:
        raise UserError(f"--arm: there is no arm {with_known(unknown[0], names, 'the arms')}")
    if len(selected) < 2:
        raise UserError(f"a comparison needs two arms, and there is only {', '.join(selected)} (the arms: {', '.join(names)})")
    if not (common := set.intersection(*(set(_map_questions(run, split).items()) for run in runs))):
        raise UserError(f"{split}: the runs have no question in common")
    visible = {run.directory: [name for name in run.arms if f"{label}{name}" in selected] for run, label in labelled}
    trained = {len(seeds) for run in runs for arm in run.arms if (seeds := run.students(arm))}
    count = min(trained, default=1)
    unlike = list(_find_unlike(runs, split, visible, count))
    if unlike and not anyway:
        raise UserError(f"{'; '.join(unlike)}. --anyway compares the common questions and says what differs; --arm picks arms")
    answered = {f"{label}{name}": (run, list(score(run, name, split))) for run, label in labelled for name in run.arms}
    if len(trained) > 1:
        unlike.append(f"arms have {' and '.join(map(str, sorted(trained)))} training seeds; only the first {count} of each count")
    ids = {name for name, _ in common} & set(list_common([answers for _, seeds in answered.values() for answers in seeds]))
    if not ids:
        raise UserError(f"{split}: no question in common was answered by all arms")
    restricted = {name: (run, [_restrict(answers, ids) for answers in seeds[:count]]) for name, (run, seeds) in answered.items()}
    caveats = [f"{label}{note}" for run, label in labelled for note in note_unfair(run, visible[run.directory])]
    return _compare(restricted, selected, split, unlike, caveats)


def _find_split(runs: Sequence[Run], split: str) -> str:
    answered = {run.directory: run.study.evaluation.splits for run in runs}
    common = [name for name in runs[0].study.evaluation.splits if all(name in names for names in answered.values())]
    if split in common or (common and not split):
        return split or common[0]
    listed = "; ".join(f"{directory}: {', '.join(names)}" for directory, names in answered.items())
    raise UserError(f"not all runs answered {f'the split {split!r}' if split else 'the same split'} ({listed})")


def _find_unlike(runs: Sequence[Run], split: str, shown: Mapping[Path, Sequence[str]], seeds: int) -> Iterator[str]:
    """Yield why the answers of the arms ``shown`` of each of ``runs``, with their first ``seeds`` seeds, cannot be compared as they
    are."""
    expected = _map_questions(runs[0], split)
    for other in runs[1:]:
        actual = _map_questions(other, split)
        if expected != actual:
            sizes = f"{len(expected):,} questions in {runs[0].directory} and {len(actual):,} in {other.directory}"
            yield f"{split} has {sizes}; {len(expected.items() & actual.items()):,} of them are the same"
    students = ((run.directory, run.students(arm)) for run in runs for arm in run.arms)
    trained = {", ".join(map(str, list(item)[:seeds])): path for path, item in students if item}
    if len(trained) > 1:
        yield f"students have different seeds: {'; '.join(f'{item} in {path}' for item, path in trained.items())}"
    reported: set[str] = set()
    all_arms = dict.fromkeys(name for names in shown.values() for name in names)
    per_arm = ((f"answers of {name}", {path: [name] * (name in names) for path, names in shown.items()}) for name in all_arms)
    for answers, arms in (("answers", shown), *per_arm):  # all arms together, then each with its namesakes
        settings = {run.directory: _describe_settings(run, arms[run.directory], split) for run in runs}
        for kind in dict.fromkeys(kind for item in settings.values() for kind in item if kind not in reported):
            (first, value), *rest = [(path, item[kind]) for path, item in settings.items() if kind in item]
            if unlike := [f"{answers} are {kind} {value} in {first} and {item} in {path}" for path, item in rest if item != value]:
                reported.add(kind)
                yield from unlike


def _describe_settings(run: Run, arms: Sequence[str], split: str) -> Mapping[str, str]:
    """Describe how the answers of ``arms`` were made, as far as it is known: "decoded by" -> "greedy, vote of 3"."""
    stages = [stage for arm in arms for answered in run.study.evaluation.splits for stage in run.answers(arm, answered).values()]
    limits = grouped(limit for arm in arms for limit in read_limits(run, arm, split).items())
    settings: dict[str, list[str]] = {
        "judged by the check": [run.study.checks[0]],
        "given in": [run.study.evaluation.precision],
        "clustered by": [run.study.evaluation.cluster or run.study.evaluation.contrast or "nothing"],
        "read by version": [read_summary(stage, AnswersSummary).extractor for stage in stages],
        "decoded by": [run.arms[name].decode.label for name in arms],
        **{f"limited by {option} to": values for option, values in limits.items()},
    }
    return {aspect: ", ".join(sorted(set(values))) for aspect, values in settings.items() if values}


def _map_questions(run: Run, split: str) -> dict[str, tuple[str, ...]]:
    """Map each problem's id to its question and its gold answers."""
    return {name: (p.context, p.question, *p.choices, "", *p.golds) for name, p in run.problems_of(split).items()}


def _choose_labels(runs: Sequence[Run]) -> Sequence[str]:
    """Choose what to put before the names of each run's arms: nothing for one run, else its directory, as short as is unique."""
    if len(runs) == 1:
        return [""]
    paths = [run.directory.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise UserError(f"a run is named twice: {', '.join(str(run.directory) for run in runs)}")
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(run.directory) for run in runs]
    return [f"{name}: " for name in names]


def _restrict(arm: ArmOutcomes, names: Set[str]) -> ArmOutcomes:
    solutions = {name: s for name, s in arm.solutions.items() if name in names}
    outcomes = {name: outcome for name, outcome in arm.outcomes.items() if name in names}
    return replace(arm, solutions=solutions, outcomes=outcomes, likelihood=None)


def _compare(answered: Answered, shown: Sequence[str], split: str, unlike: Sequence[str], caveats: Sequence[str]) -> RunComparison:
    arms = measure_arms(answered)
    ranked = sorted(arms, key=lambda name: -arms[name].summary.accuracy)
    run, _ = next(iter(answered.values()))
    pairs = [(other, best) for best, other in combinations(ranked, 2)]
    best = next(name for name in ranked if name in shown)
    tested = [p for p in compare_pairs(run, arms, pairs, split) if p.arm in shown and p.other in shown]
    visible = {name: arms[name] for name in ranked if name in shown}
    summaries = tuple(arm.summary for arm in visible.values())
    supported, not_supported = conclude(summaries, tested)
    notes = [f"{remark[0].upper()}{remark[1:]}." for remark in unlike]
    conditions = {name: arm.conditions for name, arm in visible.items()}
    return RunComparison(
        split=split,
        arms=summaries,
        learned={name: arm.conditions.learned_tokens for name, arm in visible.items()},
        pairs=tuple(p for p in tested if p.arm == best),
        notes=(*notes, *describe_differences(conditions), *describe_cut_off(conditions, split), *caveats),
        supported=supported,
        not_supported=not_supported,
    )
