"""Share what the published data sets need: find their files, read rows with clear errors, hold a dev split out of train.

A set is a subclass of `PublishedSet` that says where its files are (`layouts`) and makes a `Problem` from a `PublishedRow`
(`problem`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from understudy.core.answers import normalise
from understudy.core.errors import DataError, suggest
from understudy.core.options import unkeyed
from understudy.core.values import AnswerKind, Problem
from understudy.corpus.tables import read_objects
from understudy.tasks.choices import LETTERS, read_options
from understudy.tasks.splits import check_ids, split

AtLeastOne = Annotated[int, Field(ge=1)]
FilePatterns = Mapping[str, Sequence[str]]
"""split -> patterns of its files under the root. The first pattern that matches any file is used."""
ALL = "all"
"""The split of a set that is published without splits."""


@dataclass(frozen=True)
class PublishedSet:
    """A published data set in a directory of the user."""

    root: str = unkeyed(".")
    """The directory that holds the set (docs/tasks.md), relative to the study file."""

    @property
    def prefix(self) -> str:
        """The beginning of the ids of problems that have none in the data."""
        return type(self).__name__.lower()

    def layouts(self) -> list[FilePatterns]:
        """Return the layouts in which the set is published. The first layout whose splits are all present is used."""
        raise NotImplementedError

    def problem(self, row: PublishedRow) -> Problem | None:
        """Make the problem of one row; None if the set leaves it out. Raises DataError naming file, line and field."""
        raise NotImplementedError

    def rows(self) -> Iterator[tuple[str, PublishedRow]]:
        """Yield (split, row) for every row."""
        return ((part, row) for part, paths in self.find_files().items() for path in paths for row in self.read_rows(path))

    def read_rows(self, path: Path) -> Iterator[PublishedRow]:
        """Read the rows of a file, in the format that the end of its name says."""
        return (PublishedRow(values, location) for location, values in read_objects(path))

    def find_files(self) -> dict[str, list[Path]]:
        """Return split -> its files, in the first layout whose splits are all present.

        Raises DataError naming the directory and the missing files.
        """
        directory, missing = Path(self.root), []
        if not directory.is_dir():
            raise DataError(f"task.root = {self.root!r}: the directory {directory} does not exist")
        for layout in self.layouts():
            found = {name: (sorted(directory.glob(pattern)) for pattern in patterns) for name, patterns in layout.items()}
            paths = {name: next(filter(None, files), []) for name, files in found.items()}
            if all(paths.values()):
                return paths
            missing.append(" and ".join(patterns[0] for name, patterns in layout.items() if not paths[name]))
        names = ", or ".join(missing)
        raise DataError(f"{directory}: the data set is incomplete (missing: {names}); set task.root to its directory")

    def files(self) -> list[Path]:
        """Return the files that the problems are read from."""
        return [path for paths in self.find_files().values() for path in paths]

    def problems(self, *, seed: int) -> list[Problem]:
        """Return every problem with its split; ``seed`` draws the held-out ones. Raises DataError naming file, line and field."""
        problems: list[Problem] = []
        counts: Counter[str] = Counter()
        for part, row in self.rows():
            if (problem := self.problem(row)) is not None:
                name = problem.id or f"{self.prefix}-{part}-{counts[part]}"
                problems.append(replace(problem, split=problem.split or part, id=name))
            counts[part] += 1
        check_ids(problems)
        sizes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name in ("dev", "test")}
        return hold_out(problems, sizes, seed=seed) if sizes else problems


def hub(config: str = "*", **splits: str) -> FilePatterns:
    """Return the layout of a copy from the Hugging Face hub: Parquet files, under ``config`` or not, or what `datasets` saves to
    disk. ``splits`` maps our split to the hub's."""
    endings = ("-*.parquet", "/*.parquet", "/*.arrow")
    return {
        part: [f"{folder}{name}{ending}" for folder in (f"{config}/", "data/", "") for ending in endings] + [f"{name}.parquet"]
        for part, name in splits.items()
    }


class PublishedRow(NamedTuple):
    """One row of a data set and its place, ``location``. A field may have several names: the publisher's and the hub's."""

    values: Mapping[str, Any]
    location: str

    def get(self, *names: str) -> Any:
        """Return the value of the first of ``names`` that is not null, else None."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    def text(self, *names: str) -> str:
        """Return the text of the field. Raises DataError if it is empty or not a text."""
        value = self.get(*names)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(next((name for name in names if name in self.values), names[0]), "must be a non-empty text")
        return value.strip()

    def letter(self, name: str, size: int) -> str:
        """Return the letter of the option with the number in the field, from 0 to below ``size``. Raises DataError otherwise."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
            raise self.wrong(name, f"must be a number from 0 to {size - 1}")
        return LETTERS[value]

    def gold(self, value: Any, name: str, kind: AnswerKind) -> str:
        """Return the ``value`` of the field ``name`` as a canonical answer. Raises DataError if it is not of this kind."""
        canonical = normalise(str(value), kind)
        if canonical is None:
            raise self.wrong(name, f"must hold an answer of kind {kind}")
        return canonical

    def labelled_question(self, **meta: str) -> Problem:
        """Make the problem of a row whose options have labels, and whose ``answerKey`` is one of them.

        Question and options are in an object ``question``, or, as on the hub, next to the key. Labels may be letters or numbers
        (ARC has both). The answer is the letter of the option's position. ``meta``: our name -> the field, if the row has it.
        Raises DataError.
        """
        question = self.values.get("question")
        row = PublishedRow({**self.values, **question} if isinstance(question, Mapping) else self.values, self.location)
        options, key = read_options(row.get("choices"), self.location, "choices"), row.get("answerKey")
        if not options.labels:
            raise row.wrong("choices", "must be options with label and text")
        if key not in options.labels:
            raise row.wrong("answerKey", f"must be one of the labels {', '.join(options.labels)}")
        return Problem(
            id=row.get("id") or "",
            question=row.text("stem", "question_stem", "question"),
            kind="option",
            answer=LETTERS[options.labels.index(key)],
            choices=tuple(text.strip() for text in options.texts),
            meta={name: value for name, field in meta.items() if (value := row.get(field))},
        )

    def wrong(self, name: str, requirement: str) -> DataError:
        if name not in self.values:
            return DataError(f"{self.location}: field {name!r} {requirement}, but is missing{suggest(name, self.values)}")
        return DataError(f"{self.location}: field {name!r} {requirement}, not {self.values[name]!r:.80}")


def hold_out(problems: Sequence[Problem], sizes: Mapping[str, int], *, seed: int) -> list[Problem]:
    """Return ``problems`` with ``sizes`` of them moved to further splits, in seeded order. They come from `ALL`, or else from
    train, and the rest is train.

    Raises DataError if no problem would be left to train on.
    """
    source = ALL if any(p.split == ALL for p in problems) else "train"
    if source == "train":
        sizes = {part: n for part, n in sizes.items() if not any(p.split == part for p in problems)}
    pool = [p for p in problems if p.split == source]
    if sum(sizes.values()) >= len(pool):
        raise DataError(f"task: {', '.join(f'{part} = {n}' for part, n in sizes.items())}: the set has only {len(pool)} problems")
    moved = {p.id: p.split for p in split(pool, sizes, seed=seed)}
    return [replace(p, split=moved.get(p.id, "train")) if p.split == source else p for p in problems]
