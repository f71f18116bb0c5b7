"""Recorded chains into a corpus file: what the verb `import` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.core.values import AnswerKind, Chain, Problem
from understudy.corpus.importing import import_chains
from understudy.corpus.store import write_rows
from understudy.tasks.files import read_problems


def import_corpus(
    chains: Sequence[Path],
    *,
    problems: Sequence[Path],
    kind: AnswerKind,
    to: Path,
    fields: Mapping[str, str] | None = None,
    problem_fields: Mapping[str, str] | None = None,
    prefer: Literal["text", "recorded"] = "text",
) -> dict[str, Any]:
    """Read ``chains`` (JSONL) against their ``problems``, write the corpus ``to`` (Parquet), and return the import's report.

    ``fields`` and ``problem_fields`` map our field names to theirs where they differ. The answer of a chain is read from its
    text; ``prefer`` says whose counts where the row records another. Raises DataError naming file, line and field.
    """
    known: dict[str, Problem] = {}
    for path in problems:
        known |= {p.id: p for p in read_problems(path, kind=kind, fields=dict(problem_fields or {}))}
    found, report = import_chains(list(chains), problems=known, fields=dict(fields or {}), prefer=prefer)
    write_rows(to, Chain, found)
    return dict(report.to_json())
