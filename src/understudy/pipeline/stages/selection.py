"""selection: which chains become examples of an arm, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import Choosy, Progress
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, Verdict
from understudy.corpus.store import read_rows
from understudy.pipeline.cache import write_json
from understudy.selection.select import Selection, select
from understudy.studies.schema import build
from understudy.tasks.splits import take_fraction


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``problems.json``, the ids of the training problems in the arm's fraction, and ``selected.json``, those of the chosen
    chains; say kept, dropped by reason, coverage."""
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    verdicts = list(read_rows(needs["verdicts"] / "verdicts.parquet", Verdict))
    problems = {p.id: p for p in read_rows(needs["problems"] / "problems.parquet", Problem)}
    learned = [
        p.id for p in take_fraction(list(problems.values()), arguments["fraction"], seed=arguments["seed"]) if p.split == "train"
    ]
    written: Choosy | PromptFormat = build(PromptFormat, arguments["format"], "format")
    if "method" in arguments:
        written = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    why = {c.id: why_unfit(written, problems[c.problem], c) for c in chains}
    unfit = {name: reason for name, reason in why.items() if reason}
    options = build(Selection, arguments["select"], "select")
    selected = select(chains, verdicts, options, seed=arguments["seed"], unfit=unfit, learned=frozenset(learned))
    write_json(directory / "problems.json", learned)
    write_json(directory / "selected.json", [chain.id for chain in selected.chains])
    progress("selection", len(chains), len(chains))
    return selected.to_json()


def why_unfit(written: Choosy | PromptFormat, problem: Problem, chain: Chain) -> str:
    """Why ``chain`` gives no example to a method, or in a format; "" where it does, and without an answer, as its verdict says."""
    if chain.answer is None:
        return ""
    if isinstance(written, PromptFormat):
        return written.unfit(problem, chain.rationale, chain.answer)
    return written.unfit(problem, chain)
