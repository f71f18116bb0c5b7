"""Run a plan: every stage that is not done yet, as many at once as there are cores. To resume, run it again."""

import importlib.util
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.core.errors import StudyError, UnderstudyError, UserError
from understudy.core.options import describe, keyed_fields
from understudy.core.plugins import load
from understudy.core.processes import count_cores, hold
from understudy.corpus.store import write_text
from understudy.engines.local.device import list_gpus
from understudy.pipeline import cache
from understudy.pipeline.cache import Manifest, find_damage, find_manifest, is_done, remove, remove_dependents, write_manifest
from understudy.pipeline.executor import Event, LocalProcesses, Machine, perform
from understudy.pipeline.plan import PLAN, Plan, make_plan, save_plan
from understudy.pipeline.stage import Context, Kind, Stage, StageSummary
from understudy.pipeline.stages.answers import FILE as SOLUTIONS
from understudy.pipeline.stages.chains import ChainsSummary
from understudy.pipeline.stages.problems import ProblemsSummary
from understudy.pipeline.stages.student import StudentStage
from understudy.studies.study import Study


class Watcher:
    """Receives what happens during a run. The command line shows it live; the default is silent."""

    def planned(self, stages: list[Stage[Any]], cached: int) -> None:
        """Called before ``stages`` run; ``cached`` others are done already."""

    def damaged(self, reason: str) -> None:
        """Called when a finished stage must be made again, with the reason."""

    def event(self, event: Event) -> None:
        """Called with the progress of a running stage, (label, done, total, note), from another thread."""

    def started(self, stage: Stage[Any]) -> None: ...

    def finished(self, stage: Stage[Any], summary: StageSummary, seconds: float) -> None: ...


def run_study(study: Study, directory: Path, *, until: Kind = "answers", watcher: Watcher | None = None, workers: int = 0) -> Plan:
    """Run ``study`` in ``directory`` up to the stages of kind ``until``. Stages that are done are not redone. ``workers``: stages
    at once, 0 for one per core.

    Raises UserError for wrong input, BusyError if another process runs in ``directory``, EngineError if a model fails; what was
    done by then is kept. KeyboardInterrupt ends the running stages, which save what they have.
    """
    plan = make_plan(study, until=until)
    watcher = watcher or Watcher()
    with hold_run(directory), _save_plan(plan, directory):
        judged = until == "chains" and is_done(plan.verdicts.directory(directory))  # results need verdicts on new chains, too
        stages, chains = plan.list_until("verdicts" if judged else until), plan.chains
        damaged: set[str] = set()
        for stage in stages:
            if is_done(folder := stage.directory(directory)) and (damage := find_damage(folder, deep=True)):
                watcher.damaged(f"{damage}; {stage.kind} {stage.label} is made again")
                damaged.add(stage.key)
                if stage.kind not in ("chains", "answers") or find_manifest(folder) is None:
                    remove(folder)  # the manifests of these say what others were made from: `finish_stage` looks at them
        first: list[Stage[Any]] = []
        if is_done(chains.directory(directory)) and (chains.key in damaged or not chains.done(directory)):
            # Ask for the missing chains first: if any come, everything that was made from the old chains must be made again.
            first = [stage for stage in (plan.problems, chains) if stage == chains or not stage.done(directory)]
            _perform(plan, directory, watcher, workers, first, cached=len(stages) - len(first))
        todo = [stage for stage in stages if stage not in first and (stage.key in damaged or not stage.done(directory))]
        if plan.problems.done(directory):
            _require_gold(study, plan.problems.read_summary(directory), todo)
            if study.evaluation.fields:  # which are in no key
                plan.problems.check_splits(plan.problems.read(Context(directory)))
        _perform(plan, directory, watcher, workers, todo, cached=len(stages) - len(todo))
        if removed := [stage for stage in stages if not is_done(stage.directory(directory))]:  # made from answers that changed
            _perform(plan, directory, watcher, workers, removed, cached=len(stages) - len(removed))
    return plan


@contextmanager
def _save_plan(plan: Plan, directory: Path) -> Iterator[None]:
    """Save ``plan`` for `ls`, `results` and `gc`; restore the previous one if the plan's input turns out wrong (UserError)."""
    previous = {path: path.read_text(encoding="utf-8") for path in [directory / "study.toml", directory / PLAN] if path.is_file()}
    try:
        write_text(directory / "study.toml", plan.study.text)
        save_plan(plan, directory)
        yield
    except UserError:
        for path, text in previous.items():
            write_text(path, text)
        raise


def _perform(plan: Plan, directory: Path, watcher: Watcher, workers: int, todo: list[Stage[Any]], *, cached: int) -> None:
    """Run all of ``todo``, as many stages at once as there are workers, each as soon as the stages that it needs are done;
    ``cached`` others are done already."""
    watcher.planned(todo, cached)
    if not todo:
        return
    for stage in todo:  # before anything is asked or trained
        if missing := [name for name in stage.libraries() if importlib.util.find_spec(name) is None]:
            extra = {"sentence_transformers": "encoder", "rapidfuzz": "report"}.get(missing[0], "train")
            raise UserError(f"{stage.kind} {stage.label}: needs {', '.join(missing)}: pip install 'understudy[{extra}]'")
    machine = share_machine(list(plan.stages.values()), todo, workers)
    waiting = {stage.key: stage for stage in todo}
    running: dict[Future[tuple[StageSummary, float]], Stage[Any]] = {}
    with LocalProcesses(machine, watcher.event, plan.plugins) as pool:
        try:
            while waiting or running:
                # One for each idle worker, so that what is shown as running does run.
                while len(running) < machine.workers and (ready := _find_ready(waiting.values(), running.values())) is not None:
                    for plugin, digest in plan.plugins.items():
                        load(Path(plugin), digest=digest)
                    running[pool.submit(perform, waiting.pop(ready.key), directory)] = ready
                    watcher.started(ready)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda future: future.exception() is not None):  # a failure ends the run
                    stage = running.pop(future)
                    summary, seconds = _get_result(stage, future)
                    finish_stage(stage, summary, seconds, directory)
                    watcher.finished(stage, summary, seconds)
                    if isinstance(summary, ProblemsSummary):
                        _require_gold(plan.study, summary, todo)
        except BaseException:
            pool.stop()
            raise


def share_machine(stages: Sequence[Stage[Any]], todo: Sequence[Stage[Any]], workers: int) -> Machine:
    """Choose how those of the ``stages`` of a plan that are to do share this machine. All of them decide about threads: else a run
    that goes on would have others, and so other last digits. ``workers``: how many run at once; 0 for as many as there are
    pretrained students, which use several threads well, or without these (then with one thread each) as many as can."""
    devices, processes = {stage.device for stage in todo}, max(stage.processes for stage in stages)
    gpus = list_gpus() if "cuda" in devices else [""] if "mps" in devices else []  # a machine has one of Apple's
    gpus = [",".join(gpus[start : start + processes]) for start in range(0, len(gpus) - processes + 1, processes)] or gpus
    most = max(Counter(stage.kind for stage in stages).values())
    pretrained = sum(isinstance(stage, StudentStage) and stage.student.checkpoint is not None for stage in stages)
    workers = min(workers or len(gpus) or min(count_cores() // processes, pretrained or most) or 1, most)
    return Machine(workers, max(1, count_cores() // (workers * processes)) if pretrained else 1, gpus)


def _find_ready(waiting: Collection[Stage[Any]], running: Collection[Stage[Any]]) -> Stage[Any] | None:
    """Find the first stage whose needs are done, in plan order, but students first: they take longest. Only one at a time pays the
    teacher."""
    paying = any(stage.pays for stage in running)
    unfinished = {stage.key for stage in (*waiting, *running)}
    ready = [s for s in waiting if not (paying and s.pays) and not unfinished & {need.key for need in s.needs()}]
    return min(ready, key=lambda stage: stage.kind != "student", default=None)


def _get_result(stage: Stage[Any], future: Future[tuple[StageSummary, float]]) -> tuple[StageSummary, float]:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = f"{stage.kind} {stage.label}: its process ended without a message, perhaps out of memory"
        raise UnderstudyError(f"{reason}. What was done is kept: run it again, with --workers 1 if memory is short") from None


def finish_stage(stage: Stage[Any], summary: StageSummary, seconds: float, run: Path) -> None:
    """Mark ``stage`` as done in the directory ``run``. If it was done before with other chains or answers, remove what was made
    from those."""
    folder = stage.directory(run)
    if (before := find_manifest(folder)) is not None and _has_changed(before, summary, folder):
        remove_dependents(run, stage.key)
    manifest = Manifest(
        kind=stage.kind,
        label=stage.label,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(seconds, 2),
        needs=tuple(need.key for need in stage.needs()),
        inputs={field.name: describe(getattr(stage, field.name)) for field in keyed_fields(stage)},
        summary=asdict(summary),
    )
    write_manifest(folder, manifest)


def _has_changed(before: Manifest, summary: StageSummary, folder: Path) -> bool:
    """Whether a stage that asks a teacher got other chains or answers than ``before``."""
    if isinstance(summary, ChainsSummary):
        return before.summary.get("corpus") != summary.corpus
    return SOLUTIONS in before.files and cache.digest_file(folder / SOLUTIONS) != before.files[SOLUTIONS]


def _require_gold(study: Study, problems: ProblemsSummary, todo: list[Stage[Any]]) -> None:
    """Raise StudyError before a teacher is paid for something that could not be scored."""
    evaluation, students = study.evaluation, [stage for stage in todo if isinstance(stage, StudentStage)]
    needed = {stage.dev.split for stage in students if stage.dev is not None}
    if evaluation.scored and any(stage.kind in ("student", "answers") for stage in todo):
        needed |= set(evaluation.splits)
    if any(stage.selection.needs_gold for stage in students):
        needed.add("train")
    if lacks := [split for split in problems.without_gold if split in needed]:
        unlabelled = 'to train without gold answers, set select = { keep = "all" } or { check = "majority" }; '
        unscored = "if the answers are free text, set evaluation.scored = false and compare them with `understudy judge`"
        text = f"evaluation: no problem of split {lacks[0]!r} has a gold answer; name the field with task.fields.answer, or stop at"
        raise StudyError(f"{text} the chains (sample, check, select); {unlabelled if lacks[0] == 'train' else ''}{unscored}")


@contextmanager
def hold_run(directory: Path) -> Iterator[None]:
    """Hold the run directory, and make it if it does not exist. A second runner gets an error that names the first."""
    with ExitStack() as stack:
        try:
            (directory / "stages").mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold(directory / ".lock", "is running a study there; wait, or give another --out"))
        except OSError as error:
            raise UserError(f"{directory}: cannot be created or written ({error.strerror}); give another one with --out") from None
        yield
