"""Recorded chains into a corpus file: what the verb `import` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.checks.answer import check
from understudy.core.values import AnswerKind, Chain, Problem
from understudy.corpus.card import card_of, inherit_terms, name_sources
from understudy.corpus.directories import files_of
from understudy.corpus.import_ import import_chains
from understudy.corpus.store import write_rows
from understudy.pipeline.cache import file_digest
from understudy.tasks.files import read_problems


def import_corpus(
    chains: Sequence[Path],
    *,
    problems: Sequence[Path],
    kind: AnswerKind,
    to: Path,
    format: str = "",
    fields: Mapping[str, str] | None = None,
    problem_fields: Mapping[str, str] | None = None,
    prefer: Literal["text", "recorded"] = "text",
    terms: str = "",
    licence: str = "",
) -> dict[str, Any]:
    """Read ``chains`` (of ``format``; "" reads it off each file) against their ``problems``, write the corpus ``to`` (Parquet,
    with its card), and return the import's report.

    ``fields`` and ``problem_fields`` map our field names to theirs where they differ. The answer of a chain is read from its
    text; ``prefer`` says whose counts where the row records another. ``terms`` and ``licence`` go into the card; "" takes those
    of the files' own cards. Raises DataError naming file, line and field.
    """
    known = read_questions(problems, kind=kind, fields=problem_fields)
    found, report = import_chains(list(chains), problems=known, fields=dict(fields or {}), prefer=prefer, format=format)
    terms, licence = inherit_terms(chains, terms, licence)
    sources = name_sources({str(file): file_digest(file) for path in [*chains, *problems] for file in files_of(path)})
    card = card_of(found, terms=terms, licence=licence, sources=sources, outcomes=outcomes_of(found, known))
    write_rows(to, Chain, found, card=card.to_json())
    return dict(report.to_json())


def read_questions(paths: Sequence[Path], *, kind: AnswerKind, fields: Mapping[str, str] | None = None) -> dict[str, Problem]:
    """The questions in ``paths``, by id."""
    return {p.id: p for path in paths for p in read_problems(path, kind=kind, fields=dict(fields or {}))}


def outcomes_of(chains: Sequence[Chain], problems: Mapping[str, Problem]) -> dict[str, int]:
    """How many of ``chains`` are correct, wrong, ..., as the stage of verdicts counts them."""
    known = (check(problems[chain.problem], chain).outcome.value for chain in chains if chain.problem in problems)
    return dict(Counter(known).most_common())
