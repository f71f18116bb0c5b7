"""Problems from the user's files: JSON Lines, JSON, CSV, TSV, Parquet, Arrow, and data set directories."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from understudy.core.errors import DataError, RowError
from understudy.core.options import unkeyed
from understudy.core.values import AnswerKind, Problem
from understudy.corpus.directories import DATA, INFO, find_splits, list_files, match_splits
from understudy.tasks.rows import Layout, make_problems, read_problems, read_question_rows
from understudy.tasks.splits import check_ids, make_key, name_exemplars, require_solved, split, split_by_manifest, take_fraction


@dataclass(frozen=True)
class OtherFile:
    """A further split that no student is trained on: a contrast set, or another task."""

    file: str
    """A file, or ``DIR/SPLIT``, as for ``test``."""
    kind: AnswerKind | None = None
    """The kind of its answers, if it differs from the task's."""
    fields: Mapping[str, str | tuple[str, ...]] | None = None
    """Its fields, if their names differ from the task's."""
    exemplars: str | None = None
    """A file of solved questions of this task, with answer and rationale. Prompts show them before its questions in place of
    exemplars (all of them) or, with ``in_context``, of other training questions (some of them). Without it, the study's own."""


@dataclass(frozen=True)
class Files(Layout):
    """Your files: JSON Lines, JSON, CSV, TSV, Parquet or Arrow (the ending of the name decides), or data set directories.

    Set either ``path``, or ``train``, ``dev`` and ``test``. docs/study.md explains directories, templates, choices and splits.
    """

    root: str = unkeyed(".")
    """The directory of the files, relative to the study file."""
    path: str | None = None
    """One file, which ``sizes`` or ``splits`` divide, or a data set directory with its own splits."""
    train: str | None = None
    """A file, or ``DIR/SPLIT`` of a directory."""
    dev: str | None = None
    """As for train."""
    test: str | None = None
    """As for train."""
    others: Mapping[str, OtherFile] = field(default_factory=dict)
    """Further splits, which ``evaluation.splits`` may name: ``{ sst2 = { file = "sst2.jsonl", kind = "option" } }``."""
    sizes: Mapping[str, int | float] = field(default_factory=dict)
    """The sizes of splits drawn in seeded order from the file, or from train if the data have splits: numbers of problems, or
    shares below 1. The other problems are train, or dropped if ``sizes`` name train."""
    stratify: str | None = None
    """With ``sizes``: a field whose values appear in each split in proportion."""
    group: str | None = None
    """With ``sizes``: a field (template, passage) whose equal values all go to one split, or ``near-duplicates``."""
    splits: str | None = None
    """A JSON file, split -> list of ids, as the problems stage writes it. Use it instead of ``sizes``. Problems in no split are
    dropped."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of train to use. 0.2 contains 0.1, and held-out splits stay whole (SCoTD's code, arXiv 2306.14050, keeps such a
    list)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.path is None) == (self.train is None and self.dev is None and self.test is None):
            raise ValueError("path, train, dev, test: set path (one file with sizes, or a directory) or the others (one file each)")
        if self.path is not None and Path(self.path).suffix.lower() in DATA and not self.sizes and self.splits is None:
            raise ValueError("path is one file: set sizes = { dev = 100, test = 100 } or the like; the rest is train")
        if taken := sorted({"train", "dev", "test", *self.sizes} & self.others.keys()):
            raise ValueError(f"others: {', '.join(taken)} is already a split of the task; use another name")
        if self.splits is not None and self.sizes:
            raise ValueError("splits, sizes: set only one of them")
        if self.stratify and self.group:
            raise ValueError("stratify, group: set only one of them, because whole groups cannot be in proportion")
        if (self.stratify or self.group) and not self.sizes:
            raise ValueError("stratify, group: set sizes too")
        for name, size in self.sizes.items():
            if not (0 < size < 1 if isinstance(size, float) else size >= 1):
                raise ValueError(f"sizes.{name} = {size}: must be a number of problems, or a share between 0 and 1")
        if sum(size for size in self.sizes.values() if isinstance(size, float)) > 1 + 1e-9:
            raise ValueError(f"sizes = {dict(self.sizes)}: the shares add up to more than 1")

    def files(self) -> list[Path]:
        """Return the files of the problems. Raises DataError if data, or splits of a directory, are missing."""
        others = [name for other in self.others.values() for name in (other.file, other.exemplars) if name is not None]
        sources = [*self._sources().values(), *(Path(self.root) / name for name in others)]
        paths = [file for source in sources for file in list_files(source)]
        info_files = [info for parent in dict.fromkeys(f.parent for f in paths) if (info := parent / INFO).is_file()]
        return [*paths, *info_files, *([Path(self.root) / self.splits] if self.splits else [])]

    def problems(self, *, seed: int) -> list[Problem]:
        """Return every problem with its split. Raises DataError naming file, line and field."""
        problems = [replace(problem, split=name) for name, problem in self._read()[0] if problem is not None]
        others = [problem for name, other in self.others.items() for problem in self._read_other(name, other)]
        check_ids([*problems, *others])
        if self.splits is not None:
            problems = split_by_manifest(problems, Path(self.root) / self.splits)
        elif self.sizes:
            problems = self._draw(problems, seed)
        return [*(take_fraction(problems, self.fraction, seed=seed) if self.fraction < 1 else problems), *others]

    def bad_rows(self) -> list[str]:
        """Return why ``skip_bad`` leaves out each row."""
        return self._read()[1] if self.skip_bad else []

    def _read(self) -> tuple[list[tuple[str, Problem | None]], list[str]]:
        """Return the split and the problem of each row, None for one that is left out; and why ``skip_bad`` leaves rows out."""
        bad: list[str] = []
        skipped = bad if self.skip_bad else None
        try:
            rows = [(name, row) for name, source in self._sources().items() for row in read_question_rows(source, skipped)]
            read = make_problems([row for _, row in rows], self, skipped)
        except RowError as error:
            raise DataError(f"{error} (task.skip_bad = true leaves out rows that cannot be read)") from None
        return [(name, problem) for (name, _), problem in zip(rows, read, strict=True)], bad

    def _read_other(self, name: str, other: OtherFile) -> Iterator[Problem]:
        fields = self.fields if other.fields is None else other.fields
        kind = other.kind or self.kind
        same = other.fields is None and kind == self.kind
        base, choices_in = (self.answer_base, self.choices_in) if same else (None, "field")
        layout = Layout(kind, fields, choices_in, answer_base=base, decimal=self.decimal if kind == "number" else "point")

        def read(file: str, split_name: str) -> list[Problem]:
            return [replace(problem, split=split_name) for problem in read_problems(Path(self.root) / file, layout)]

        yield from read(other.file, name)
        if other.exemplars is not None:
            yield from (solved := read(other.exemplars, name_exemplars(name)))
            require_solved(solved, other.exemplars)

    def _sources(self) -> dict[str, Path]:
        """Return split -> its file or directory; ``""`` has no splits yet."""
        if self.path is None:
            files = {"train": self.train, "dev": self.dev, "test": self.test}
            return {split: Path(self.root) / file for split, file in files.items() if file is not None}
        path = Path(self.root) / self.path
        splits = find_splits(path) if path.is_dir() else {}
        if len(splits) > 1 and (roles := match_splits(list(splits))):
            return {role: path / name for role, name in roles.items()}
        if not all(file.is_file() for file in ([] if path.is_dir() else list_files(path))):
            raise DataError(f"{path}: no such file or directory")
        if not self.sizes and self.splits is None:
            hint = f"; its splits are {', '.join(splits)}" if len(splits) > 1 else ""
            raise DataError(f"{path}: has no splits train, dev, test{hint}; set sizes, e.g. sizes = {{ dev = 100, test = 100 }}")
        return {"": path}

    def _draw(self, problems: list[Problem], seed: int) -> list[Problem]:
        """Return ``problems`` with ``sizes`` drawn from those without a split, or else from train."""
        fixed = [problem for problem in problems if problem.split not in ("", "train")]
        if taken := sorted({problem.split for problem in fixed} & self.sizes.keys()):
            raise DataError(f"sizes: {', '.join(taken)} already exists, so it cannot be drawn from train")
        pool = [problem for problem in problems if problem.split in ("", "train")]
        stratify = make_key(pool, self.our_name(self.stratify), "stratify") if self.stratify is not None else None
        group = make_key(pool, self.our_name(self.group), "group") if self.group is not None else None
        return split(pool, self.sizes, seed=seed, stratify=stratify, group=group) + fixed
