"""verdicts: what the checks say of every chain; the chains themselves are never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.checks.answer import check
from understudy.core.protocols import Progress
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, Verdict
from understudy.corpus.store import read_rows, write_rows


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``verdicts.parquet``; say the counts by outcome."""
    name = arguments["check"]
    by = find("check", name)
    problems = {p.id: p for p in read_rows(needs["problems"] / "problems.parquet", Problem)}
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    verdicts = [check(problems[chain.problem], chain, by, name) for chain in chains]
    write_rows(directory / "verdicts.parquet", Verdict, verdicts)
    progress("verdicts", len(verdicts), len(chains))
    return {"verdicts": len(verdicts), **Counter(verdict.outcome.value for verdict in verdicts)}
