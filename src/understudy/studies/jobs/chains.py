"""chains: what the teacher wrote for the training problems, sampled through the ledger or imported from files."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.core.asks import Decoding, Flow
from understudy.core.asks import Path as SamplePath
from understudy.core.errors import EngineError, StudyError
from understudy.core.protocols import Engine, LocalEngine, Progress, counting
from understudy.core.registry import find
from understudy.core.values import Chain, Problem
from understudy.corpus.importing import import_chains
from understudy.corpus.store import read_rows, write_rows
from understudy.engines.drive import Done, adrive, drive
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import ExemplarPool
from understudy.studies.cache import write_json
from understudy.studies.schema import build
from understudy.studies.study import Teacher

HOPELESS = 20
"""So many asks of an endpoint that fail before any succeeds end the sampling: it cannot be asked at all."""


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``chains.parquet`` (and ``errors.json`` where asks failed); say how many chains by how many teachers."""
    problems = [p for p in read_rows(needs["problems"] / "problems.parquet", Problem) if p.split == "train"]
    teacher = build(Teacher, {**arguments["teacher"], **arguments["transport"]}, "teacher")
    if teacher.engine == "recorded":
        chains, report = import_recorded(teacher, needs["problems"])
        says: dict[str, Any] = {"import": report}
    else:
        chains, errors = sample(problems, teacher, arguments, directory.parents[1] / "ledger.sqlite", progress)
        write_json(directory / "errors.json", errors)
        says = {"errors": len(errors)}
    write_rows(directory / "chains.parquet", Chain, chains)
    teachers = sorted({chain.teacher for chain in chains})
    return {"chains": len(chains), "problems": len({c.problem for c in chains}), "teachers": teachers} | says


def import_recorded(teacher: Teacher, problems: Path) -> tuple[list[Chain], Mapping[str, Any]]:
    """The recorded chains of the training problems. Those of other splits are left out and counted, never used."""
    known = {p.id: p for p in read_rows(problems / "problems.parquet", Problem)}
    paths = [Path(name) for name in teacher.chains]
    chains, report = import_chains(paths, problems=known, fields=dict(teacher.fields), prefer=teacher.prefer)
    train = [chain for chain in chains if known[chain.problem].split == "train"]
    return train, report.to_json() | {"of other splits": len(chains) - len(train)}


def sample(
    problems: list[Problem], teacher: Teacher, arguments: Mapping[str, Any], ledger: Path, progress: Progress
) -> tuple[list[Chain], list[dict[str, Any]]]:
    """Ask the teacher for ``teacher.samples`` chains per problem; replies that the ledger has are not asked again."""
    engine = make_teacher(teacher, arguments)
    flows = teacher_flows(problems, teacher, arguments["seed"])
    told = counting(progress, "chains", len(problems) * teacher.samples)
    chains, errors = [], []
    with Ledger(ledger) as store:
        for done in _ended(flows, engine, teacher, store, seed=arguments["seed"], told=told):
            if done.value is None:
                errors.append({"problem": done.path.problem, "path": done.path.index, "error": done.error})
            else:
                chains.append(dataclasses.replace(done.value, teacher=engine.identity))
    if not chains:
        raise EngineError(f"the teacher gave no chain at all; its first error: {errors[0]['error'] if errors else 'none'}")
    order = {problem.id: i for i, problem in enumerate(problems)}
    return sorted(chains, key=lambda c: (order[c.problem], c.path)), errors


def _ended(
    flows: Iterator[tuple[SamplePath, Flow[Chain]]],
    engine: Engine,
    teacher: Teacher,
    store: Ledger,
    *,
    seed: int,
    told: Callable[[object], None],
) -> Iterator[Done[Chain]]:
    """Every flow as it ends, whichever driver its engine needs."""
    decoding = {"teacher": Decoding(teacher.temperature, teacher.top_p)}
    if isinstance(engine, LocalEngine):
        yield from drive(flows, {"teacher": engine}, store=store, decoding=decoding, seed=seed, on_end=told)
        return
    found: list[Done[Chain]] = []

    async def ask() -> None:
        async with engine as opened:  # type: ignore[attr-defined]
            asked = adrive(flows, {"teacher": opened}, store=store, decoding=decoding, seed=seed, concurrency=teacher.concurrency)
            async for done in asked:
                told(done)
                found.append(done)
                if len(found) == HOPELESS and all(d.value is None for d in found):
                    await asked.aclose()  # type: ignore[attr-defined]
                    return
                if len(found) == teacher.first_look:
                    look([d.value for d in found if d.value is not None])

    asyncio.run(ask())
    yield from found


def look(chains: list[Chain]) -> None:
    """Look at the first chains. Raises StudyError where nearly all are useless: more of them would be bought for nothing."""
    cut = sum(chain.finish == "length" for chain in chains)
    silent = sum(chain.answer is None and chain.finish == "stop" for chain in chains)
    refused = sum(chain.finish == "refused" for chain in chains)
    if chains and cut + silent + refused > 0.9 * len(chains):
        raise StudyError(
            f"of the first {len(chains)} replies {silent} have no answer that can be read, {cut} are cut off at the limit and "
            f"{refused} are refusals, so the sampling was stopped; what came is in the ledger. Look at them with `understudy "
            "try`: is the prompt right for this model (teacher.api, teacher.options.exemplars), is options.max_tokens large "
            "enough, is task.kind right? teacher.first_look = 0 goes on all the same"
        )


def teacher_flows(problems: list[Problem], teacher: Teacher, seed: int) -> Iterator[tuple[SamplePath, Flow[Chain]]]:
    """One flow per problem and sample path, made when asked for."""
    method = build(find("method", teacher.method), dict(teacher.options), "teacher.options")
    pool = ExemplarPool.of_rationales(problems)
    for problem in problems:
        for index in range(teacher.samples):
            path = SamplePath(problem.id, index, seed)
            yield path, method.sample(problem, path, pool)


def make_teacher(teacher: Teacher, arguments: Mapping[str, Any]) -> Engine:
    """The engine that plays the teacher."""
    if teacher.engine == "transformers":
        from understudy.engines.local import TransformersEngine

        assert teacher.checkpoint is not None
        return TransformersEngine(Path(teacher.checkpoint), dtype=teacher.precision, seed=arguments["seed"])
    if teacher.engine == "endpoint":
        from understudy.engines.endpoint import EndpointEngine

        return EndpointEngine(
            teacher.url,
            teacher.model,
            api=teacher.api,
            key_env=teacher.key_env,
            timeout=teacher.timeout,
            retries=teacher.retries,
            identity=teacher.identity,
        )
    from understudy.engines.procedural import ProceduralEngine

    world = build(find("task", arguments["task"]), dict(arguments["task_options"]), "task")
    return ProceduralEngine(world, slip=teacher.slip, misread=teacher.misread, seed=arguments["seed"])
