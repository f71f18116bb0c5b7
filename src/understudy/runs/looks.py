"""How often the results of a run were shown, and what its study had named by then: what was chosen afterwards is said."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """What stood in the study when its results were shown, so many ``times`` one after the other: the number of training ``seeds``,
    the ``pairs`` that it names, none where every pair is tested, its ``arms``, and its ``seed`` (neither in an old file)."""

    seeds: int
    pairs: tuple[tuple[str, str], ...]
    times: int = 1
    arms: tuple[str, ...] = ()
    seed: int | None = None


def read_looks(run: Path) -> list[Look]:
    """The looks at the results in the directory ``run``, the first one first."""
    path = run / LOOKS
    return [build(Look, row, str(path)) for row in read_json(path)["looks"]] if path.is_file() else []


def record_look(run: Path) -> None:
    """Note that a verb shows the results in ``run`` now: nothing, where the directory may not be written to."""
    if not os.access(run, os.W_OK):
        return
    study = read_plan(run).study
    names = tuple(arm.name for arm in study.arms)
    looks, now = read_looks(run), Look(study.seeds, study.evaluation.compare, arms=names, seed=study.seed)
    if looks and replace(looks[-1], times=1) == now:
        looks, now = looks[:-1], replace(now, times=looks[-1].times + 1)
    write_json(run / LOOKS, {"looks": [plain(look) for look in (*looks, now)]})


def count_looks_before(looks: Sequence[Look], study: Study) -> dict[frozenset[str], int]:
    """The pairs that ``study`` names and that were not named at first -> how often results had been shown before they were."""
    named = [set(map(frozenset, look.pairs)) for look in looks]
    pairs = map(frozenset, study.evaluation.compare)
    before = {pair: next((i for i, earlier in enumerate(named) if pair in earlier), len(looks)) for pair in pairs}
    return {pair: sum(look.times for look in looks[:n]) for pair, n in before.items() if n}


def describe_looks(looks: Sequence[Look], study: Study) -> Iterator[str]:
    """What was changed after results had been seen."""
    if not looks:
        return
    first, now = looks[0], study.evaluation.compare
    if late := count_looks_before(looks, study):
        pairs = "; ".join(join_names(pair, " and ") for pair in now if frozenset(pair) in late)
        yield f"Named after the results had been shown, so their p says less than it seems: {pairs}."
    if now and (gone := [pair for pair in first.pairs if frozenset(pair) not in map(frozenset, now)]):
        yield f"Named at first and not compared any more: {'; '.join(join_names(pair, ' and ') for pair in gone)}."
    shown = f"after the results had been shown {counted(sum(look.times for look in looks), 'time')}"
    names = [arm.name for arm in study.arms]
    if first.arms and (out := [name for name in first.arms if name not in names]):
        yield f"Taken out {shown}, so that p is corrected for fewer pairs: {join_names(out)}."
    if first.arms and (added := [name for name in names if name not in first.arms]):
        yield f"Added {shown}: {join_names(added)}."
    if study.seeds != first.seeds:
        yield f"The number of training seeds was changed {shown}: {first.seeds} at first."
    if first.seed not in (None, study.seed):
        yield f"The study's seed was changed {shown}: {first.seed} at first."
