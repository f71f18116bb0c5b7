"""The report of a run, computed from its stages; `reports` only draws it."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.core.answers import VERSION as EXTRACTOR
from understudy.core.plugins import load
from understudy.core.values import Outcome, Verdict
from understudy.corpus.store import read_rows
from understudy.evaluation.metrics import (
    any_correct_by_k,
    by_perplexity,
    chance_rate,
    likeliest_by_k,
    majority_rate,
    stop_rate,
    votes_by_k,
)
from understudy.evaluation.outcomes import outcome_of
from understudy.evaluation.statistics import above, accuracy_interval, holm, paired
from understudy.reports.data import Comparison, Curve, Group, Perplexity, ReportData, Selected, Summary, Votes
from understudy.studies.attribution import attributions, first_wrong_steps
from understudy.studies.cache import read_manifest, write_json
from understudy.studies.scores import Run, Scored, answered, correctness, read_seen, rows_of, score
from understudy.studies.story import tell_story
from understudy.studies.study import file_name

AT_CHANCE = "at chance: nothing can be said"
LEVEL = 0.05

Rows = NDArray[np.float64]
All = Mapping[tuple[str, str], list[Scored]]
"""(arm, split) -> seeds"""


def open_run(directory: str | Path, plugins: Sequence[str | Path] = ()) -> ReportData:
    """The report of the run in ``directory``: every number in it is computed now, from the answers that are stored there.

    ``plugins``: files that add the check that judged them, where it is not built in. Raises DataError where there is no run or it
    is not finished.
    """
    for plugin in plugins:
        load(Path(plugin))
    run = Run(Path(directory))
    study = run.study
    everything: All = {(arm, split): list(score(run, arm, split)) for split in study.evaluation.splits for arm in run.arms}
    summaries = [_summary(run, found) for found in everything.values()]
    return ReportData(
        name=study.name,
        title=study.title or study.name,
        description=study.description.strip(),
        command=_command(run),
        notes=tuple(_notes(run, everything)),
        task=study.task,
        teacher=_teacher(run),
        versions=_versions(),
        by=study.evaluation.by,
        rows=tuple(row for found in everything.values() for scored in found for row in rows_of(run, scored)),
        summaries=tuple(summaries),
        comparisons=tuple(_comparisons(run, everything, summaries)),
        chosen_pairs=bool(study.evaluation.compare),
        groups=tuple(_groups(run, everything)),
        selected=tuple(_selected(run, arm) for arm in run.arms if run.students(arm)),
        curves=tuple(_curves(run)),
        votes=tuple(_votes(run, found) for found in everything.values() if run.arms[found[0].arm].decode.votes > 1),
        perplexity=tuple(found for found in _perplexity(run, everything) if len(found.bins) > 1),
        attributions=tuple(attributions(run, everything)),
        first_wrong=tuple(first_wrong_steps(run, everything)),
        story=tell_story(run, everything),
    )


def write_page(data: ReportData, directory: Path) -> Path:
    """Write results.json and report.html into the run; the page's path."""
    from understudy.reports.page import page

    write_json(directory / "results.json", data.to_json())
    path = directory / "report.html"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page(data), encoding="utf-8")
    temporary.replace(path)
    return path


def write_pictures(data: ReportData, directory: Path) -> list[Path]:
    """The pictures of the report as PNG files in ``directory``."""
    from understudy.reports.plots import pictures

    directory.mkdir(parents=True, exist_ok=True)
    return [figure.save(directory / f"{figure.name}.png") for figure in pictures(data)]


def link_students(directory: Path) -> None:
    """Make ``students/ARM`` (with the seed where there are several, the role where there are several) point to checkpoints."""
    run = Run(directory)
    where = directory / "students"
    where.mkdir(exist_ok=True)
    for old in where.iterdir():
        if old.is_symlink():
            old.unlink()
    for arm in run.arms:
        by_seed = run.students(arm)
        for seed, roles in by_seed.items():
            for role, stage in roles.items():
                parts = [file_name(arm)]
                parts += [f"seed{seed}"] if len(by_seed) > 1 else []
                parts += [role] if len(roles) > 1 else []
                name = "-".join(parts)
                (where / name).symlink_to(os.path.relpath(stage / "student", where))


def _summary(run: Run, found: Sequence[Scored]) -> Summary:
    problems = run.of_split(found[0].split)
    rows = [next(rows_of(run, scored)) for scored in found]
    correct_SN = correctness(list(found), answered(list(found)))
    chance, majority = chance_rate(list(problems.values())), majority_rate(list(problems.values()), run.check)
    low, high = accuracy_interval(correct_SN)
    n = sum(row["n"] for row in rows)
    totals = {name: sum(row[name] for row in rows) for name in ("correct", "wrong", "undecidable", "unparsed", "truncated")}
    says = "" if above(correct_SN, max(chance, majority)) < LEVEL else AT_CHANCE
    return Summary(
        arm=found[0].arm,
        split=found[0].split,
        decoding=rows[0]["decoding"],
        seeds=len(found),
        n=n,
        **totals,
        errors=sum(row["errors"] for row in rows),
        accuracy=float(correct_SN.mean()),
        low=low,
        high=high,
        spread=tuple(row["accuracy"] for row in rows),
        chance=chance,
        majority=majority,
        says=says,
        stop_rate=stop_rate([s for scored in found for answers in scored.solutions.values() for s in answers]),
        tokens_per_answer=sum(scored.tokens for scored in found) / n,
        read_per_answer=sum(scored.prompt_tokens for scored in found) / n,
        calls_per_answer=sum(scored.calls for scored in found) / n,
        seconds=sum(row["seconds"] for row in rows),
    )


def _comparisons(run: Run, everything: All, summaries: Sequence[Summary]) -> Iterator[Comparison]:
    """The pairs of arms that the study names, or every pair, on every split; p corrected over the pairs of a split."""
    lost = {(s.arm, s.split) for s in summaries if s.says}
    evaluation = run.study.evaluation
    for split in evaluation.splits:
        made = []
        for other, arm in evaluation.compare or combinations(run.arms, 2):
            first, second = everything[arm, split], everything[other, split]
            names = answered([*first, *second])
            found = paired(
                *_paired_seeds(correctness(first, names), correctness(second, names)),
                resamples=evaluation.resamples,
                seed=run.study.seed,
            )
            made.append(
                Comparison(
                    arm=arm,
                    other=other,
                    split=split,
                    n=len(names),
                    difference=found.difference,
                    low=found.low,
                    high=found.high,
                    p=found.p,
                    p_holm=1.0,
                    detectable=found.detectable,
                    says="",
                )
            )
        for one, p in zip(made, holm([one.p for one in made]), strict=True):
            both_lost = {(one.arm, split), (one.other, split)} <= lost
            yield replace(one, p_holm=p, says=_verdict(one, p, both_lost=both_lost))


def _paired_seeds(first_SN: Rows, second_SN: Rows) -> tuple[Rows, Rows]:
    """Both with as many seeds: what was not trained (a teacher, an untrained checkpoint) answers every seed alike."""
    seeds = max(len(first_SN), len(second_SN))
    first, second = (rows.repeat(seeds, axis=0) if len(rows) == 1 else rows for rows in (first_SN, second_SN))
    return first, second


def _verdict(one: Comparison, p: float, *, both_lost: bool) -> str:
    if both_lost:
        return "both at chance: nothing can be said"
    if p < LEVEL:
        return f"{one.arm} is {'better' if one.difference > 0 else 'worse'}"
    if one.p < LEVEL:
        return f"not shown after the correction (p = {one.p:.4f} before)"
    return f"no difference shown ({100 * one.detectable:.1f} points would have been)"


def _groups(run: Run, everything: All) -> Iterator[Group]:
    by = run.study.evaluation.by
    trained = {str(p.meta[by]) for p in run.problems if p.split == "train" and by in p.meta}
    for (arm, split), found in everything.items():
        problems = run.of_split(split)
        values: dict[str, list[str]] = {}
        for name in answered(found):
            if by in problems[name].meta:
                values.setdefault(str(problems[name].meta[by]), []).append(name)
        for value, names in sorted(values.items(), key=lambda item: (len(item[0]), item[0])):
            correct_SN = correctness(found, names)
            low, high = accuracy_interval(correct_SN)
            correct = int(correct_SN.sum())
            yield Group(arm, split, value, value in trained, correct_SN.size, correct, float(correct_SN.mean()), low, high)


def _selected(run: Run, arm: str) -> Selected:
    says = read_manifest(run.selection(arm))["says"]
    stage = next(iter(next(iter(run.students(arm).values())).values()))
    student = read_manifest(stage)["says"]
    used = any(row["chain"] is not None for row in read_seen(stage)["shown"])
    return Selected(
        arm, says["chains"], says["kept"], says["dropped"], says["problems"], says["covered"], student["examples"], used
    )


def _curves(run: Run) -> Iterator[Curve]:
    seen = set()
    for arm in run.arms:
        for seed, roles in run.students(arm).items():
            for role, stage in roles.items():
                if stage in seen:
                    continue  # an arm that only decodes otherwise shares its student
                seen.add(stage)
                says = read_manifest(stage)["says"]
                curve = json.loads((stage / "curve.json").read_text(encoding="utf-8"))
                yield Curve(
                    arm=arm if len(roles) == 1 else f"{arm} ({role})",
                    seed=seed,
                    losses=tuple((step, value) for step, value in curve["losses"]),
                    dev=tuple((step, value) for step, value in curve["dev"]),
                    best=curve["best"],
                    seen_tokens=says["seen_tokens"],
                    tokens=says["tokens"],
                    seconds=says["seconds"],
                    parameters=says["parameters"],
                    saw=read_seen(stage),
                )


def _votes(run: Run, found: Sequence[Scored]) -> Votes:
    problems, seed = run.of_split(found[0].split), run.study.seed
    votes = run.arms[found[0].arm].decode.votes
    complete = [{name: s for name, s in scored.solutions.items() if len(s) == votes} for scored in found]

    def mean(lists: Sequence[Sequence[float]]) -> tuple[float, ...]:
        return tuple(sum(values) / len(values) for values in zip(*lists, strict=True))

    weighted: tuple[float, ...] = ()
    likeliest: tuple[float, ...] = ()
    if all(scored.likelihood is not None for scored in found):
        likeliest = mean([likeliest_by_k(problems, s, by=run.check) for s in complete])
        weighted = mean([votes_by_k(problems, s, weighted=True, seed=seed, by=run.check) for s in complete])
    return Votes(
        arm=found[0].arm,
        split=found[0].split,
        k=tuple(range(1, votes + 1)),
        majority=mean([votes_by_k(problems, s, weighted=False, seed=seed, by=run.check) for s in complete]),
        weighted=weighted,
        any_correct=mean([any_correct_by_k(problems, s, by=run.check) for s in complete]),
        likeliest=likeliest,
    )


def _perplexity(run: Run, everything: All) -> Iterator[Perplexity]:
    """The teacher's chains and the sampled answers of arms that vote, where log-probabilities are known."""
    outcome = {v.chain: v.outcome for v in read_rows(run.shared("verdicts") / "verdicts.parquet", Verdict)}
    judged = [(c.logprob, outcome[c.id]) for c in run.chains if c.logprob is not None]
    chains = by_perplexity((logprob, found is Outcome.CORRECT) for logprob, found in judged if found is not Outcome.NO_GOLD)
    yield Perplexity("", "train", tuple(chains))
    for (arm, split), found in everything.items():
        if run.arms[arm].decode.votes > 1:
            problems = run.of_split(split)
            answers = [s for scored in found for sampled in scored.solutions.values() for s in sampled]
            sure = [(s.logprob, outcome_of(problems[s.problem], s, run.check)) for s in answers if s.logprob is not None]
            yield Perplexity(arm, split, tuple(by_perplexity((logprob, o is Outcome.CORRECT) for logprob, o in sure)))


def _teacher(run: Run) -> dict[str, Any]:
    says = read_manifest(run.shared("chains"))["says"]
    outcomes = Counter(v.outcome.value for v in read_rows(run.shared("verdicts") / "verdicts.parquet", Verdict))
    return {
        "engine": run.study.teacher.engine,
        "teachers": says["teachers"],
        "chains": says["chains"],
        "problems": says["problems"],
        "outcomes": dict(outcomes.most_common()),
        "seconds": read_manifest(run.shared("chains"))["seconds"],
        "errors": says.get("errors", 0) + says.get("not asked", 0),
    }


def _arguments(run: Run, arm: str) -> list[Mapping[str, Any]]:
    """What the arm's students of the first seed were made with, by role; [] where it trains none."""
    stages = next(iter(run.students(arm).values()), {}).values()
    return [read_manifest(stage)["inputs"]["arguments"] for stage in stages]


def _notes(run: Run, everything: All) -> Iterator[str]:
    study = run.study
    made = {arm.name: found for arm in study.arms if (found := _arguments(run, arm.name))}
    trained = list(made)
    scratch = [name for name, found in made.items() if any(a["student"]["checkpoint"] is None for a in found)]
    if scratch:
        which = "The students" if len(scratch) == len(trained) else f"The students of {', '.join(scratch)}"
        yield f"{which} are trained from scratch, without any pretraining: compare the arms, not the level."
    pointed = [arm.name for arm in study.arms if arm.options.get("format", {}).get("numbers") == "pointers"]
    if pointed:
        yield (
            f"Numbers are pointers in {', '.join(pointed)}: where a student writes equations an evaluator fills in their results; "
            "a student that writes a plain answer has no evaluator."
        )
    sizes = Counter(p.split for p in run.problems)
    held = ", ".join(f"{split} {sizes[split]:,}" for split in study.evaluation.splits)
    dev = min(sizes[study.evaluation.dev], study.evaluation.dev_problems)
    chosen = [name for name, found in made.items() if len(found) == 1 and found[0]["training"]["checks"] > 1]
    which = "" if len(chosen) == len(trained) else f", those of {', '.join(n for n in trained if n not in chosen)} the last ones"
    kept = f"checkpoints chosen on {dev:,} of {study.evaluation.dev}{which}" if chosen else "checkpoints are the last ones"
    yield f"Problems: train {sizes['train']:,}; {kept}; tested on {held}."
    if trained:
        precisions = sorted({precision for name in trained for precision in run.training_precisions(name)})
        yield f"Students are trained in {' or '.join(precisions)} and answer in {study.evaluation.precision}."
    for name in trained:
        fraction = run.arms[name].fraction
        if fraction < 1:
            n = len(json.loads((run.selection(name) / "problems.json").read_text(encoding="utf-8")))
            yield f"{name} learns from {n:,} of the training problems (fraction {fraction:g})."
    for arm in study.arms:
        if any(read_manifest(path)["says"]["asked"] == 0 for seeds in run.gold(arm.name).values() for path in seeds.values()):
            yield f"Whose errors those of {arm.name} are is not known: the data set has no working that could take a part's place."
    if study.check != "answer":
        yield f"Answers are judged by the check {study.check}: the teacher's, those that choose checkpoints, and the students'."
    overlap = json.loads((run.shared("problems") / "overlap.json").read_text(encoding="utf-8"))
    if overlap["dropped"]:
        yield f"{len(overlap['dropped'])} problems left training or dev since a held-out split has the same question."
    if overlap["near-duplicates"]:
        n = overlap["near-duplicates"]
        yield f"{n:,} held-out questions differ from one in training by numbers, case or punctuation only."
    errors = sum(scored.errors for found in everything.values() for scored in found)
    if errors:
        yield f"{errors} asks failed; they are counted as errors, not as wrong answers, and the affected rows are smaller."
    yield from _missing(read_manifest(run.shared("chains"))["says"])
    too_long = sum(read_manifest(s)["says"]["too_long"] for arm in run.arms for r in run.students(arm).values() for s in r.values())
    if too_long:
        yield f"{too_long} training examples did not fit into the student's context and were left out (summed over students)."


def _missing(says: Mapping[str, Any]) -> Iterator[str]:
    """Chains that did not come."""
    if failed := says.get("errors", 0):
        yield f"{failed} asks to the teacher failed; there is no chain for them."
    if unasked := says.get("not asked", 0):
        yield f"{unasked} chains of the teacher were not asked for: {says['stopped']}."


def _command(run: Run) -> str:
    study = run.study
    verb = f"understudy run {study.file}" if study.file else "understudy demo"
    sets = "".join(f" --set '{text}'" for text in study.overrides)
    out = "" if run.directory == Path("runs") / study.name else f" --out {run.directory}"
    return f"{verb}{f' --seeds {study.seeds}' if study.seeds > 1 else ''}{sets}{out}"


def _versions() -> dict[str, str]:
    names = ("understudy", "torch", "transformers", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}, "answers": EXTRACTOR}
