"""The plan at rest: what `ls`, `results`, `report` and `gc` know of a run without its study file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.core.errors import DataError, StudyError
from understudy.core.options import plain
from understudy.pipeline.arms import Place
from understudy.pipeline.cache import OLD_RUN, VERSION, write_json
from understudy.pipeline.plan import Plan
from understudy.studies.schema import build
from understudy.studies.study import Study

PLAN = "plan.json"


@dataclass(frozen=True)
class SavedPlan:
    """The plan that ran last in a directory: the names of its ``stages``' directories. ``plugins``: file -> digest of its text."""

    study: Study
    plugins: Mapping[str, str]
    problems: str
    chains: str
    verdicts: str
    stages: tuple[str, ...]
    places: tuple[Place, ...]
    version: int = VERSION


def save_plan(plan: Plan, directory: Path) -> None:
    """Write ``plan`` into the run ``directory``."""
    saved = SavedPlan(
        study=dataclasses.replace(plan.study, text=""),  # study.toml beside it holds that
        plugins=plan.plugins,
        problems=plan.problems.folder,
        chains=plan.chains.folder,
        verdicts=plan.verdicts.folder,
        stages=tuple(stage.folder for stage in plan.stages.values()),
        places=tuple(place for arm in plan.arms for place, _ in arm.places()),
    )
    write_json(directory / PLAN, plain(saved))


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
