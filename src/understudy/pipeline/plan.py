"""Turn a study into its stages: what depends on what, and the key under which each result is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError, StudyError
from understudy.core.options import plain
from understudy.corpus.directories import read_json
from understudy.corpus.store import write_json
from understudy.engines.recorded import Recorded
from understudy.pipeline.arms import ArmPlanner, ArmStage, SharedStages
from understudy.pipeline.cache import OLD_RUN, VERSION, digest_files
from understudy.pipeline.stage import KINDS, Kind, Stage
from understudy.pipeline.stages.answers import TeacherPlayer
from understudy.pipeline.stages.chains import ChainsStage, RecordedChainsStage, SampledChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.pipeline.stages.verdicts import VerdictsStage
from understudy.studies.options import Exemplars
from understudy.studies.relabels import read_relabels
from understudy.studies.schema import build
from understudy.studies.study import Study, list_trained

PLAN = "plan.json"
"""The file of the saved plan: what `ls`, `results`, `report` and `gc` know about a run without its study file."""


@dataclass(frozen=True, kw_only=True)
class Plan(SharedStages):
    """Every stage of a study; ``places`` are those of its arms. ``plugins``: plug-in file -> digest of the text that the keys are
    made with."""

    places: Mapping[ArmStage, Stage[Any]]
    plugins: Mapping[str, str]

    @cached_property
    def stages(self) -> Mapping[str, Stage[Any]]:
        """key -> stage, in an order in which they can run."""
        ordered: dict[str, Stage[Any]] = {}

        def add(stage: Stage[Any]) -> None:
            if stage.key not in ordered:
                for need in stage.needs():
                    add(need)
                ordered[stage.key] = stage

        for stage in (self.verdicts, *self.places.values()):
            add(stage)
        return ordered

    def list_until(self, kind: Kind) -> list[Stage[Any]]:
        """List the stages up to and including ``kind``."""
        return [stage for stage in self.stages.values() if stage.kind in KINDS[: KINDS.index(kind) + 1]]


def make_plan(study: Study, *, until: Kind = "answers", fetch: bool = True) -> Plan:
    """Plan ``study`` up to the stages of kind ``until``, reading nothing but the digests of the files that it names. The teacher is
    asked for chains only if an arm trains or they are what is wanted. Without ``fetch``, no model is downloaded, and the plan names
    the students' checkpoints that are not on this machine. Raises StudyError for absent files."""
    plugins = study.load_plugins()
    exemplars = study.exemplars
    if exemplars.file is not None:
        exemplars = replace(exemplars, file=str(study.resolve(exemplars.file)))
    problems = _plan_problems(study, exemplars)
    engine = study.teacher.prepare_engine(study.root, problems.task)
    files = digest_files(engine.files(), "teacher")
    needed = until in ("chains", "verdicts") or any(list_trained(arm, study.method(arm)) for arm in study.arms)
    chains = _plan_chains(study, problems, exemplars, engine, files, needed=needed)
    verdicts = _plan_verdicts(study, problems, chains)
    teacher = TeacherPlayer(study.teacher.engine, engine, files) if engine.asks else None
    shared = SharedStages(study, problems, chains, verdicts, exemplars, teacher, None if fetch else {})
    places = {place: stage for arm in study.arms for place, stage in ArmPlanner(shared, arm).list_stages()}
    return Plan(**vars(shared), places=places, plugins=plugins)


def _plan_verdicts(study: Study, problems: ProblemsStage, chains: ChainsStage) -> VerdictsStage:
    try:
        relabels = read_relabels(study.resolve(study.relabels), study.checks[0]) if study.relabels else {}
    except DataError as error:
        raise StudyError(f"study.relabels: {error}; `understudy view RUN --rater NAME` or `understudy judge` writes it") from None
    outcomes = {name: {chain: row.outcome for (check, chain), row in relabels.items() if check == name} for name in study.checks}
    outcomes = {name: changed for name, changed in outcomes.items() if changed}
    label = ", ".join(study.checks)
    return VerdictsStage(label=label, problems=problems, chains=chains, checks=study.checks, relabels=outcomes, details=relabels)


def _plan_problems(study: Study, exemplars: Exemplars) -> ProblemsStage:
    task = study.make_task()
    files = digest_files(task.files() if hasattr(task, "files") else (), "task")
    if exemplars.file is not None:
        files |= digest_files([Path(exemplars.file)], "exemplars.file")
    return ProblemsStage(
        label=study.task,
        name=study.task,
        task=task,
        files=files,
        exemplars=Exemplars(n=exemplars.n, file=exemplars.file),  # how they are shown changes no problem
        seed=study.seed,
        overlap=study.overlap,
        near_limit=study.near_limit,
        held_out=study.evaluation.splits,
        used=(study.evaluation.dev,),
        fields=study.evaluation.fields,
    )


def _plan_chains(
    study: Study, problems: ProblemsStage, exemplars: Exemplars, engine: Any, files: Mapping[str, str], *, needed: bool
) -> ChainsStage:
    teacher = study.teacher
    if isinstance(engine, Recorded):
        return RecordedChainsStage(label=teacher.engine, problems=problems, files=files, terms=study.corpus, engine=engine)
    return SampledChainsStage(
        label=teacher.engine,
        problems=problems,
        files=files,
        terms=study.corpus,
        teacher=teacher,
        engine=engine,
        method=teacher.make_method(),
        prompts=teacher.read_prompts(study.root, teacher.method),
        exemplars=exemplars,
        seed=study.seed,
        right_by=study.checks[0] if teacher.allocation is not None and teacher.allocation.right > 0 else None,
        needed=needed,
        check=study.checks[0],
    )


@dataclass(frozen=True)
class SavedPlan:
    """The plan that ran last in a directory: the names of its ``stages``' directories. ``plugins``: file -> digest of its text."""

    study: Study
    plugins: Mapping[str, str]
    problems: str
    chains: str
    verdicts: str
    stages: tuple[str, ...]
    places: tuple[ArmStage, ...]
    version: int = VERSION


def save_plan(plan: Plan, directory: Path) -> None:
    """Write ``plan`` into the run ``directory``."""
    saved = SavedPlan(
        study=replace(plan.study, text=""),  # the text is in study.toml beside it
        plugins=plan.plugins,
        problems=plan.problems.folder,
        chains=plan.chains.folder,
        verdicts=plan.verdicts.folder,
        stages=tuple(stage.folder for stage in plan.stages.values()),
        places=tuple(plan.places),
    )
    write_json(directory / PLAN, plain(saved))


def read_plan(run: Path) -> SavedPlan:
    """Read the plan that ran last in ``run``. Raises DataError if ``run`` is not a run directory, or is one of an earlier
    Understudy."""
    path = run / PLAN
    if not path.is_file():
        raise DataError(f"{run}: holds no run ({PLAN} is missing); give the directory of a run, as runs/NAME")
    body = read_json(path)
    if body.get("version") != VERSION:
        raise DataError(f"{path}: {OLD_RUN}")
    try:
        return build(SavedPlan, body, "")
    except StudyError as error:
        raise DataError(f"{path}: {error}; run the study again") from None
