"""Problems from the user's files: JSON Lines, JSON, CSV, TSV, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy.core.answers import normalise
from understudy.core.errors import DataError, nearest
from understudy.core.values import AnswerKind, Problem
from understudy.corpus.tables import read_objects
from understudy.tasks.splits import check_ids, split

FIELDS = ("id", "question", "answer", "accepted", "choices", "context", "rationale")


@dataclass(frozen=True)
class Files:
    """Either ``path`` (one file, split by ``sizes`` in seeded order) or ``train``, ``dev`` and ``test`` (a file each).

    Files are JSON Lines, JSON, CSV, TSV or Parquet. ``fields`` maps our names (id, question, answer, accepted, choices, context,
    rationale) to the file's where they differ; everything else goes to ``meta``. A list in a table of texts (choices) is
    written as JSON. ``kind``: what kind of answer the questions have. Paths are relative to
    ``root``, and that to the study file.
    """

    kind: AnswerKind
    root: str = "."
    path: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.train is None and self.dev is None and self.test is None):
            raise ValueError("give either path (one file, with sizes) or train, dev and test (a file each)")
        if (self.path is None) != (not self.sizes):
            raise ValueError("sizes belong to path: e.g. sizes = { train = 800, dev = 100, test = 100 }")
        for name in self.fields:
            if name not in FIELDS:
                raise ValueError(f"fields: unknown field {name!r}{nearest(name, FIELDS)} (known: {', '.join(FIELDS)})")

    def files(self) -> list[Path]:
        """What the problems are read from."""
        return [Path(self.root) / name for name in (self.path, self.train, self.dev, self.test) if name is not None]

    def problems(self, *, seed: int) -> list[Problem]:
        """Every problem with its split. Raises DataError naming file, line and field."""
        if self.path is not None:
            whole = list(read_problems(Path(self.root) / self.path, kind=self.kind, fields=self.fields))
            check_ids(whole)
            return split(whole, self.sizes, seed=seed)
        found = [
            replace(problem, split=name)
            for name, file in (("train", self.train), ("dev", self.dev), ("test", self.test))
            if file is not None
            for problem in read_problems(Path(self.root) / file, kind=self.kind, fields=self.fields)
        ]
        check_ids(found)
        return found


def read_problems(path: Path, *, kind: AnswerKind, fields: Mapping[str, str]) -> Iterator[Problem]:
    """The problems of a file. Raises DataError naming file, line and field, or that there is none."""
    any_row = False
    for where, row in read_objects(path):
        any_row = True
        yield _problem(row, kind, fields, where)
    if not any_row:
        raise DataError(f"{path}: there is no problem in it")


def _problem(row: Mapping[str, Any], kind: AnswerKind, fields: Mapping[str, str], where: str) -> Problem:
    name = {ours: fields.get(ours, ours) for ours in FIELDS}
    question = _text(row, name["question"], where)
    choices = _list(row.get(name["choices"]) or ())
    if not isinstance(choices, list | tuple) or not all(isinstance(c, str) for c in choices):
        raise DataError(f"{where}: field {name['choices']!r} must be a list of texts, not {choices!r}")
    raw = row.get(name["answer"])
    answer = None
    if raw is not None:
        if isinstance(raw, bool):
            raw = "yes" if raw else "no"
        answer = normalise(str(raw), kind, choices)
        if answer is None:
            of = f" (choices: {', '.join(choices)})" if choices else ""
            raise DataError(f"{where}: field {name['answer']!r} = {raw!r} is no answer of kind {kind!r}{of}")
    accepted = _list(row.get(name["accepted"]) or ())
    if not isinstance(accepted, list | tuple):
        raise DataError(f"{where}: field {name['accepted']!r} must be a list, not {accepted!r}")
    return Problem(
        id=str(row[name["id"]]) if row.get(name["id"]) is not None else where.rpartition("/")[2],
        question=question,
        kind=kind,
        answer=answer,
        accepted=tuple(found for a in accepted if (found := normalise(str(a), kind, choices)) is not None),
        choices=tuple(choices),
        context=_text(row, name["context"], where) if row.get(name["context"]) else "",
        meta={key: value for key, value in row.items() if key not in name.values()}
        | ({"rationale": row[name["rationale"]]} if row.get(name["rationale"]) else {}),
    )


def _list(value: Any) -> Any:
    """A list as it is, or from its JSON text: tables have no lists."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        known = f"{nearest(name, list(row))} (the row has: {', '.join(row)})" if name not in row else f", not {value!r}"
        raise DataError(f"{where}: field {name!r} must be a text that is not empty{known}; map it with fields.NAME = ...")
    return value
