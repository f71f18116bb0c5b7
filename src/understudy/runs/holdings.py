"""List what a run directory holds and what of it the run's study still needs, and remove the rest."""

from dataclasses import dataclass
from pathlib import Path

from understudy.pipeline.cache import find_manifest, is_done, remove
from understudy.pipeline.plan import PLAN, read_plan
from understudy.pipeline.run import hold_run


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


def find_runs(where: Path) -> list[Path]:
    """Find the run directories directly under ``where``."""
    return sorted(path.parent for path in where.glob(f"*/{PLAN}"))


def holdings(run: Path) -> list[Holding]:
    """List every stage in ``run``, oldest first."""
    needed, held = set(read_plan(run).stages), []
    for path in filter(Path.is_dir, (run / "stages").iterdir()):
        kind, _, key = path.name.partition("-")
        complete, manifest = is_done(path), find_manifest(path)
        label, made, seconds = "(made by an earlier Understudy)" if complete else "", "", 0.0
        if manifest is not None:
            label, made, seconds = manifest.label, manifest.made, manifest.seconds
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        held.append(Holding(kind, label, key, made, seconds, size, path.name in needed, complete))
    return sorted(held, key=lambda one: (one.made or "~", one.kind, one.label))


def collect_garbage(run: Path, *, dry_run: bool = False) -> list[Holding]:
    """Remove the stages that the last plan of ``run`` does not need, and return them. Unfinished stages that it needs are kept."""
    read_plan(run)
    with hold_run(run):
        garbage = [held for held in holdings(run) if not held.needed]
        if not dry_run:
            for held in garbage:
                remove(run / "stages" / f"{held.kind}-{held.key}")
    return garbage
