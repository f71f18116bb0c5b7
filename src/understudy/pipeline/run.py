"""Run a plan: every stage that is not there yet, as many at once as there are cores. Resume is: run it again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.core.errors import BusyError, StudyError, UnderstudyError, UserError
from understudy.pipeline.cache import finish, forget_what_needs, is_done, read_manifest, write_text
from understudy.pipeline.executor import Event, LocalProcesses, cores, perform
from understudy.pipeline.plan import Kind, Plan, Stage, make_plan
from understudy.studies.schema import plain
from understudy.studies.study import Study


class Watcher:
    """What a run tells while it goes on; the command line shows it live, the default is silent."""

    def planned(self, stages: list[Stage], cached: int) -> None:
        """``stages`` are to be done now, ``cached`` were there already."""

    def event(self, event: Event) -> None:
        """Progress of a running stage: (label, done, total, note). Called from another thread."""

    def started(self, stage: Stage) -> None: ...

    def finished(self, stage: Stage, says: Mapping[str, Any], seconds: float) -> None: ...


def run_study(
    study: Study,
    directory: Path,
    *,
    until: Kind = "answers",
    watcher: Watcher | None = None,
    workers: int | None = None,
) -> Plan:
    """Run ``study`` in ``directory`` up to the stages of kind ``until``; stages that are there already are not redone.

    Raises UserError for wrong input, BusyError where another process runs in ``directory``, EngineError where a model
    fails; what was done by then is kept. KeyboardInterrupt ends the running stages, which save what they have.
    """
    watcher = watcher or Watcher()
    plan = make_plan(study)
    make_directory(directory)
    with only_runner(directory), _as_last_plan(plan, directory):
        stages = plan.until(until)
        chains = plan.stages[plan.chains]
        if is_done(chains.directory(directory)) and not chains.done(directory):
            # What is missing of the chains is asked for first: if any come, all that was made of the others is made anew.
            _perform([chains], len(stages) - 1, plan, directory, watcher, workers)
        asked = [chains.key] if is_done(chains.directory(directory)) else []
        todo = [stage for stage in stages if stage.key not in asked and not stage.done(directory)]
        if plan.stages[plan.problems].done(directory):
            _check_gold(read_manifest(plan.stages[plan.problems].directory(directory))["says"], todo)
        _perform(todo, len(stages) - len(todo), plan, directory, watcher, workers)
    return plan


def _perform(  # noqa: PLR0917
    todo: list[Stage], cached: int, plan: Plan, directory: Path, watcher: Watcher, workers: int | None
) -> None:
    watcher.planned(todo, cached)
    if todo:
        size = min(workers or cores(), len(todo))
        with LocalProcesses(size, watcher.event) as pool:
            _schedule(todo, plan.plugins, directory, pool, size, watcher)


@contextmanager
def _as_last_plan(plan: Plan, directory: Path) -> Iterator[None]:
    """``plan`` is what `ls`, `results` and `gc` go by from now on, unless its input turns out wrong: then the one before."""
    files = {directory / "study.toml": plan.study.text, directory / "plan.json": json.dumps(describe(plan), indent=1)}
    before = {path: path.read_text(encoding="utf-8") for path in files if path.is_file()}
    try:
        for path, text in files.items():
            write_text(path, text)
        yield
    except UserError:
        for path, text in before.items():
            write_text(path, text)
        raise


def describe(plan: Plan) -> dict[str, Any]:
    """The plan as JSON: what `understudy ls`, `results` and `report` read without the study file."""
    return {
        "name": plan.study.name,
        "study": plain(_options_of(plan.study)),
        "plugins": dict(plan.plugins),
        "stages": [{"kind": s.kind, "label": s.label, "key": s.key} for s in plan.stages.values()],
        "arms": [
            {
                "name": arm.arm.name,
                "selection": arm.selection,
                "students": {str(seed): dict(roles) for seed, roles in arm.students.items()},
                "answers": {str(seed): dict(splits) for seed, splits in arm.answers.items()},
                "gold": {str(seed): dict(parts) for seed, parts in arm.gold.items()},
            }
            for arm in plan.arms
        ],
    }


def _options_of(study: Study) -> dict[str, Any]:
    import dataclasses

    values = dataclasses.asdict(study)
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if k != "text"}


def _schedule(  # noqa: PLR0917
    todo: list[Stage], plugins: Mapping[str, str], directory: Path, pool: LocalProcesses, size: int, watcher: Watcher
) -> None:
    """Keep ``size`` stages running until none is left. A stage is submitted when it can begin, so what is shown is true."""
    waiting = {stage.key: stage for stage in todo}
    running: dict[Future[Any], Stage] = {}
    try:
        while waiting or running:
            while len(running) < size and (stage := next(_ready(waiting, running), None)) is not None:
                del waiting[stage.key]
                running[_submit(pool, stage, plugins, directory)] = stage
                watcher.started(stage)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                stage = running.pop(future)
                says, seconds = _result(future, stage)
                inputs = {"needs": dict(stage.needs), "arguments": plain(dict(stage.arguments))}
                where = stage.directory(directory)
                if stage.kind == "chains" and is_done(where) and read_manifest(where)["says"]["corpus"] != says["corpus"]:
                    forget_what_needs(directory, stage.key)
                finish(where, kind=stage.kind, label=stage.label, inputs=inputs, seconds=seconds, says=says)
                watcher.finished(stage, says, seconds)
                if stage.kind == "problems":
                    _check_gold(says, todo)
    except BaseException:
        pool.stop()
        raise


def _result(future: Future[Any], stage: Stage) -> tuple[Any, float]:
    try:
        says, seconds = future.result()
    except BrokenProcessPool:
        raise UnderstudyError(
            f"{stage.kind} {stage.label}: its process ended without a word (was it killed, or is the memory full?); what was done "
            "is kept: run the same command again to go on, with --workers 1 where memory is short"
        ) from None
    return says, seconds


def _check_gold(says: Mapping[str, Any], todo: list[Stage]) -> None:
    """Raise StudyError before a teacher is paid for what could not be scored; ``says``: of the problems stage."""
    without = says.get("without gold answers")
    if without and any(stage.kind in ("student", "answers") for stage in todo):
        raise StudyError(
            f"evaluation: no problem of split {without[0]!r} has a gold answer, so nothing can be scored on it; name the field "
            "with task.fields.answer, or go no further than the chains (understudy sample, check, select)"
        )


def _ready(waiting: Mapping[str, Stage], running: Mapping[Future[Any], Stage]) -> Iterator[Stage]:
    """Stages whose needs are done, in plan order, students first: they take longest. One at a time pays the teacher."""
    paying = any(stage.pays for stage in running.values())
    unfinished = set(waiting) | {stage.key for stage in running.values()}
    free = [stage for stage in waiting.values() if not (paying and stage.pays)]
    ready = [stage for stage in free if not unfinished & set(stage.needs.values())]
    yield from sorted(ready, key=lambda stage: stage.kind != "student")


def _submit(pool: LocalProcesses, stage: Stage, plugins: Mapping[str, str], directory: Path) -> Future[Any]:
    needs = {name: str(directory / "stages" / _directory_name(directory, key)) for name, key in stage.needs.items()}
    arguments = plain(dict(stage.arguments))
    return pool.submit(perform, stage.kind, str(stage.directory(directory)), needs, arguments, stage.label, dict(plugins))


def _directory_name(directory: Path, key: str) -> str:
    found = [path for path in (directory / "stages").glob(f"*-{key}") if is_done(path)]
    assert len(found) == 1, (key, found)
    return found[0].name


def make_directory(directory: Path) -> None:
    """Make a run directory. Raises UserError where that cannot be."""
    try:
        (directory / "stages").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be made or written ({error.strerror}); give another directory with --out") from None


@contextmanager
def only_runner(directory: Path) -> Iterator[None]:
    """Hold the run directory; a second runner is told who has it."""
    lock = directory / ".lock"
    try:
        file = lock.open("a+")
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({error.strerror}); give another directory with --out") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BusyError(
                f"{directory}: process {file.read().strip() or '?'} is running a study there; wait for it or give --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
