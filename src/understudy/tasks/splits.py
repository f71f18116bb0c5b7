"""Make splits: drawn by seed, with whole groups or in proportion, or read from a list of ids; and nested fractions of train."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from understudy.core.errors import DataError, counted, suggest
from understudy.core.values import Problem, digest, grouped
from understudy.corpus.directories import read_json
from understudy.tasks.overlap import near_key

NEAR = "near-duplicates"
"""The group of questions that differ only by numbers, case, blanks and punctuation."""

Key = Callable[[Problem], str | None]


def split(
    problems: Sequence[Problem], sizes: Mapping[str, float], *, seed: int, stratify: Key | None = None, group: Key | None = None
) -> list[Problem]:
    """Return ``problems`` in seeded random order with their splits. The result depends on the seed and the ids, not on their
    order.

    ``sizes`` are numbers of problems of each split, or shares of all problems (between 0 and 1; rounded by largest remainder, so
    that shares that add up to 1 use all problems). The other problems are train, or dropped if ``sizes`` name train. With
    ``stratify`` each of its values is in each split in proportion (by largest remainder, split by split). With ``group`` all
    problems of one value are in one split, and sizes are met as nearly as whole groups allow. Raises DataError if there are too
    few problems.
    """
    counts = count_splits(sizes, len(problems))
    order = sorted(problems, key=lambda p: p.id)
    random.Random(f"split\\x1f{seed}").shuffle(order)
    # Without strata, all problems are in one stratum.
    drawn = _divide_groups(order, counts, group, seed) if group else _divide_strata(order, counts, stratify or (lambda _: None))
    return [replace(problem, split=name) for name in counts for problem in drawn[name]]


def count_splits(sizes: Mapping[str, float], n: int) -> dict[str, int]:
    """Return the number of problems of each split, of ``n`` in all; see `split`. Raises DataError if they exceed ``n``."""
    counts = {name: size for name, size in sizes.items() if isinstance(size, int)}
    shares = {name: size * n for name, size in sizes.items() if not isinstance(size, int)}
    counts |= _round(shares, round(sum(shares.values())))
    if sum(counts.values()) > n:
        raise DataError(f"sizes = {dict(sizes)} asks for {sum(counts.values())} problems, but there are {n}")
    counts = {name: counts[name] for name in sizes}
    return counts if "train" in counts else {"train": n - sum(counts.values()), **counts}


def _round(quotas: Mapping[str, float], total: int) -> dict[str, int]:
    """Round ``quotas`` to integers that add up to ``total``: round all down, then add one where the remainder is largest."""
    floors = {name: math.floor(quota + 1e-9) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (floors[name] - quotas[name], name))
    for name in by_remainder[: total - sum(floors.values())]:
        floors[name] += 1
    return floors


def _divide_strata(order: Sequence[Problem], counts: Mapping[str, int], key: Key) -> dict[str, list[Problem]]:
    remaining = grouped((key(problem) or "", problem) for problem in order)
    drawn: dict[str, list[Problem]] = {name: [] for name in counts}
    for name, n in counts.items():
        total = sum(map(len, remaining.values()))
        for value, count in _round({v: n * len(members) / max(1, total) for v, members in remaining.items()}, n).items():
            drawn[name] += remaining[value][:count]
            remaining[value] = remaining[value][count:]
    return drawn


def _divide_groups(order: Sequence[Problem], counts: Mapping[str, int], key: Key, seed: int) -> dict[str, list[Problem]]:
    """Assign whole groups, the largest first, each to a split that is drawn in proportion to its remaining room.

    So a large group is in train as often as train's share says, and single problems fill the rest exactly.
    """
    groups = grouped((f"\x1f{p.id}" if (value := key(p)) is None else value, p) for p in order)
    room = {**counts, "": len(order) - sum(counts.values())}  # "" is dropped
    drawn: dict[str, list[Problem]] = {name: [] for name in room}
    rng = random.Random(f"groups\x1f{seed}")
    for members in sorted(groups.values(), key=len, reverse=True):
        fit = {name: n for name, n in room.items() if n >= len(members)}
        name = rng.choices(list(fit), list(fit.values()))[0] if fit else max(room, key=lambda name: room[name])
        drawn[name] += members
        room[name] -= len(members)
    return drawn


def make_key(problems: Sequence[Problem], name: str, option: str) -> Key:
    """Return the key for the ``option`` ``stratify`` or ``group``: the field ``name``, or the group of ``near-duplicates``.

    The fields are ``answer``, ``question``, ``context``, and those in ``meta``. The key is None for a problem without the field.
    Raises DataError if no problem has the field.
    """
    if name == NEAR and option == "group":
        return lambda problem: " ".join(near_key(problem))
    if name in ("answer", "question", "context"):
        return lambda problem: getattr(problem, name) or None
    in_meta = list(dict.fromkeys(field for problem in problems for field in problem.meta))
    if all(problem.meta.get(name) is None for problem in problems):
        fields = ", ".join([*in_meta, "answer", "question", "context"])
        raise DataError(f"{option} = {name!r}: no problem has this field{suggest(name, in_meta)} (fields: {fields}; or {NEAR})")
    return lambda problem: None if (value := problem.meta.get(name)) is None else json.dumps(value, sort_keys=True)


def require_solved(problems: Sequence[Problem], file: str) -> None:
    """Raise DataError if one of the ``problems`` of ``file`` cannot be an exemplar."""
    if incomplete := next((p.id for p in problems if p.answer is None or not p.meta.get("rationale")), None):
        raise DataError(f"{file}: {incomplete} has no answer or no rationale; an exemplar needs question, answer, rationale")


def name_exemplars(split: str) -> str:
    """Return the split of the solved questions that prompts show before those of ``split``."""
    return f"{split} exemplars"


def take_fraction(problems: Sequence[Problem], fraction: float, *, seed: int) -> list[Problem]:
    """Return ``problems`` with only ``fraction`` of train, but at least one problem of it. A larger fraction contains every
    smaller one."""
    train = sorted((p.id for p in problems if p.split == "train"), key=lambda name: digest(["fraction", seed, name], size=32))
    kept_ids = set(train[: max(1, round(fraction * len(train)))])
    return [problem for problem in problems if problem.split != "train" or problem.id in kept_ids]


def split_by_manifest(problems: Sequence[Problem], path: Path) -> list[Problem]:
    """Return the problems that ``path`` names, with their splits and in its order. The file is a JSON object, split -> list of
    ids.

    Raises DataError if the file is not such an object, names an id twice, or names an id that no problem has.
    """
    manifest = read_json(path)
    if not all(isinstance(ids, list) for ids in manifest.values()):
        raise DataError(f'{path}: must be a JSON object, split -> list of ids: {{"train": ["q1", ...], "test": [...]}}')
    by_id = {problem.id: problem for problem in problems}
    entries = [(part, str(name)) for part, ids in manifest.items() for name in ids]
    if missing := [name for _, name in entries if name not in by_id]:
        sample = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise DataError(f"{path}: {len(missing)} of its ids are unknown: {sample}{suggest(missing[0], list(by_id)[:1000])}")
    if repeated := [name for name, n in Counter(name for _, name in entries).items() if n > 1]:
        raise DataError(f"{path}: {counted(len(repeated), 'id')} given more than once, first {repeated[0]!r}; name each id once")
    return [replace(by_id[name], split=part) for part, name in entries]


def check_ids(problems: Sequence[Problem]) -> None:
    """Raise DataError if two problems have the same id."""
    if repeated := [name for name, n in Counter(p.id for p in problems).items() if n > 1]:
        advice = 'give each problem its own, e.g. task.fields.id = "{id} {question}"'
        raise DataError(f"{counted(len(repeated), 'id')} given more than once, first {repeated[0]!r}; {advice}")
