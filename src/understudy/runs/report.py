"""Compute the report of a run from its stages, with the notes to read with its numbers; `reports` only draws it."""

import platform
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from understudy.core.errors import counted
from understudy.core.plugins import load
from understudy.core.values import Outcome, grouped
from understudy.core.vote import vote
from understudy.corpus.store import write_json, write_text
from understudy.pipeline.cache import find_version, read_summary
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.pipeline.stages.problems import require_fields
from understudy.pipeline.stages.selection import filter_learned
from understudy.reports.data import ReportData, Story, StudentAnswer, SweptArm
from understudy.reports.words import join_names
from understudy.runs import summaries
from understudy.runs.attribution import attribute_errors, find_first_wrong_steps, measure_faithfulness
from understudy.runs.cascades import trace_cascades
from understudy.runs.conclusions import conclude
from understudy.runs.fairness import describe_cut_off, describe_differences, find_conditions, note_unfair
from understudy.runs.judgements import summarise_judgements
from understudy.runs.run import ArmOutcomes, Run, ScoredAnswers, score
from understudy.training.record import read_seen

NOT_SCORED = (
    "Nothing is scored, as the study says (evaluation.scored = false). People or a model judge which arm answers better: "
    "understudy judge RUN --arms ARM ARM --rater NAME."
)


def open_run(directory: str | Path, plugins: Sequence[str | Path] = ()) -> ReportData:
    """Compute the report of the run in ``directory``, every number from the answers that are stored there.

    ``plugins``: files that add the check that judges the answers, if it is not built in. Raises DataError if there is no run or it
    is not finished.
    """
    for plugin in plugins:
        load(Path(plugin))
    run = Run(Path(directory))
    study = run.study
    require_fields([p for p in run.problems if p.split in study.evaluation.splits], study.evaluation.fields)
    answered: ScoredAnswers = {(arm, split): list(score(run, arm, split)) for split in study.evaluation.splits for arm in run.arms}
    scored = answered if study.evaluation.scored else {}
    by_split = {
        split: summaries.measure_arms({arm: (run, scored[arm, split]) for arm in run.arms})
        for split in (study.evaluation.splits if scored else ())
    }
    tested = summaries.name_pairs(run)
    pairs = [pair for split, arms in by_split.items() for pair in summaries.compare_pairs(run, arms, tested, split)]
    headline = by_split.get(study.evaluation.splits[0], {})
    consistency, extra = summaries.measure_consistency(run, scored, headline) if study.evaluation.contrast and scored else ([], [])
    pairs = list(summaries.mark_late(run, [*pairs, *extra]))
    first = [pair for pair in pairs if pair.split == study.evaluation.splits[0]]
    supported, not_supported = conclude((measured.summary for measured in headline.values()), first) if scored else (NOT_SCORED, "")
    faithfulness = tuple(measure_faithfulness(run, scored)) if scored else ()
    return ReportData(
        name=study.name,
        title=study.title or study.name,
        description=study.description.strip(),
        command=format_command(run),
        supported=supported,
        not_supported=not_supported,
        made_on=_describe_making(run, answered),
        notes=tuple(write_notes(run, answered, {(each.arm, each.how) for each in faithfulness})),
        task=study.task,
        teacher=summaries.describe_teacher(run),
        versions=list_versions(sorted({one.summary.extractor for seeds in answered.values() for one in seeds})),
        by=study.evaluation.by,
        cluster=study.evaluation.cluster,
        contrast=study.evaluation.contrast,
        rows=tuple(row for seeds in scored.values() for one in seeds for row in summaries.make_rows(run, one)),
        summaries=tuple(measured.summary for arms in by_split.values() for measured in arms.values()),
        comparisons=tuple(pairs),
        chosen_pairs=bool(study.evaluation.compare),
        swept=tuple(SweptArm(arm.name, **vars(arm.point)) for arm in study.arms if arm.point),
        consistency=tuple(consistency),
        groups=tuple(group for seeds in scored.values() for group in summaries.group_answers(run, seeds)),
        selected=tuple(summaries.describe_selection(run, arm) for arm in run.arms if run.students(arm)),
        curves=tuple(summaries.collect_curves(run)),
        votes=tuple(votes for seeds in scored.values() for votes in summaries.count_votes(run, seeds)),
        cascades=tuple(trace_cascades(run, scored)),
        perplexity=tuple(one for one in summaries.bin_by_perplexity(run, scored) if len(one.bins) > 1),
        attributions=tuple(attribute_errors(run, scored)) if scored else (),
        faithfulness=faithfulness,
        first_wrong=tuple(find_first_wrong_steps(run, scored)) if scored else (),
        judged=tuple(summarise_judgements(run)),
        story=tell_story(run, answered),
    )


def write_page(data: ReportData, directory: Path) -> Path:
    """Write results.json and report.html into the run, and return the page's path."""
    from understudy.reports.documents import render_page

    write_json(directory / "results.json", asdict(data))
    path = directory / "report.html"
    write_text(path, render_page(data))
    return path


def write_pictures(data: ReportData, directory: Path) -> list[Path]:
    """Write the pictures of the report as PNG files into ``directory``, and return their paths."""
    from understudy.reports.plots import draw_pictures

    directory.mkdir(parents=True, exist_ok=True)
    return [picture.save(directory / f"{picture.name}.png") for picture in draw_pictures(data)]


def tell_story(run: Run, scored: ScoredAnswers) -> Story | None:
    """Follow the first example that shows a chain, and the first test problem on which the arms' first seeds disagree (if they
    agree on everything, the first problem). Returns None if no arm was shown a chain."""
    students = (stage for arm in run.arms for *_, stage in run.iter_students(arm))
    examples = (example for stage in students for example in read_seen(stage).shown if example.chain is not None)
    if (example := next(examples, None)) is None:
        return None
    chain, verdict = next(judged for judged in run.judged_chains() if judged[0].id == example.chain)
    split = run.study.evaluation.splits[0]
    first = [scored[arm, split][0] for arm in run.arms]
    correct = [{name for name, outcome in answers.outcomes.items() if outcome is Outcome.CORRECT} for answers in first]
    disagreed = (name for name in first[0].outcomes if len({name in names for names in correct}) > 1)
    problem = run.problems_of(split)[next(disagreed, next(iter(first[0].outcomes)))]
    return Story(
        problem=next(p for p in run.problems if p.id == chain.problem),
        chain=chain,
        verdict=verdict,
        tokens=example.tokens,
        asked=problem,
        answers=tuple(_show_answer(run, answers, problem.id) for answers in first if problem.id in answers.outcomes),
    )


def _show_answer(run: Run, scored: ArmOutcomes, problem: str) -> StudentAnswer:
    solutions = scored.solutions[problem]
    text, answer = solutions[0].text.strip(), solutions[0].answer
    if len(solutions) > 1:
        counted = vote(solutions, weighted=run.arms[scored.arm].decode.weighted)
        answer = counted.answer
        tally = ", ".join(f"{value} x {n:.3g}" for value, n in counted.weights.items())
        text += f"\n... and {len(solutions) - 1} more; the votes: {tally or 'none'}"
    return StudentAnswer(scored.arm, text, answer or "", scored.outcomes[problem].value)


def write_notes(run: Run, scored: ScoredAnswers, probed: Collection[tuple[str, str]]) -> Iterator[str]:
    """Write the notes to read with the numbers. ``probed``: (arm, alteration) of each measure of faithfulness."""
    study = run.study
    yield from _note_students(run)
    for split in study.evaluation.splits:
        conditions = {arm: find_conditions(run, scored[arm, split]) for arm in run.arms}
        yield from describe_differences(conditions) if split == study.evaluation.splits[0] else ()
        yield from describe_cut_off(conditions, split)
    yield from note_unfair(run, run.arms)
    yield from _note_weights(run, scored)
    yield from _note_repeated(run, probed)
    if study.checks[0] != "answer":
        yield f"The check {study.checks[0]} judges every answer: the teacher's, the checkpoints', and the students'."
    if dropped := run.problems_summary.dropped:
        yield f"{counted(len(dropped), 'problem')} left training or dev, because a held-out split has the same question."
    if errors := sum(answers.summary.errors for seeds in scored.values() for answers in seeds):
        yield f"{counted(errors, 'request')} failed: counted as errors, not as wrong answers, so the affected rows are smaller."
    chains = run.chains_summary
    if chains.errors:
        yield f"{counted(chains.errors, 'request')} to the teacher failed and gave no chain."
    if chains.versions:
        counts = ", ".join(f"{version} {count:,}" for version, count in chains.versions.items())
        yield f"The teacher's model changed during sampling; chains by version: {counts}."
    if chains.unasked:
        yield f"{counted(chains.unasked, 'chain')} of the teacher not asked for: {chains.stopped}."
    if too_long := sum(student.too_long for arm in run.arms for student in run.student_summaries(arm)):
        yield f"{counted(too_long, 'training example')} left out as too long for the student's context (summed over students)."


def _note_repeated(run: Run, probed: Collection[tuple[str, str]]) -> Iterator[str]:
    """Note what was answered again but gives no number."""
    for arm in run.arms:
        with_gold = (stage for seeds in run.reanswered(arm, "gold").values() for stage in seeds.values())
        if any(read_summary(stage, AnswersSummary).asked == 0 for stage in with_gold):
            yield f"The errors of {arm} could not be attributed: the data set has no working that can take a part's place."
        if missing := [alteration for alteration in run.reanswered(arm, "probe") if (arm, alteration) not in probed]:
            yield f"Faithfulness of {arm} not measured ({', '.join(missing)}): no question has a rationale by every seed's student."


def _note_students(run: Run) -> Iterator[str]:
    """Note what the students start from, how their checkpoints were chosen, and what they learned from."""
    study = run.study
    by_arm = {arm: students for arm in run.arms if (students := run.student_summaries(arm))}
    if scratch := [arm for arm, students in by_arm.items() if any(student.scratch for student in students)]:
        subject = "The students" if len(scratch) == len(by_arm) else f"The students of {join_names(scratch)}"
        yield f"{subject} are trained from scratch, without any pretraining: compare the arms, not the level."
    sizes = Counter(p.split for p in run.problems)
    tested = ", ".join(f"{split} {len(run.problems_of(split)):,}" for split in study.evaluation.splits)
    chosen = [arm for arm, students in by_arm.items() if all(student.chosen for student in students)]
    rest = [arm for arm in by_arm if arm not in chosen]
    note = f"checkpoints chosen on {min(sizes[study.evaluation.dev], study.evaluation.dev_problems):,} of {study.evaluation.dev}"
    note += f", those of {join_names(rest)} the last ones" if rest else ""
    checkpoints = f"; {note if chosen else 'checkpoints are the last ones'}" if by_arm else ""
    yield f"Problems: train {sizes['train']:,}{checkpoints}; tested on {tested}."
    for fraction, arms in grouped((run.arms[arm].fraction, arm) for arm in by_arm).items():
        if fraction < 1:
            n = len(filter_learned(run.problems, run.selection(arms[0])))
            yield f"Learned from {n:,} of the training problems (fraction {fraction:g}): {join_names(arms)}."


def _describe_making(run: Run, answered: ScoredAnswers) -> str:
    rows = " or ".join(sorted({str(one.summary.rows) for seeds in answered.values() for one in seeds} - {"0"}, key=int))
    trainings = sorted({f"{one.precision} on {one.device}" for arm in run.arms for one in run.student_summaries(arm)})
    trained = f"{counted(run.study.seeds, 'training seed')}; students trained in {' or '.join(trainings)}"
    answering = f"; students answer in {run.study.evaluation.precision}, at most {rows} questions at once" if rows else ""
    return f"{trained if trainings else 'No student is trained'}{answering}."


def _note_weights(run: Run, scored: ScoredAnswers) -> Iterator[str]:
    """Note which weights come from GGUF files."""
    summaries = [("the teacher", run.chains_summary.weights)]
    summaries += [(arm, student.weights) for arm in run.arms for student in run.student_summaries(arm)]
    summaries += [(arm, answers.summary.weights) for (arm, _), seeds in scored.items() for answers in seeds]
    for weights in dict.fromkeys(weights for _, weights in summaries if weights):
        names = dict.fromkeys(name for name, source in summaries if source == weights)
        yield f"The weights of {', '.join(names)}, before any training, are {weights}."


def format_command(run: Run) -> str:
    """Write the command line that makes the same run."""
    study = run.study
    words = ["understudy", "run", study.file] if study.file else ["understudy", "demo"]
    words += ["--profile", study.profile] if study.profile else []
    words += ["--seeds", str(study.seeds), *(word for text in study.overrides for word in ("--set", text))]
    return shlex.join(words + ([] if run.directory == Path("runs") / study.name else ["--out", str(run.directory)]))


def list_versions(readers: Sequence[str]) -> dict[str, str]:
    """List the versions of what made the numbers, and of what read the answers. Libraries that are not installed are left out."""
    packages = {name: find_version(name) for name in ("understudy", "torch", "transformers", "tokenizers")}
    return {"python": platform.python_version(), **{n: v for n, v in packages.items() if v}, "answers": ", ".join(readers)}
