"""List what a run directory holds and what of it the run's study still needs, and remove the rest."""

import re
from dataclasses import dataclass
from pathlib import Path

from understudy.pipeline.cache import find_manifest, is_done, remove
from understudy.pipeline.plan import read_plan
from understudy.pipeline.run import hold_run
from understudy.pipeline.stage import KINDS


@dataclass(frozen=True)
class Holding:
    """One stored stage. ``needed``: whether the plan that ran last in this directory uses it."""

    kind: str
    label: str
    key: str
    made: str
    seconds: float
    bytes: int
    needed: bool
    complete: bool


def list_holdings(run: Path) -> list[Holding]:
    """List every stage in ``run``, oldest first."""
    needed, stored = set(read_plan(run).stages), []
    for path in (run / "stages").iterdir():
        kind, _, key = path.name.partition("-")
        if kind not in KINDS or not re.fullmatch("[0-9a-f]{12}", key) or not path.is_dir():
            continue
        complete, manifest = is_done(path), find_manifest(path)
        label, made, seconds = "(made by an earlier Understudy)" if complete else "", "", 0.0
        if manifest is not None:
            label, made, seconds = manifest.label, manifest.made, manifest.seconds
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        stored.append(Holding(kind, label, key, made, seconds, size, path.name in needed, complete))
    return sorted(stored, key=lambda holding: (holding.made or "~", holding.kind, holding.label))


def collect_garbage(run: Path, *, dry_run: bool = False) -> list[Holding]:
    """Remove the stages that the last plan of ``run`` does not need, and return them. Unfinished stages that it needs are kept."""
    read_plan(run)
    with hold_run(run):
        garbage = [holding for holding in list_holdings(run) if not holding.needed]
        if not dry_run:
            for holding in garbage:
                remove(run / "stages" / f"{holding.kind}-{holding.key}")
    return garbage
