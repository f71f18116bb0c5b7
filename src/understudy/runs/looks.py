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
    """What was changed after results had been seen, also where it was changed back."""
    if not looks:
        return
    now = study.evaluation.compare
    named = set(map(frozenset, now))
    if late := count_looks_before(looks, study):
        pairs = "; ".join(join_names(pair, " and ") for pair in now if frozenset(pair) in late)
        yield f"Named after the results had been shown, so their p says less than it seems: {pairs}."
    if now and (gone := {frozenset(pair): pair for look in looks for pair in look.pairs if frozenset(pair) not in named}):
        yield f"Named before and not compared any more: {'; '.join(join_names(pair, ' and ') for pair in gone.values())}."
    shown = f"after the results had been shown {counted(sum(look.times for look in looks), 'time')}"
    names, first = [arm.name for arm in study.arms], looks[0].arms
    if out := [name for name in dict.fromkeys(name for look in looks for name in look.arms) if name not in names]:
        yield f"Taken out {shown}, so that p is corrected for fewer pairs: {join_names(out)}."
    if first and (added := [name for name in names if name not in first]):
        yield f"Added {shown}: {join_names(added)}."
    for what, value in (("number of training seeds", "seeds"), ("study's seed", "seed")):
        before = dict.fromkeys(getattr(look, value) for look in looks)
        if others := [str(earlier) for earlier in before if earlier not in (None, getattr(study, value))]:
            yield f"The {what} was changed {shown}: {' and '.join(others)} before."
