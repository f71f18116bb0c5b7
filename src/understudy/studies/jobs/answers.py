"""answers: what an arm's students answer to one split, through a ledger of its own, so that a killed one goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.asks import Decoding
from understudy.core.errors import EngineError
from understudy.core.protocols import Engine, Method, Progress
from understudy.core.registry import find
from understudy.core.values import Problem, Solution
from understudy.corpus.store import read_rows, write_rows
from understudy.evaluation.run import answer
from understudy.sampling.ledger import Ledger
from understudy.studies.cache import write_json
from understudy.studies.exemplars import exemplar_pool
from understudy.studies.jobs.chains import make_teacher
from understudy.studies.jobs.student import open_student
from understudy.studies.options import Exemplars, Teacher
from understudy.studies.schema import build


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``solutions.parquet`` and ``errors.json``; say seconds, tokens, and which checkpoint played which role."""
    known = list(read_rows(needs["problems"] / "problems.parquet", Problem))
    problems = [p for p in known if p.split == arguments["split"]]
    method = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    started = time.perf_counter()
    engines, concurrency = _engines(method, needs, arguments), arguments.get("transport", {}).get("concurrency", 64)
    pool = exemplar_pool(known, build(Exemplars, arguments["exemplars"], "exemplars")) if "exemplars" in arguments else None
    # What a teacher says is paid for: it goes to the run's ledger, and stays there.
    own = directory / "answers.sqlite"
    ledger = directory.parents[1] / "ledger.sqlite" if "teacher" in arguments else own
    with Ledger(ledger) as store:
        found = answer(
            problems,
            method,
            engines,
            pool=pool,
            concurrency=concurrency,
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
    for left in directory.glob(f"{own.name}*"):  # all of it is in solutions.parquet now
        left.unlink()
    return {
        "problems": len(problems),
        "solutions": len(found.solutions),
        "errors": len(found.errors),
        "tokens": sum(s.tokens for s in found.solutions),
        "seconds": round(time.perf_counter() - started, 3),
        "role_models": {role: engine.identity for role, engine in engines.items()},
    }


def _engines(method: Method, needs: Mapping[str, Path], arguments: Mapping[str, Any]) -> dict[str, Engine]:
    """Who answers: the trained students by role, or one untrained checkpoint or the teacher in every role."""
    roles = method.roles or ("student",)
    if "teacher" in arguments:
        teacher = build(Teacher, {**arguments["teacher"], **arguments["transport"]}, "teacher")
        return dict.fromkeys(roles, make_teacher(teacher, arguments))
    if "checkpoint" in arguments:
        return dict.fromkeys(roles, open_student(Path(arguments["checkpoint"]), arguments))
    return {
        name.partition(":")[2]: open_student(path / "student", arguments)
        for name, path in needs.items()
        if name.startswith("student:")
    }
