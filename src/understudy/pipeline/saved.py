"""The plan at rest: what `ls`, `results`, `report` and `gc` know of a run without its study file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError, StudyError
from understudy.core.options import plain
from understudy.pipeline.cache import OLD_RUN, VERSION, write_json
from understudy.pipeline.plan import Plan
from understudy.pipeline.stage import Kind
from understudy.studies.schema import build
from understudy.studies.study import Study

PLAN = "plan.json"


@dataclass(frozen=True)
class SavedStage:
    """One stage of the plan."""

    kind: Kind
    label: str
    key: str


@dataclass(frozen=True)
class SavedArm:
    """The keys of an arm's stages, as `ArmPlan` has the stages; seeds are text, as JSON wants names."""

    name: str
    selection: str | None
    students: Mapping[str, Mapping[str, str]]
    answers: Mapping[str, Mapping[str, str]]
    gold: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class SavedPlan:
    """The plan that ran last in a directory. ``plugins``: file -> digest of its text."""

    study: Study
    plugins: Mapping[str, str]
    problems: str
    chains: str
    verdicts: str
    stages: tuple[SavedStage, ...]
    arms: tuple[SavedArm, ...]
    version: int = VERSION


def save_plan(plan: Plan, directory: Path) -> None:
    """Write ``plan`` into the run ``directory``."""
    write_json(directory / PLAN, plain(_saved(plan)))


def read_plan(run: Path) -> SavedPlan:
    """The plan that ran last in ``run``. Raises DataError where ``run`` is no run directory, or one of an earlier Understudy."""
    path = run / PLAN
    if not path.is_file():
        raise DataError(f"{run}: no run is here ({PLAN} is missing); give a directory that `understudy run` wrote")
    body = json.loads(path.read_text(encoding="utf-8"))
    if body.get("version") != VERSION:
        raise DataError(f"{path}: {OLD_RUN}")
    try:
        return build(SavedPlan, body, "")
    except StudyError as error:
        raise DataError(f"{path}: {error}; run the study again") from None


def _saved(plan: Plan) -> SavedPlan:
    arms = [
        SavedArm(
            name=arm.arm.name,
            selection=arm.selection.key if arm.selection else None,
            students=_keys(arm.students),
            answers=_keys(arm.answers),
            gold=_keys(arm.gold),
        )
        for arm in plan.arms
    ]
    return SavedPlan(
        study=dataclasses.replace(plan.study, text=""),  # study.toml beside it holds that
        plugins=plan.plugins,
        problems=plan.problems.key,
        chains=plan.chains.key,
        verdicts=plan.verdicts.key,
        stages=tuple(SavedStage(stage.kind, stage.label, key) for key, stage in plan.stages.items()),
        arms=tuple(arms),
    )


def _keys(stages: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {str(seed): {name: stage.key for name, stage in named.items()} for seed, named in stages.items()}
