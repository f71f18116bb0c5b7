"""Chains that somebody already has: JSON Lines with a field mapping, or a corpus that was imported before."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.core.answers import Found, extract, normalise
from understudy.core.errors import DataError, nearest
from understudy.core.values import Chain, Problem
from understudy.corpus.store import read_rows
from understudy.corpus.tables import read_objects

FIELDS = {
    "problem": "problem_id",
    "text": "text",
    "answer": "answer",
    "teacher": "teacher",
    "tokens": "tokens",
    "logprob": "logprob",
    "finish": "finish",
    "path": "path",
}
"""Our field -> the field of a row that is read where the mapping does not say otherwise."""

RECORDED = "recorded"
"""The layer of an answer that came with its row and not from its text."""

STATED = frozenset({"marker", "boxed", "hashes", "arrow", "label", "opening"})
"""Layers in which a text says outright that this is its answer."""


@dataclasses.dataclass
class Report:
    """What an import did: counts of ``rows``, of ``chains`` made of them, and of what was left out or differs."""

    rows: int = 0
    chains: int = 0
    unknown_problem: int = 0
    """Rows whose problem is not among the problems: left out."""
    duplicates: int = 0
    """Rows with problem, teacher and text of an earlier one: kept, each on a path of its own."""
    no_answer: int = 0
    recorded_only: int = 0
    """The text does not state the answer outright; the row's recorded one is used (layer ``recorded``)."""
    differs: int = 0
    """The text states another answer than the row records."""
    layers: Counter[str] = dataclasses.field(default_factory=Counter)
    teachers: Counter[str] = dataclasses.field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "chains": self.chains,
            "of unknown problems": self.unknown_problem,
            "equal to an earlier one": self.duplicates,
            "without an answer": self.no_answer,
            "with the recorded answer": self.recorded_only,
            "whose text states another answer than recorded": self.differs,
            "answers found by layer": dict(self.layers.most_common()),
            "teachers": dict(self.teachers.most_common()),
        }


def import_chains(
    paths: Sequence[Path], *, problems: Mapping[str, Problem], fields: Mapping[str, str], prefer: Literal["text", "recorded"]
) -> tuple[list[Chain], Report]:
    """The chains in ``paths`` (JSON Lines, or corpora that end with .parquet) that belong to ``problems`` (id -> problem).

    ``fields`` maps our field names to theirs. For a chain's answer see `settle`. Each chain of a problem gets a path of its
    own, in the order of the files.
    Raises DataError naming file, line and field.
    """
    for name in fields:
        if name not in FIELDS:
            raise DataError(f"fields: unknown field {name!r}{nearest(name, list(FIELDS))} (known: {', '.join(FIELDS)})")
    report, found = Report(), list[Chain]()
    for path in paths:
        if path.suffix == ".parquet":
            found += _from_corpus(path, problems, report)
            continue
        for where, row in read_objects(path):
            report.rows += 1
            chain = _chain(_Row(row, {**FIELDS, **fields}, where), problems, prefer, report)
            if chain is not None:
                found.append(chain)
    numbered = _number(found, report)
    if not numbered:
        raise DataError(
            f"{', '.join(map(str, paths))}: no chain for any of the {len(problems):,} problems ({report.rows:,} rows, "
            f"{report.unknown_problem:,} of unknown problems); do the chains name the problems by their ids?"
        )
    return numbered, report


def _from_corpus(path: Path, problems: Mapping[str, Problem], report: Report) -> list[Chain]:
    chains = list(read_rows(path, Chain))
    known = [chain for chain in chains if chain.problem in problems]
    report.rows += len(chains)
    report.unknown_problem += len(chains) - len(known)
    report.no_answer += sum(chain.answer is None for chain in known)
    report.layers.update(chain.layer for chain in known)
    return known


def _number(chains: Sequence[Chain], report: Report) -> list[Chain]:
    """Each chain on the next path of its problem, and the counts of the whole."""
    next_path: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    numbered = []
    for chain in chains:
        same = (chain.problem, chain.teacher, chain.text)
        report.duplicates += same in seen
        seen.add(same)
        numbered.append(dataclasses.replace(chain, path=next_path[chain.problem]))
        next_path[chain.problem] += 1
    report.chains = len(numbered)
    report.teachers.update(chain.teacher for chain in numbered)
    return numbered


def settle(found: Found, recorded: str | None, *, prefer: str) -> tuple[str | None, str]:
    """(answer, layer) of a chain from what was ``found`` in its text and what its row ``recorded``.

    What the text states outright comes before the record, and the record before what is only concluded from the last
    sentences: many corpora publish a rationale without its answer, in which any option may be named. A text that states
    several answers at once has none. ``prefer`` "recorded" puts the record first.
    """
    stated = found.layer in STATED
    if recorded is None or (stated and prefer == "text") or found.value == recorded:
        return found.value, found.layer
    return recorded, RECORDED


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row of a file of chains, read by our names of its fields."""

    row: Mapping[str, Any]
    fields: Mapping[str, str]
    where: str

    def get(self, name: str) -> Any:
        return self.row.get(self.fields[name])

    def text(self, name: str) -> str:
        value, theirs = self.get(name), self.fields[name]
        if value is None or not str(value).strip():
            raise DataError(
                f"{self.where}: field {theirs!r} ({name}) is {'empty' if theirs in self.row else 'missing'}"
                f"{nearest(theirs, list(self.row))} (the row has: {', '.join(self.row)}); map it with {name}=FIELD"
            )
        return str(value)

    def number(self, name: str) -> float | None:
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{self.where}: field {self.fields[name]!r} ({name}) = {value!r} is not a finite number")
        return value


def _chain(row: _Row, problems: Mapping[str, Problem], prefer: str, report: Report) -> Chain | None:
    problem, text = problems.get(row.text("problem")), row.text("text")
    if problem is None:
        report.unknown_problem += 1
        return None
    found = extract(text, problem.kind, problem.choices, problem.question)
    raw = row.get("answer")
    recorded = None if raw is None else normalise(str(raw), problem.kind, problem.choices)
    answer, layer = settle(found, recorded, prefer=prefer)
    report.differs += None not in (found.value, recorded) and found.value != recorded
    report.recorded_only += layer == RECORDED
    report.no_answer += answer is None
    report.layers[layer or found.status] += 1
    finish, tokens = str(row.get("finish") or "stop"), row.number("tokens")
    if finish not in ("stop", "length", "refused"):
        raise DataError(f"{row.where}: field {row.fields['finish']!r} (finish) = {finish!r}: must be stop, length or refused")
    sampling = row.row.get("sampling")
    return Chain(
        problem=problem.id,
        path=0,
        text=text,
        # A recorded answer is not in the text, so nothing of the text is its statement.
        rationale=(text if layer == RECORDED else text[: found.start]).strip(),
        answer=answer,
        layer=layer,
        teacher=str(row.get("teacher") or "unknown"),
        finish=finish,
        tokens=None if tokens is None else int(tokens),
        logprob=row.number("logprob"),
        sampling=sampling if isinstance(sampling, dict) else {},
    )
