"""answers: what an arm's students answer to one split, through a ledger of its own, so that a killed one goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from understudy.core.asks import Decoding, Reply, Request, Usage
from understudy.core.errors import EngineError, StudyError
from understudy.core.protocols import Choosy, Engine, Method, Progress, ReplyStore
from understudy.core.registry import find
from understudy.core.subquestions import recorded_chain
from understudy.core.values import Chain, Problem, Solution
from understudy.corpus.store import read_rows, write_rows
from understudy.engines.gold import GoldEngine
from understudy.evaluation.run import answer
from understudy.pipeline.cache import write_json
from understudy.pipeline.capabilities import probed
from understudy.pipeline.exemplars import exemplar_pool
from understudy.pipeline.stages.chains import make_teacher, over
from understudy.pipeline.stages.selection import why_unfit
from understudy.pipeline.stages.student import chosen_chains, learned_problems, open_student
from understudy.sampling.ledger import Ledger
from understudy.studies.options import Exemplars, Teacher
from understudy.studies.schema import build


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``solutions.parquet`` and ``errors.json``; say seconds, tokens, and which checkpoint played which role."""
    known = list(read_rows(needs["problems"] / "problems.parquet", Problem))
    method = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    problems = [p for p in known if p.split == arguments["split"]]
    asked, workings = problems, dict[str, tuple[Problem, Chain]]()
    if any(player["model"] == "gold" for player in arguments["cast"].values()):
        workings = _workings(method, problems, asked_for=not arguments["swapped"])
        asked = [p for p in problems if p.id in workings]
    started = time.perf_counter()
    engines = _engines(method, needs, arguments, workings)
    concurrency = arguments.get("transport", {}).get("concurrency", 64)
    pool = exemplar_pool(
        known,
        build(Exemplars, arguments["exemplars"], "exemplars"),
        prompts=arguments.get("prompts", {}),
        seed=arguments["study_seed"],
        learn=learned_problems(known, needs["selection"]) if "selection" in needs else (),
        chains=chosen_chains(read_rows(needs["chains"] / "chains.parquet", Chain), needs["selection"])
        if "selection" in needs
        else (),
    )
    own = directory / "answers.sqlite"
    with ExitStack() as stack:
        store: ReplyStore = stack.enter_context(Ledger(own))
        if "teacher" in arguments:  # what a teacher says is paid for: it goes to the run's ledger, and stays there
            paid = {engines[part].identity for part, player in arguments["cast"].items() if player["model"] == "teacher"}
            teacher = build(Teacher, {**arguments["teacher"], **arguments["transport"]}, "teacher")
            ledger = stack.enter_context(Ledger(directory.parents[1] / "ledger.sqlite", price=teacher.price, budget=teacher.budget))
            store = _Parted(ledger, store, paid)
            paths = arguments["votes"] if arguments["decoding"]["temperature"] else 1
            for engine in {id(e): e for e in engines.values() if e.identity in paid}.values():
                player, concurrency = over(ledger, engine, teacher, seed=arguments["seed"], progress=progress)
                probed(player, ledger, paths=paths, tell=lambda line: progress("answers", 0, 0, line))
                engines |= {part: player for part, plays in engines.items() if plays is engine}
        found = answer(
            asked,
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
    if asked and not found.solutions:
        raise EngineError(f"none of {len(asked)} problems was answered; the first error: {found.errors[0]['error']}")
    write_rows(directory / "solutions.parquet", Solution, found.solutions)
    write_json(directory / "errors.json", found.errors)
    for left in directory.glob(f"{own.name}*"):  # all of it is in solutions.parquet now
        left.unlink()
    return {
        "problems": len(problems),
        "asked": len(asked),
        "solutions": len(found.solutions),
        "errors": len(found.errors),
        "tokens": sum(s.tokens for s in found.solutions),
        "seconds": round(time.perf_counter() - started, 3),
        "role_models": {role: engine.identity for role, engine in engines.items()},
    }


def _engines(
    method: Method, needs: Mapping[str, Path], arguments: Mapping[str, Any], workings: Mapping[str, tuple[Problem, Chain]]
) -> dict[str, Engine]:
    """Who plays each part: a trained student, an untrained checkpoint, the teacher, or gold. Parts that share one share it."""
    made: dict[str, Engine] = {}

    def engine(player: Mapping[str, Any]) -> Engine:
        match player["model"]:
            case "trained":
                return open_student(needs[f"student:{player['role']}"] / "student", arguments)
            case "untrained":
                return open_student(Path(player["checkpoint"]), arguments)
            case "teacher":
                return make_teacher(build(Teacher, {**arguments["teacher"], **arguments["transport"]}, "teacher"), arguments)
            case _:
                return GoldEngine(method, workings)  # type: ignore[arg-type]

    for player in arguments["cast"].values():
        name = _name(player)
        made[name] = made.get(name) or engine(player)
    return {part: made[_name(player)] for part, player in arguments["cast"].items()}


def _name(player: Mapping[str, Any]) -> str:
    return f"{player['model']} {player['role'] if player['model'] == 'trained' else player.get('checkpoint', '')}"


def _workings(method: Method, problems: Sequence[Problem], *, asked_for: bool) -> dict[str, tuple[Problem, Chain]]:
    """The problems whose data set has a working that can take the place of a part. That there is none is an error only where the
    arm ``asked_for`` gold: the report's attribution is left out then."""
    written = method if isinstance(method, Choosy) else method.format  # type: ignore[attr-defined]
    found = {p.id: (p, chain) for p in problems if (chain := recorded_chain(p)) is not None and not why_unfit(written, p, chain)}
    if problems and not found and asked_for:
        raise StudyError(
            f'model = "gold": none of the {len(problems)} problems of {problems[0].split!r} has a working of its own that the '
            "method can take (meta.rationale; meta.subquestions with answers)"
        )
    return found


class _Parted:
    """Two stores as one `ReplyStore`: what engines of the identities ``paid`` say is kept in ``ledger``, all else in ``own``."""

    def __init__(self, ledger: ReplyStore, own: ReplyStore, paid: set[str]) -> None:
        self.ledger, self.own, self.paid = ledger, own, paid

    def get(self, key: str) -> Reply | None:
        return self.own.get(key) or self.ledger.get(key)

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        return (self.ledger if engine in self.paid else self.own).reserve(key, engine=engine, request=request)

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        store = self.ledger if engine in self.paid else self.own
        store.put(key, reply, engine=engine, request=request, seed=seed, usage=usage)

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        self.ledger.fail(key, error, usage)
        self.own.fail(key, error, usage)

    def flush(self) -> None:
        self.own.flush()
        self.ledger.flush()
