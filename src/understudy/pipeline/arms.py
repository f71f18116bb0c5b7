"""The stages of one arm: selection, the students of each role (and their folds), answers, and those with gold in a part's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from understudy.core.errors import StudyError
from understudy.core.prompts import load_prompts
from understudy.core.protocols import Choosy, Parted, Wordy
from understudy.core.registry import module_of
from understudy.core.values import digest
from understudy.pipeline.cache import file_digest
from understudy.pipeline.checkpoints import deciding_files, started
from understudy.studies.cast import models_of, parts_of, student_of_role, trained_roles, training_of_role, where_student
from understudy.studies.options import Arm
from understudy.studies.schema import plain
from understudy.studies.study import Study


class Add(Protocol):
    """Adds a stage to the plan, or finds the equal one that is there; its key."""

    def __call__(  # noqa: PLR0917
        self,
        kind: Any,
        label: str,
        needs: Mapping[str, str],
        arguments: Mapping[str, Any],
        code: list[str],
        libraries: bool = False,
        pays: bool = False,
    ) -> str: ...


@dataclass(frozen=True)
class ArmPlan:
    """Where an arm's results are: selection key, and per seed the student keys by role and the answer keys by split. An arm
    that trains nothing has neither selection nor students. ``gold``: per seed and part, the answers to the first split with gold in
    that part's place."""

    arm: Arm
    selection: str | None
    students: Mapping[int, Mapping[str, str]]
    answers: Mapping[int, Mapping[str, str]]
    gold: Mapping[int, Mapping[str, str]] = field(default_factory=dict)


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
    teacher_code: list[str]


def plan_arm(shared: Shared, arm: Arm, add: Add) -> ArmPlan:
    """Plan ``arm`` on what is ``shared``."""
    study, method = shared.study, shared.study.method(arm)
    trains = trained_roles(arm, method)
    selection = None
    if trains:
        needs = {"problems": shared.problems, "chains": shared.chains, "verdicts": shared.verdicts}
        chosen = {"select": plain(arm.select), "check": arm.select.check or study.checks[0]}
        chosen |= {"seed": study.seed, "format": plain(method.format)}
        chosen |= {"fraction": arm.fraction}
        choosy = isinstance(method, Choosy)
        chosen |= {"method": arm.method, "options": plain(method)} if choosy else {}
        selection = add("selection", arm.name, needs, chosen, [module_of("method", arm.method)] if choosy else [])
    students: dict[int, dict[str, str]] = {}
    answers: dict[int, dict[str, str]] = {}
    gold: dict[int, dict[str, str]] = {}
    for seed in range(study.seed, study.seed + study.seeds) if trains else (study.seed,):
        suffix = f", seed {seed}" if study.seeds > 1 and trains else ""
        made = _Students(shared, arm, method, selection, seed, suffix, add)
        own = {role: made.student(role) for role in _in_order(method, trains)}
        if trains:
            students[seed] = own
        cast = models_of(arm, method)
        answers[seed] = {
            split: _answers(shared, arm, method, own, seed, f"{arm.name}{suffix}, {split}", split, cast, selection, add)
            for split in study.evaluation.splits
        }
        if study.evaluation.attribution and isinstance(method, Parted):
            split = study.evaluation.splits[0]
            gold[seed] = {}
            for part in (part for part in method.swaps if cast[part] != "gold"):
                label = f"{arm.name}{suffix}, {split}, gold {part}"
                swapped = {**cast, part: "gold"}
                if set(swapped.values()) != {"gold"}:
                    gold[seed][part] = _answers(shared, arm, method, own, seed, label, split, swapped, selection, add, swapped=True)
    return ArmPlan(arm, selection, students, answers, gold)


@dataclass
class _Students:
    """The students of one arm and seed."""

    shared: Shared
    arm: Arm
    method: Any
    selection: str | None
    seed: int
    suffix: str
    add: Add

    def student(self, role: str, fold: int | None = None) -> str:
        """The student of ``role``, trained on all problems or on those outside ``fold``; those it needs come before."""
        shared, arm, method, study = self.shared, self.arm, self.method, self.shared.study
        assert self.selection is not None, "only arms that train have students"
        needs = {"problems": shared.problems, "chains": shared.chains, "verdicts": shared.verdicts, "selection": self.selection}
        for need in method.needs.get(role, ()):
            needs |= {f"fold:{need}:{i}": self.student(need, i) for i in range(method.folds)}
        student = started(study, arm, student_of_role(study, arm, role), where_student(arm, role))
        start = student.checkpoint
        label = f"{arm.name}{self.suffix}" + (f" ({role})" if len(method.roles) > 1 else "")
        training = training_of_role(study, arm, role)
        arguments = _asked(study, arm, method) | {
            "role": role,
            "fold": None if fold is None else [fold, method.folds],
            "student": plain(student),
            "training": plain(training),
            "files": _digests(deciding_files(Path(start))) if start else {},
            "seed": self.seed,
            "dev": study.evaluation.dev,
            "dev_problems": study.evaluation.dev_problems,
            "check": study.checks[0],
            "selected_by": arm.select.check or study.checks[0],
            "vocabulary": _formats(study),
            "words": _words(study),
        }
        if fold is not None:
            label += f", without fold {fold + 1} of {method.folds}"
        code = [module_of("method", arm.method), module_of("objective", training.objective)]
        return self.add("student", label, needs, arguments, code, True)


def _answers(  # noqa: PLR0917
    shared: Shared,
    arm: Arm,
    method: Any,
    students: Mapping[str, str],
    seed: int,
    label: str,
    split: str,
    cast: Mapping[str, str],
    selection: str | None,
    add: Add,
    *,
    swapped: bool = False,
) -> str:
    """The answers of the arm to ``split``, its parts played as ``cast`` says. ``swapped``: gold is the report's question, not the
    arm's."""
    study, parts = shared.study, parts_of(method)
    arguments: dict[str, Any] = _asked(study, arm, method) | {
        "split": split,
        "votes": arm.decode.votes,
        "seed": seed,
        "decoding": plain(arm.decode.decoding),
        "exemplars": shared.exemplars,
        "swapped": swapped,
        "cast": {part: {"model": model, "role": parts[part]} for part, model in cast.items()},
    }
    needs: dict[str, str] = {"problems": shared.problems}
    code, pays, local = [module_of("method", arm.method)], False, False
    for part, model in cast.items():
        if model == "trained":
            needs |= {f"student:{parts[part]}": students[parts[part]], "chains": shared.chains}
            needs |= {"selection": selection} if selection else {}
            local = True
        elif model == "untrained":
            start = started(study, arm, student_of_role(study, arm, parts[part]), where_student(arm, parts[part])).checkpoint
            assert start is not None, "the study was validated"
            arguments["cast"][part] |= {"checkpoint": start, "files": _digests(deciding_files(Path(start)))}
            local = True
        elif model == "teacher":
            own = study.teacher.prompts and study.path_of(study.teacher.prompts)
            arguments |= {**shared.asking, "prompts": load_prompts(arm.method, own or None)}
            code, pays = [*shared.teacher_code, *code], True
            local = local or study.teacher.engine == "transformers"
        else:
            code = ["understudy.engines.gold", *code]
    if "prompts" not in arguments and not method.roles:
        arguments |= {"prompts": load_prompts(arm.method)}
    return add("answers", label, needs, arguments, code, local, pays)


def _asked(study: Study, arm: Arm, method: Any) -> dict[str, Any]:
    limits = {name: plain(study.evaluation)[name] for name in ("batch_size", "precision")}
    return {"method": arm.method, "options": plain(method), "study_seed": study.seed} | limits


def _formats(study: Study) -> list[Any]:
    """The raw formats of the arms' methods: what students from scratch have words for, the same ones in every arm."""
    found: dict[str, Any] = {}
    for arm in study.arms:
        method = study.method(arm)
        if trained_roles(arm, method) and method.format.style == "raw":
            found[digest(plain(method.format))] = plain(method.format)
    return [found[key] for key in sorted(found)]


def _words(study: Study) -> list[str]:
    """The words that the arms' methods have of their own, likewise."""
    methods = [study.method(arm) for arm in study.arms]
    return sorted({text for method in methods if isinstance(method, Wordy) for text in method.words})


def _in_order(method: Any, roles: tuple[str, ...]) -> list[str]:
    """``roles`` of ``method``, each after the roles it needs."""
    ordered: list[str] = []
    while len(ordered) < len(roles):
        ready = [r for r in roles if r not in ordered and set(method.needs.get(r, ())) & set(roles) <= set(ordered)]
        assert ready, f"{method.name}: roles {method.roles} need each other in a circle: {method.needs}"
        ordered.append(ready[0])
    return ordered


def _digests(paths: list[Path]) -> dict[str, str]:
    for path in paths:
        if not path.is_file():
            raise StudyError(f"checkpoint: there is no file {path}")
    return {str(path): file_digest(path) for path in paths}
