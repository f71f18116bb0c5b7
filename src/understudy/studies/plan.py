"""From a study to its stages: what depends on what, and the key under which each result is kept.

    problems -> chains -> verdicts -> selection -> student (per role, per seed) -> answers (per split)

Equal inputs give equal keys, so arms that share a stage compute it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from understudy.core.errors import StudyError
from understudy.core.prompts import load_prompts
from understudy.core.registry import find, module_of
from understudy.core.values import digest
from understudy.corpus.directories import files_of
from understudy.studies.arms import ArmPlan, Shared, plan_arm
from understudy.studies.cache import code_version, file_digest, is_done, read_manifest
from understudy.studies.schema import build, plain
from understudy.studies.starts import checkpoint_of, deciding_files
from understudy.studies.study import Study
from understudy.training.precision import settle_precision

Kind = Literal["problems", "chains", "verdicts", "selection", "student", "answers"]
KINDS: tuple[Kind, ...] = ("problems", "chains", "verdicts", "selection", "student", "answers")

TRANSPORT = (
    *("key_env", "concurrency", "timeout", "retries", "first_look", "price", "budget"),
    *("requests_per_minute", "tokens_per_minute", "stream", "logprobs", "n", "batch", "poll"),
)
"""How a teacher is reached, which does not decide what it says: not in the key of its chains."""

NOT_IN_KEYS = ("transport", "judged_by", "corpus")
"""Arguments of a stage that do not decide what it makes: the check by which a teacher's first replies are counted, the terms that
go along with its chains."""

SPEAKER = ("engine", "checkpoint", "precision", "url", "model", "api", "identity", "slip", "misread")
"""Who a teacher is, whatever is asked of it: in the key of its own answers."""

_JOBS = {kind: f"understudy.studies.jobs.{kind}" for kind in KINDS}
_MODEL_LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Stage:
    """One cached step. ``needs`` names the stages before it (role in this stage -> key); ``arguments`` are plain values."""

    kind: Kind
    label: str
    key: str
    needs: Mapping[str, str]
    arguments: Mapping[str, Any]
    pays: bool = False
    """Asks the teacher through the run's ledger, which has one writer at a time."""

    def directory(self, run: Path) -> Path:
        return run / "stages" / f"{self.kind}-{self.key}"

    def done(self, run: Path) -> bool:
        """It is there, and running it again would bring nothing: one that asks an endpoint and has errors would ask for those."""
        where = self.directory(run)
        if not is_done(where):
            return False
        if not (self.pays and self.arguments["teacher"]["engine"] == "endpoint"):
            return True
        says = read_manifest(where)["says"]
        return not (says.get("errors") or says.get("not asked"))


@dataclass(frozen=True)
class Plan:
    """Every stage of a study in an order in which they can run, and the map from arms to stages."""

    study: Study
    stages: Mapping[str, Stage] = field(default_factory=dict)
    arms: tuple[ArmPlan, ...] = ()
    problems: str = ""
    chains: str = ""
    verdicts: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Plug-in file -> digest of the text that the keys stand for."""

    def until(self, kind: Kind) -> list[Stage]:
        """The stages up to and including ``kind``."""
        kinds = KINDS[: KINDS.index(kind) + 1]
        return [stage for stage in self.stages.values() if stage.kind in kinds]


def make_plan(study: Study) -> Plan:
    """The plan of ``study`` on this machine, whose processor decides what the precision "auto" is; reads nothing but the digests
    of the files it names. Raises StudyError for absent files."""
    if study.teacher.engine == "transformers":
        study = replace(study, teacher=replace(study.teacher, precision=settle_precision(study.teacher.precision)))
    stages: dict[str, Stage] = {}
    plugins = study.load_plugins()

    def add(  # noqa: PLR0917
        kind: Kind,
        label: str,
        needs: Mapping[str, str],
        arguments: Mapping[str, Any],
        code: list[str],
        libraries: bool = False,
        pays: bool = False,
    ) -> str:
        lora = ("peft",) if (arguments.get("student") or {}).get("lora") else ()
        version = code_version([_JOBS[kind], *code], (*_MODEL_LIBRARIES, *lora) if libraries else ())
        decides = {name: value for name, value in arguments.items() if name not in NOT_IN_KEYS}
        key = digest([kind, dict(needs), plain(decides), version])
        stages.setdefault(key, Stage(kind, label, key, dict(needs), arguments, pays))
        return key

    seed = study.seed
    task = study.make_task()
    files = {str(path): _digest_of(path, "task") for path in getattr(task, "files", lambda: [])()}
    exemplars = plain(study.exemplars)
    if study.exemplars.file is not None:
        exemplars["file"] = str(study.path_of(study.exemplars.file))
        files |= _digests([Path(exemplars["file"])], "exemplars.file")
    problems = add(
        "problems",
        study.task,
        {},
        {
            "task": study.task,
            "options": plain(task),
            "files": files,
            "exemplars": {"n": exemplars["n"], "file": exemplars["file"]},
            "seed": seed,
            "overlap": study.overlap,
            "held_out": list(study.evaluation.splits),
            "used": [study.evaluation.dev],
        },
        [module_of("task", study.task)],
    )
    teacher = plain(study.teacher)
    transport = {name: teacher.pop(name) for name in TRANSPORT}
    recorded = [study.path_of(name) for name in study.teacher.chains]
    teacher["chains"] = [str(path) for path in recorded]
    own = teacher.pop("prompts")
    prompts = load_prompts(study.teacher.method, study.path_of(own) if own else None)
    recorded = [file for path in recorded for file in files_of(path)]
    if study.teacher.checkpoint is not None:
        chats = (
            build(find("method", study.teacher.method), dict(study.teacher.options), "teacher.options").format.style == "messages"
        )
        checkpoint = checkpoint_of(study, study.teacher.checkpoint, "teacher.checkpoint", chats=chats)
        teacher["checkpoint"] = str(checkpoint)
        recorded += deciding_files(checkpoint)
    right_by = _right_by(study)
    chains = add(
        "chains",
        study.teacher.engine,
        {"problems": problems},
        {"teacher": teacher, "transport": transport, "task": study.task, "task_options": plain(task), "seed": seed}
        | {"files": _digests(recorded, "teacher.chains"), "exemplars": exemplars, "judged_by": study.check}
        | {"corpus": plain(study.corpus), "prompts": prompts, "right_by": list(right_by)},
        [*_teacher_code(study), module_of("method", study.teacher.method), *right_by.values()],
        study.teacher.engine == "transformers",
        study.teacher.engine != "recorded",
    )
    judged = {"problems": problems, "chains": chains}
    verdicts = add("verdicts", study.check, judged, {"check": study.check}, [module_of("check", study.check)])
    speaker = {name: teacher[name] for name in SPEAKER}
    asking = {"teacher": speaker, "transport": transport, "task": study.task, "task_options": plain(task)}
    shared = Shared(study, problems, chains, verdicts, exemplars, asking, _teacher_code(study))
    arms = tuple(plan_arm(shared, arm, add) for arm in study.arms)
    return Plan(study, stages, arms, problems, chains, verdicts, plugins)


def _teacher_code(study: Study) -> list[str]:
    return {
        "procedural": ["understudy.engines.procedural", module_of("task", study.task)],
        "recorded": ["understudy.corpus.importing"],
        "transformers": ["understudy.engines.local"],
        "endpoint": ["understudy.engines.endpoint"],
    }[study.teacher.engine]


def _right_by(study: Study) -> dict[str, str]:
    """The check, and its module, that decides what is asked for: where an allocation wants right chains."""
    allocation = study.teacher.allocation
    return {study.check: module_of("check", study.check)} if allocation is not None and allocation.right else {}


def _digests(paths: list[Path], where: str = "checkpoint") -> dict[str, str]:
    return {str(path): _digest_of(path, where) for path in paths}


def _digest_of(path: Path, where: str) -> str:
    if not path.is_file():
        raise StudyError(f"{where}: there is no file {path}")
    return file_digest(path)
