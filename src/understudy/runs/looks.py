"""How often the results of a run were shown, and what its study had named by then: what was chosen afterwards is said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.core.options import plain
from understudy.corpus.directories import read_json
from understudy.pipeline.cache import write_json
from understudy.pipeline.plan import read_plan
from understudy.reports.words import join_names
from understudy.studies.schema import build
from understudy.studies.study import Study

LOOKS = "looks.json"


@dataclass(frozen=True)
class Look:
    """What stood in the study when its results were shown: the number of training ``seeds``, and the ``pairs`` that it names."""

    seeds: int
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Looks:
    """The looks at one run, the first one first; one that showed the same seeds and pairs again is none."""

    looks: tuple[Look, ...] = ()


def read_looks(run: Path) -> Sequence[Look]:
    """Those at the results in the directory ``run``."""
    path = run / LOOKS
    return build(Looks, read_json(path), str(path)).looks if path.is_file() else ()


def record_look(run: Path) -> None:
    """Note that the results in ``run`` are shown now."""
    study = read_plan(run).study
    looks, now = read_looks(run), Look(study.seeds, study.evaluation.compare)
    if not looks or looks[-1] != now:
        write_json(run / LOOKS, plain(Looks((*looks, now))))


def list_late_pairs(looks: Sequence[Look], study: Study) -> set[tuple[str, str]]:
    """The pairs that ``study`` names and that the first look had not named."""
    return set(study.evaluation.compare) - set(looks[0].pairs) if looks else set()


def describe_looks(looks: Sequence[Look], study: Study) -> Iterator[str]:
    """What was changed after results had been seen."""
    if not looks:
        return
    first, times = looks[0], f"{len(looks)} time{'s' if len(looks) > 1 else ''}"
    if late := list_late_pairs(looks, study):
        pairs = "; ".join(join_names(pair, " and ") for pair in study.evaluation.compare if pair in late)
        yield f"Named after the results had been looked at ({times}), so their p says less than it seems: {pairs}."
    if gone := set(first.pairs) - set(study.evaluation.compare):
        pairs = "; ".join(join_names(pair, " and ") for pair in first.pairs if pair in gone)
        yield f"Named at first and not compared any more: {pairs}."
    if study.seeds != first.seeds:
        yield f"The number of training seeds was changed after the results had been looked at ({times}): {first.seeds} at first."
