"""answers: what an arm's students answer to one split, through a ledger of its own, so that a killed one goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.asks import Decoding
from understudy.core.errors import EngineError
from understudy.core.protocols import Progress
from understudy.core.registry import find
from understudy.core.values import Problem, Solution
from understudy.corpus.store import read_rows, write_rows
from understudy.evaluation.run import answer
from understudy.sampling.ledger import Ledger
from understudy.studies.cache import write_json
from understudy.studies.jobs.student import open_student
from understudy.studies.schema import build


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``solutions.parquet`` and ``errors.json``; say seconds, tokens, and which checkpoint played which role."""
    problems = [p for p in read_rows(needs["problems"] / "problems.parquet", Problem) if p.split == arguments["split"]]
    method = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    started = time.perf_counter()
    engines = {
        name.partition(":")[2]: open_student(path / "student", arguments)
        for name, path in needs.items()
        if name.startswith("student:")
    }
    ledger = directory / "answers.sqlite"
    with Ledger(ledger) as store:
        found = answer(
            problems,
            method,
            engines,
            votes=arguments["votes"],
            decoding=build(Decoding, arguments["decoding"], "decoding"),
            seed=arguments["seed"],
            store=store,
            progress=progress,
        )
    if not found.solutions:
        raise EngineError(f"none of {len(problems)} problems was answered; the first error: {found.errors[0]['error']}")
    write_rows(directory / "solutions.parquet", Solution, found.solutions)
    write_json(directory / "errors.json", found.errors)
    for left in directory.glob("answers.sqlite*"):  # all of it is in solutions.parquet now
        left.unlink()
    return {
        "problems": len(problems),
        "solutions": len(found.solutions),
        "errors": len(found.errors),
        "tokens": sum(s.tokens for s in found.solutions),
        "seconds": round(time.perf_counter() - started, 3),
        "role_models": {role: engine.identity for role, engine in engines.items()},
    }
