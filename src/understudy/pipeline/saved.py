"""The plan at rest: what `ls`, `results`, `report` and `gc` know of a run without its study file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from understudy.core.errors import DataError, StudyError
from understudy.core.options import plain
from understudy.pipeline.arms import ArmPlan
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
class Place:
    """What the stage ``key`` is to an arm: its ``selection``; its ``student`` of the role ``name``; its ``answers`` to the split
    ``name``; those with ``gold`` in the place of the part ``name``."""

    arm: str
    what: Literal["selection", "student", "answers", "gold"]
    seed: int
    name: str
    key: str


@dataclass(frozen=True)
class SavedPlan:
    """The plan that ran last in a directory. ``plugins``: file -> digest of its text."""

    study: Study
    plugins: Mapping[str, str]
    problems: str
    chains: str
    verdicts: str
    stages: tuple[SavedStage, ...]
    places: tuple[Place, ...]
    version: int = VERSION


def save_plan(plan: Plan, directory: Path) -> None:
    """Write ``plan`` into the run ``directory``."""
    write_json(directory / PLAN, plain(_saved(plan)))


def read_plan(run: Path) -> SavedPlan:
    """The plan that ran last in ``run``. Raises DataError where ``run`` is no run directory, or one of an earlier Understudy."""
    path = run / PLAN
    if not path.is_file():
        raise DataError(f"{run}: holds no run ({PLAN} is missing); give a directory that `understudy run` wrote")
    body = json.loads(path.read_text(encoding="utf-8"))
    if body.get("version") != VERSION:
        raise DataError(f"{path}: {OLD_RUN}")
    try:
        return build(SavedPlan, body, "")
    except StudyError as error:
        raise DataError(f"{path}: {error}; run the study again") from None


def _saved(plan: Plan) -> SavedPlan:
    return SavedPlan(
        study=dataclasses.replace(plan.study, text=""),  # study.toml beside it holds that
        plugins=plan.plugins,
        problems=plan.problems.key,
        chains=plan.chains.key,
        verdicts=plan.verdicts.key,
        stages=tuple(SavedStage(stage.kind, stage.label, key) for key, stage in plan.stages.items()),
        places=tuple(place for arm in plan.arms for place in _places(arm)),
    )


def _places(plan: ArmPlan) -> Iterator[Place]:
    arm = plan.arm.name
    if plan.selection is not None:
        yield Place(arm, "selection", 0, "", plan.selection.key)
    for seed, students in plan.students.items():
        yield from (Place(arm, "student", seed, role, stage.key) for role, stage in students.items())
    for seed, answers in plan.answers.items():
        yield from (Place(arm, "answers", seed, split, stage.key) for split, stage in answers.items())
    for seed, swapped in plan.gold.items():
        yield from (Place(arm, "gold", seed, part, stage.key) for part, stage in swapped.items())
