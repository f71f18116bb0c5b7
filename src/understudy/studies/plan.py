"""From a study to its stages: what depends on what, and the key under which each result is kept.

    problems -> chains -> verdicts -> selection -> student (per role, per seed) -> answers (per split)

Equal inputs give equal keys, so arms that share a stage compute it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.core.errors import StudyError
from understudy.core.prompting import Format
from understudy.core.registry import find, module_of
from understudy.core.values import digest
from understudy.corpus.directories import files_of
from understudy.studies.cache import code_version, file_digest, is_done
from understudy.studies.options import Arm
from understudy.studies.schema import build, plain
from understudy.studies.starts import checkpoint_of, deciding_files, start_of
from understudy.studies.study import Study

Kind = Literal["problems", "chains", "verdicts", "selection", "student", "answers"]
KINDS: tuple[Kind, ...] = ("problems", "chains", "verdicts", "selection", "student", "answers")

TRANSPORT = ("key_env", "concurrency", "timeout", "retries", "first_look", "price")
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
        return is_done(self.directory(run))


@dataclass(frozen=True)
class ArmPlan:
    """Where an arm's results are: selection key, and per seed the student keys by role and the answer keys by split. An arm
    that trains nothing has neither selection nor students."""

    arm: Arm
    selection: str | None
    students: Mapping[int, Mapping[str, str]]
    answers: Mapping[int, Mapping[str, str]]


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
    """The plan of ``study``; reads nothing but the digests of the files it names. Raises StudyError for absent files."""
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
    recorded = [file for path in recorded for file in files_of(path)]
    if study.teacher.checkpoint is not None:
        chats = (
            build(find("method", study.teacher.method), dict(study.teacher.options), "teacher.options").format.style == "messages"
        )
        checkpoint = checkpoint_of(study, study.teacher.checkpoint, "teacher.checkpoint", chats=chats)
        teacher["checkpoint"] = str(checkpoint)
        recorded += deciding_files(checkpoint)
    chains = add(
        "chains",
        study.teacher.engine,
        {"problems": problems},
        {"teacher": teacher, "transport": transport, "task": study.task, "task_options": plain(task), "seed": seed}
        | {"files": _digests(recorded, "teacher.chains"), "exemplars": exemplars, "judged_by": study.check}
        | {"corpus": plain(study.corpus)},
        [*_teacher_code(study), module_of("method", study.teacher.method)],
        study.teacher.engine == "transformers",
        study.teacher.engine != "recorded",
    )
    judged = {"problems": problems, "chains": chains}
    verdicts = add("verdicts", study.check, judged, {"check": study.check}, [module_of("check", study.check)])
    speaker = {name: teacher[name] for name in SPEAKER}
    asking = {"teacher": speaker, "transport": transport, "task": study.task, "task_options": plain(task)}
    shared = Shared(study, problems, chains, verdicts, exemplars, asking)
    arms = tuple(_plan_arm(shared, arm, add) for arm in study.arms)
    return Plan(study, stages, arms, problems, chains, verdicts, plugins)


@dataclass(frozen=True)
class Shared:
    """What every arm builds on."""

    study: Study
    problems: str
    chains: str
    verdicts: str
    exemplars: Mapping[str, Any]
    asking: Mapping[str, Any]
    """What it takes to ask the teacher."""


def _plan_arm(shared: Shared, arm: Arm, add: Any) -> ArmPlan:
    if arm.model != "trained":
        return _plan_untrained(shared, arm, add)
    study, evaluation = shared.study, shared.study.evaluation
    method = study.method(arm)
    needs = {"problems": shared.problems, "chains": shared.chains, "verdicts": shared.verdicts}
    chosen = {"select": plain(arm.select), "format": plain(getattr(method, "format", Format())), "seed": study.seed}
    selection = add("selection", arm.name, needs, chosen, [])
    asked = {"method": arm.method, "options": plain(method)}
    code = [module_of("method", arm.method)]
    limits = {name: plain(evaluation)[name] for name in ("batch_size", "precision")}
    student = start_of(study, arm)
    start = student.checkpoint
    students: dict[int, dict[str, str]] = {}
    answers: dict[int, dict[str, str]] = {}
    for seed in range(study.seed, study.seed + study.seeds):
        suffix = f", seed {seed}" if study.seeds > 1 else ""
        students[seed] = {}
        for role in _in_order(method):
            students[seed][role] = add(
                "student",
                f"{arm.name}{suffix}" + (f" ({role})" if len(method.roles) > 1 else ""),
                {"problems": shared.problems, "chains": shared.chains, "selection": selection}
                | {f"student:{need}": students[seed][need] for need in method.needs.get(role, ())},
                asked
                | limits
                | {
                    "role": role,
                    "student": plain(student),
                    "training": plain(study.training_of(arm)),
                    "files": _digests(deciding_files(Path(start))) if start else {},
                    "seed": seed,
                    "dev": evaluation.dev,
                    "dev_problems": evaluation.dev_problems,
                    "check": study.check,
                    "vocabulary": _formats(study),
                },
                code,
                True,
            )
        answers[seed] = {
            split: add(
                "answers",
                f"{arm.name}{suffix}, {split}",
                {"problems": shared.problems} | {f"student:{role}": key for role, key in students[seed].items()},
                asked
                | limits
                | {"split": split, "votes": arm.decode.votes, "seed": seed}
                | {"decoding": plain(arm.decode.decoding)},
                code,
                True,
            )
            for split in evaluation.splits
        }
    return ArmPlan(arm, selection, students, answers)


def _plan_untrained(shared: Shared, arm: Arm, add: Any) -> ArmPlan:
    """An arm that trains nothing: the teacher, or the checkpoint that students start from, answers."""
    study, method = shared.study, shared.study.method(arm)
    evaluation = plain(study.evaluation)
    if arm.model == "teacher":
        says, code = dict(shared.asking), _teacher_code(study)
    else:
        start = start_of(study, arm).checkpoint
        assert start is not None, "the study was validated"
        says, code = {"checkpoint": start, "files": _digests(deciding_files(Path(start)))}, []
    local = arm.model == "untrained" or study.teacher.engine == "transformers"
    answers = {
        study.seed: {
            split: add(
                "answers",
                f"{arm.name}, {split}",
                {"problems": shared.problems},
                says
                | {name: evaluation[name] for name in ("batch_size", "precision")}
                | {"method": arm.method, "options": plain(method), "split": split, "votes": arm.decode.votes}
                | {"seed": study.seed, "decoding": plain(arm.decode.decoding), "exemplars": shared.exemplars},
                [*code, module_of("method", arm.method)],
                local,
                arm.model == "teacher",
            )
            for split in study.evaluation.splits
        }
    }
    return ArmPlan(arm, None, {}, answers)


def _formats(study: Study) -> list[Any]:
    """The raw formats of the arms' methods: what students from scratch have words for, the same ones in every arm."""
    found: dict[str, Any] = {}
    for arm in study.arms:
        written = study.method(arm).format
        if arm.model == "trained" and written.style == "raw":
            found[digest(plain(written))] = plain(written)
    return [found[key] for key in sorted(found)]


def _in_order(method: Any) -> list[str]:
    """The roles of ``method``, each after the roles it needs."""
    ordered: list[str] = []
    while len(ordered) < len(method.roles):
        ready = [r for r in method.roles if r not in ordered and set(method.needs.get(r, ())) <= set(ordered)]
        assert ready, f"{method.name}: roles {method.roles} need each other in a circle: {method.needs}"
        ordered.append(ready[0])
    return ordered


def _teacher_code(study: Study) -> list[str]:
    return {
        "procedural": ["understudy.engines.procedural", module_of("task", study.task)],
        "recorded": ["understudy.corpus.importing"],
        "transformers": ["understudy.engines.local"],
        "endpoint": ["understudy.engines.endpoint"],
    }[study.teacher.engine]


def _digests(paths: list[Path], where: str = "checkpoint") -> dict[str, str]:
    return {str(path): _digest_of(path, where) for path in paths}


def _digest_of(path: Path, where: str) -> str:
    if not path.is_file():
        raise StudyError(f"{where}: there is no file {path}")
    return file_digest(path)
