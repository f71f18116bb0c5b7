"""selection: which chains become examples of an arm, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.protocols import Progress
from understudy.core.values import Chain, Verdict
from understudy.corpus.store import read_rows
from understudy.selection.select import Selection, select
from understudy.studies.cache import write_json
from understudy.studies.schema import build


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``selected.json``: the ids of the chosen chains; say kept, dropped by reason, coverage."""
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    verdicts = list(read_rows(needs["verdicts"] / "verdicts.parquet", Verdict))
    selected = select(chains, verdicts, build(Selection, arguments["select"], "select"), seed=arguments["seed"])
    write_json(directory / "selected.json", [chain.id for chain in selected.chains])
    progress("selection", len(chains), len(chains))
    return selected.to_json()
