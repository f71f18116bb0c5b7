"""What the published data sets share: finding their files, reading rows with clear errors, holding a dev split out of train.

found = find(root, {"train": ["train.jsonl"], "test": ["test.jsonl"]}, hub("main", train="train", test="test"))
problems = read(found, make, name="gsm8k")          # make: Row -> Problem
problems = hold_out(problems, dev=500, seed=seed)   # of train, never of test
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.core.answers import normalise
from understudy.core.errors import DataError, nearest
from understudy.core.values import AnswerKind, Problem
from understudy.corpus.tables import read_objects
from understudy.tasks.choices import LETTERS, read_options
from understudy.tasks.splits import check_ids, split

Layout = Mapping[str, Sequence[str]]
"""split -> patterns of its files under the root; the first that any file matches counts."""
ALL = "all"
"""The split of a set that is published without splits."""


def hub(config: str = "*", **splits: str) -> Layout:
    """The layout of a copy of a data set of the Hugging Face hub: Parquet files, under ``config`` or not, or what `datasets` saves
    to disk. ``splits``: our split -> the hub's."""
    ends = ("-*.parquet", "/*.parquet", "/*.arrow")
    return {
        ours: [f"{place}{name}{end}" for place in (f"{config}/", "data/", "") for end in ends] + [f"{name}.parquet"]
        for ours, name in splits.items()
    }


def find(root: str, *layouts: Layout) -> dict[str, list[Path]]:
    """split -> its files, by the first of ``layouts`` of which every split is there.

    Raises DataError naming the directory and the files it looked for.
    """
    directory, missing = Path(root), []
    if not directory.is_dir():
        raise DataError(f"task.root: there is no directory {directory}")
    for layout in layouts:
        found = {name: _first(directory, patterns) for name, patterns in layout.items()}
        if all(found.values()):
            return found
        missing.append(" and ".join(patterns[0] for name, patterns in layout.items() if not found[name]))
    raise DataError(f"{directory}: the data set is not there; looked for {', or '.join(missing)}; give its directory as task.root")


def _first(directory: Path, patterns: Sequence[str]) -> list[Path]:
    return next((paths for pattern in patterns if (paths := sorted(directory.glob(pattern)))), [])


def all_files(found: Mapping[str, Sequence[Path]]) -> list[Path]:
    return [path for paths in found.values() for path in paths]


@dataclass(frozen=True)
class Row:
    """One row of a data set and where it stands. A field may have several names: the publisher's and the hub's."""

    values: Mapping[str, Any]
    where: str

    def get(self, *names: str) -> Any:
        """The value of the first of ``names`` that is there and not null, else None."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    def text(self, *names: str) -> str:
        """The text of the field. Raises DataError where it is no text or empty."""
        value = self.get(*names)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(next((name for name in names if name in self.values), names[0]), "must be a text that is not empty")
        return value.strip()

    def inner(self, name: str) -> Row:
        """The object in the field ``name`` as a row; this row itself where the hub's layout has its fields side by side."""
        value = self.values.get(name)
        return Row(value, self.where) if isinstance(value, Mapping) else self

    def index(self, name: str, size: int) -> int:
        """The number, from 0, of one of ``size`` options. Raises DataError where it is none."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
            raise self.wrong(name, f"must be a number from 0 to {size - 1}")
        return value

    def gold(self, value: Any, name: str, kind: AnswerKind, choices: Sequence[str] = ()) -> str:
        """``value`` of the field ``name`` as a canonical answer. Raises DataError where it is none of this kind."""
        found = normalise(str(value), kind, choices)
        if found is None:
            raise self.wrong(name, f"must hold an answer of kind {kind}")
        return found

    def options(self, choices: Any, key: Any) -> tuple[tuple[str, ...], str]:
        """The option texts in order and the letter of the one whose label is ``key``.

        Labels may be letters or numbers (ARC has both); the answer is the letter of the option's place. Raises DataError.
        """
        found = read_options(choices, self.where, "choices")
        if not found.labels:
            raise self.wrong("choices", "must be options with label and text")
        if key not in found.labels:
            raise DataError(f"{self.where}: field 'answerKey' = {key!r} is none of the labels {', '.join(found.labels)}")
        return tuple(text.strip() for text in found.texts), letter(found.labels.index(key))

    def wrong(self, name: str, must: str) -> DataError:
        if name not in self.values:
            return DataError(f"{self.where}: there is no field {name!r}{nearest(name, list(self.values))}; it {must}")
        return DataError(f"{self.where}: field {name!r} {must}, not {self.values[name]!r:.80}")


def letter(index: int) -> str:
    """The canonical answer that names the option ``index``, counted from 0."""
    return LETTERS[index]


def rows(path: Path) -> Iterator[Row]:
    """The rows of a file by the end of its name; a ``.json`` file may also have one object a line, as AQuA-RAT's have."""
    if path.suffix == ".json" and _one_a_line(path):
        yield from _json_lines(path)
    else:
        yield from (Row(values, where) for where, values in read_objects(path))


def _one_a_line(path: Path) -> bool:
    with path.open("rb") as lines:
        first, second = lines.readline().strip(), lines.readline().strip()
    return first.startswith(b"{") and second.startswith(b"{")


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path}, line {number}"
            try:
                yield Row(json.loads(line), where)
            except ValueError as error:
                raise DataError(f"{where}: not JSON ({error}); the file must have one JSON object a line") from None


def read(found: Mapping[str, Sequence[Path]], make: Callable[[Row], Problem], *, name: str) -> list[Problem]:
    """Every row of every split as a problem; one without an id is called by ``name``, split and number. Raises DataError."""
    return number(((part, make(row)) for part, paths in found.items() for path in paths for row in rows(path)), name=name)


def number(made: Iterator[tuple[str, Problem]], *, name: str) -> list[Problem]:
    """The problems with their splits, and ids where they have none. Raises DataError where two share an id."""
    problems: list[Problem] = []
    counts: dict[str, int] = {}
    for part, problem in made:
        at = counts[part] = counts.get(part, -1) + 1
        problems.append(replace(problem, split=part, id=problem.id or f"{name}-{part}-{at}"))
    check_ids(problems)
    return problems


def hold_out(problems: Sequence[Problem], *, seed: int, **sizes: int) -> list[Problem]:
    """``problems`` with so many of `ALL`, or else of train, in further splits, in seeded order; those left are train.

    Raises DataError where none would be left to train on.
    """
    whole = ALL if any(p.split == ALL for p in problems) else "train"
    if whole == "train":
        sizes = {part: n for part, n in sizes.items() if not any(p.split == part for p in problems)}
    taken = [p for p in problems if p.split == whole]
    if sum(sizes.values()) >= len(taken):
        raise DataError(f"task: {', '.join(f'{part} = {n}' for part, n in sizes.items())}: there are only {len(taken)} problems")
    moved = {p.id: p.split for p in split(taken, sizes, seed=seed)}
    return [replace(p, split=moved.get(p.id, "train")) if p.split == whole else p for p in problems]


def at_least_one(**sizes: int) -> None:
    """Raise ValueError where a size is below 1: what the tasks' options check."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} = {size}: at least 1")
