"""verdicts: what the checks say of every chain; the chains themselves are never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.checks.judge import judge
from understudy.core.protocols import Progress
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, Verdict
from understudy.corpus.store import read_rows, write_rows


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``verdicts.parquet``: what every check says of every chain; say the counts by outcome."""
    checks = {name: find("check", name) for name in arguments["checks"]}
    problems = {p.id: p for p in read_rows(needs["problems"] / "problems.parquet", Problem)}
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    verdicts = [judge(problems[chain.problem], chain, check, name) for name, check in checks.items() for chain in chains]
    write_rows(directory / "verdicts.parquet", Verdict, verdicts)
    progress("verdicts", len(verdicts), len(verdicts))
    several = len(checks) > 1
    found = Counter(f"{v.check}: {v.outcome.value}" if several else v.outcome.value for v in verdicts)
    return {"verdicts": len(verdicts), **found}
