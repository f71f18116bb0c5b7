"""Record how often the results of a run were shown and what its study said then, so that reports can say what was chosen later."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress, count
from pathlib import Path

from understudy.core.errors import counted
from understudy.core.options import plain
from understudy.corpus.directories import read_json
from understudy.corpus.store import write_json
from understudy.pipeline.plan import read_plan
from understudy.reports.words import join_names
from understudy.studies.schema import build
from understudy.studies.study import Study

LOOKS = "looks.json"


@dataclass(frozen=True)
class Look:
    """What the study said when its results were shown, ``times`` times in a row: the number of training ``seeds``, the ``pairs``
    that it names (none if every pair is tested), its ``arms``, its ``seed``, its first split, the field by which questions belong
    together, and the check that judges. Old files have nothing after ``times``."""

    seeds: int
    pairs: tuple[tuple[str, str], ...]
    times: int = 1
    arms: tuple[str, ...] = ()
    seed: int | None = None
    first_split: str | None = None
    cluster_field: str | None = None
    judging_check: str | None = None


def read_looks(run: Path) -> list[Look]:
    """Read the looks at the results in the directory ``run``, oldest first."""
    path = run / LOOKS
    return [build(Look, row, str(path)) for row in read_json(path, "looks")["looks"]] if path.is_file() else []


def _make_look(study: Study) -> Look:
    names, table = tuple(arm.name for arm in study.arms), study.evaluation
    return Look(study.seeds, table.compare, 1, names, study.seed, table.splits[0], table.cluster or table.contrast, study.checks[0])


def record_look(run: Path) -> None:
    """Record that a verb shows the results in ``run`` now. Does nothing if the directory is not writable."""
    if not os.access(run, os.W_OK):
        return
    looks, current = read_looks(run), _make_look(read_plan(run).study)
    if looks and replace(looks[-1], times=1) == current:
        looks, current = looks[:-1], replace(current, times=looks[-1].times + 1)
    write_json(run / LOOKS, {"looks": [plain(look) for look in (*looks, current)]})


def count_looks_before(looks: Sequence[Look], study: Study) -> dict[frozenset[str], int]:
    """Map each pair that ``study`` names now, but did not name at first, to how often results had been shown before it did."""
    named = [set(map(frozenset, look.pairs)) for look in looks]
    pairs = map(frozenset, study.evaluation.compare)
    positions = {pair: next((i for i, earlier in enumerate(named) if pair in earlier), len(looks)) for pair in pairs}
    return {pair: sum(look.times for look in looks[:n]) for pair, n in positions.items() if n}


def describe_looks(looks: Sequence[Look], study: Study) -> Iterator[str]:
    """Yield what was changed after results had been seen, even if it was changed back."""
    now = _make_look(study)
    named = set(map(frozenset, now.pairs))
    if late := count_looks_before(looks, study):
        pairs = "; ".join(join_names(pair, " and ") for pair in now.pairs if frozenset(pair) in late)
        yield f"Named after the results had been shown, so their p says less than it seems: {pairs}."
    if now.pairs and (lost := {frozenset(pair): pair for look in looks for pair in look.pairs if frozenset(pair) not in named}):
        yield f"Named before and no longer compared: {'; '.join(join_names(pair, ' and ') for pair in lost.values())}."
    if absent := [name for name in dict.fromkeys(name for look in looks for name in look.arms) if name not in now.arms]:
        timing = _count_until(looks, [not set(absent).isdisjoint(look.arms) for look in looks])
        yield f"Removed {timing}, so that p is corrected for fewer pairs: {join_names(absent)}."
    if looks and looks[0].arms and (added := [name for name in now.arms if name not in looks[0].arms]):
        yield f"Added {_count_until(looks, [not set(added) <= set(look.arms) for look in looks])}: {join_names(added)}."
    for name in ("seeds", "seed", "first_split", "cluster_field", "judging_check"):
        differ = [getattr(look, name) not in (None, getattr(now, name)) for look in looks]
        if any(differ):
            values = dict.fromkeys(str(getattr(look, name)) or "none" for look in compress(looks, differ))
            yield f"The study's {name.replace('_', ' ')} changed {_count_until(looks, differ)}: {' and '.join(values)} before."


def _count_until(looks: Sequence[Look], differ: Sequence[bool]) -> str:
    """Say how often results had been shown when something was changed that did ``differ`` at some of the ``looks``."""
    last = max(compress(count(1), differ))
    return f"after the results had been shown {counted(sum(look.times for look in looks[:last]), 'time')}"
