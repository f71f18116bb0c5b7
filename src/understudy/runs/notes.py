"""What has to be read with a report's numbers, in sentences, and how anyone makes the same again."""

import platform
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from understudy.core.answers import VERSION as EXTRACTOR
from understudy.pipeline.cache import read_summary
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.pipeline.stages.selection import learned_problems
from understudy.runs.run import Run, ScoredAnswers


def write_notes(run: Run, scored: ScoredAnswers) -> Iterator[str]:
    study = run.study
    yield from _students(run)
    for arm in study.arms:
        if any(read_summary(stage, AnswersSummary).asked == 0 for seeds in run.gold(arm.name).values() for stage in seeds.values()):
            yield f"The errors of {arm.name} could not be attributed: the data set has no working that could take a part's place."
    if study.checks[0] != "answer":
        yield f"The check {study.checks[0]} judges every answer: the teacher's, the checkpoints', and the students'."
    problems = run.problems_summary
    if problems.dropped:
        yield f"{len(problems.dropped)} problems left training or dev since a held-out split has the same question."
    if problems.near:
        yield f"{problems.near:,} held-out questions differ from one in training by numbers, case or punctuation only."
    if errors := sum(one.summary.errors for seeds in scored.values() for one in seeds):
        yield f"{errors} asks failed; they are counted as errors, not as wrong answers, and the affected rows are smaller."
    chains = run.chains_summary
    if chains.errors:
        yield f"{chains.errors} asks to the teacher failed; there is no chain for them."
    if chains.unasked:
        yield f"{chains.unasked} chains of the teacher were not asked for: {chains.stopped}."
    if too_long := sum(student.too_long for arm in run.arms for student in run.student_summaries(arm)):
        yield f"{too_long} training examples did not fit into the student's context and were left out (summed over students)."


def _students(run: Run) -> Iterator[str]:
    """From what the students start, how their checkpoints are chosen, and what they learn from."""
    study = run.study
    made_with = {arm: students for arm in run.arms if (students := run.student_summaries(arm))}
    scratch = [arm for arm, students in made_with.items() if any(student.scratch for student in students)]
    if scratch:
        which = "The students" if len(scratch) == len(made_with) else f"The students of {', '.join(scratch)}"
        yield f"{which} are trained from scratch, without any pretraining: compare the arms, not the level."
    pointed = [arm.name for arm in study.arms if arm.options.get("format", {}).get("numbers") == "pointers"]
    if pointed:
        yield f"Numbers are pointers in {', '.join(pointed)}: an evaluator fills in the results of equations that a student writes."
    sizes = Counter(p.split for p in run.problems)
    held = ", ".join(f"{split} {sizes[split]:,}" for split in study.evaluation.splits)
    dev = min(sizes[study.evaluation.dev], study.evaluation.dev_problems)
    chosen = [arm for arm, students in made_with.items() if all(student.chosen for student in students)]
    others = ", ".join(arm for arm in made_with if arm not in chosen)
    kept = f"checkpoints chosen on {dev:,} of {study.evaluation.dev}" + (f", those of {others} the last ones" if others else "")
    yield f"Problems: train {sizes['train']:,}; {kept if chosen else 'checkpoints are the last ones'}; tested on {held}."
    if made_with:
        precisions = sorted({student.precision for students in made_with.values() for student in students})
        yield f"Students are trained in {' or '.join(precisions)} and answer in {study.evaluation.precision}."
    for arm in made_with:
        if (fraction := run.arms[arm].fraction) < 1:
            n = len(learned_problems(run.problems, run.selection(arm)))
            yield f"{arm} learns from {n:,} of the training problems (fraction {fraction:g})."


def format_command(run: Run) -> str:
    """The command line that makes the same run."""
    study = run.study
    verb = f"understudy run {study.file}" if study.file else "understudy demo"
    sets = "".join(f" --set '{text}'" for text in study.overrides)
    out = "" if run.directory == Path("runs") / study.name else f" --out {run.directory}"
    return f"{verb}{f' --seeds {study.seeds}' if study.seeds > 1 else ''}{sets}{out}"


def list_versions() -> dict[str, str]:
    names = ("understudy", "torch", "transformers", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}, "answers": EXTRACTOR}
