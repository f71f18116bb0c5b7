"""chains: what the teacher wrote for the training problems, sampled through the ledger or imported from files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.checks.answer import check
from understudy.core.asks import Decoding
from understudy.core.errors import DataError
from understudy.core.protocols import Engine, Progress
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, digest
from understudy.corpus.card import card_of, inherited, named
from understudy.corpus.import_ import import_chains
from understudy.corpus.store import read_rows, write_rows
from understudy.pipeline.cache import write_json
from understudy.pipeline.capabilities import probed
from understudy.pipeline.exemplars import exemplar_pool
from understudy.reports.words import printable
from understudy.sampling.account import Account
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
from understudy.sampling.sample import Sampling
from understudy.sampling.sample import sample as sample_chains
from understudy.studies.options import Exemplars, Teacher
from understudy.studies.schema import build

SAMPLING = ("engine", "samples", "allocation", "temperature", "top_p", "method", "options", "model", "api")
"""What a corpus's card says of how a teacher was asked: never where, or with whose key."""


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``chains.parquet`` (and ``errors.json`` where asks failed); say how many chains by how many teachers."""
    known = list(read_rows(needs["problems"] / "problems.parquet", Problem))
    problems = [p for p in known if p.split == "train"]
    teacher = build(Teacher, {**arguments["teacher"], **arguments["transport"]}, "teacher")
    if teacher.engine == "recorded":
        chains, report = import_recorded(teacher, needs["problems"])
        says: dict[str, Any] = {"import": report}
        sampling: dict[str, Any] = {}
    else:
        shown = build(Exemplars, arguments["exemplars"], "exemplars")
        pool = exemplar_pool(known, shown, prompts=arguments["prompts"])
        sampled = sample(problems, teacher, arguments, pool=pool, ledger=directory.parents[1] / "ledger.sqlite", progress=progress)
        chains = sampled.chains
        write_json(directory / "errors.json", sampled.errors)
        says = {"errors": len(sampled.errors)}
        if sampled.unasked:
            says |= {"not asked": sampled.unasked, "stopped": sampled.stopped}
        sampling = {name: arguments["teacher"][name] for name in SAMPLING}
    terms, licence = inherited(map(Path, teacher.chains), **arguments["corpus"])
    card = card_of(chains, terms=terms, licence=licence, sources=named(arguments["files"]), sampling=sampling)
    write_rows(directory / "chains.parquet", Chain, chains, card=card.to_json())
    teachers = sorted({chain.teacher for chain in chains})
    corpus = digest([chain.id for chain in chains])
    return {"chains": len(chains), "problems": len({c.problem for c in chains}), "teachers": teachers, "corpus": corpus} | says


@dataclasses.dataclass(frozen=True)
class Sampled:
    """What a teacher gave: ``chains`` by problem and path, ``errors`` of asks that failed, and how many were not asked since the
    budget had no room or the teacher gave nothing any more (``stopped`` says which, and how to go on).
    ``endpoints``: what each was found to do."""

    chains: list[Chain]
    errors: list[dict[str, Any]]
    unasked: int = 0
    stopped: str = ""
    endpoints: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


def import_recorded(teacher: Teacher, problems: Path) -> tuple[list[Chain], Mapping[str, Any]]:
    """The recorded chains of the training problems. Those of other splits are left out and counted, never used."""
    known = {p.id: p for p in read_rows(problems / "problems.parquet", Problem)}
    paths = [Path(name) for name in teacher.chains]
    chains, report = import_chains(paths, problems=known, fields=dict(teacher.fields), prefer=teacher.prefer, format=teacher.format)
    train = [chain for chain in chains if known[chain.problem].split == "train"]
    if not train:
        raise DataError(
            f"teacher.chains: none of the {len(chains)} chains belongs to a training question; see task.sizes, task.splits"
        )
    return train, report.to_json() | {"of other splits": len(chains) - len(train)}


def sample(
    problems: list[Problem],
    teacher: Teacher,
    arguments: Mapping[str, Any],
    *,
    pool: StudyPool,
    ledger: Path,
    progress: Progress,
) -> Sampled:
    """Ask the teacher for ``teacher.samples`` chains per problem, or as many in all, shared out as its ``allocation`` says; replies
    that the ledger has are not asked again.

    Raises StudyError where the budget ends before a single chain has come, EngineError where none comes.
    """
    with Ledger(ledger, price=teacher.price, budget=teacher.budget) as store:
        sampling = sampling_of(problems, teacher, arguments, pool)
        with Account(store, sampling.total) as account:
            engine = over(store, make_teacher(teacher, arguments), teacher, seed=arguments["seed"], progress=progress)
            paths = teacher.samples if teacher.temperature else 1
            endpoints = probed(engine, store, paths=paths, tell=lambda line: progress("chains", 0, 0, line))
            account.begin()
            found = sample_chains(sampling, engine, store, account, progress)
    errors = [dataclasses.asdict(failure) for failure in found.failures]
    return Sampled(found.chains, errors, found.unasked, found.stopped, endpoints)


def sampling_of(problems: list[Problem], teacher: Teacher, arguments: Mapping[str, Any], pool: StudyPool) -> Sampling:
    """Which chains are wanted of the teacher."""
    method = build(find("method", teacher.method), dict(teacher.options), "teacher.options")
    return Sampling(
        problems,
        lambda problem, path: method.sample(problem, path, pool),
        lambda problem, chain: check(problem, chain, find("check", arguments["judged_by"])),
        samples=teacher.samples,
        allocation=teacher.allocation,
        decoding=Decoding(teacher.temperature, teacher.top_p),
        seed=arguments["seed"],
        first_look=teacher.first_look,
    )


def over(store: Ledger, engine: Engine, teacher: Teacher, *, seed: int, progress: Progress) -> Engine:
    """``engine`` as the teacher is to be asked: in batches where the study says so. Those in
    ``store`` that have not ended are gone on with.
    """
    if teacher.engine != "endpoint":
        return engine
    from understudy.engines.remote.batch.engine import BatchEngine
    from understudy.engines.remote.endpoint import EndpointEngine
    from understudy.sampling.jobs import LedgerJobs

    assert isinstance(engine, EndpointEngine)
    jobs = LedgerJobs(store, engine.identity, seed)
    if not teacher.batch and not jobs.any():
        return engine
    return BatchEngine(
        engine, jobs, batch=teacher.batch, poll=teacher.poll, tell=lambda line: progress("teacher", 0, 0, printable(line))
    )


def make_teacher(teacher: Teacher, arguments: Mapping[str, Any]) -> Engine:
    """The engine that plays the teacher."""
    if teacher.engine == "transformers":
        from understudy.engines.local.engine import TransformersEngine

        assert teacher.checkpoint is not None
        return TransformersEngine(Path(teacher.checkpoint), dtype=teacher.precision, seed=arguments["seed"])
    if teacher.engine == "endpoint":
        from understudy.engines.remote.endpoint import EndpointEngine

        return EndpointEngine(
            teacher.url,
            teacher.model,
            api=teacher.api,
            key_env=teacher.key_env,
            timeout=teacher.timeout,
            retries=teacher.retries,
            requests_per_minute=teacher.requests_per_minute,
            tokens_per_minute=teacher.tokens_per_minute,
            stream=teacher.stream,
            logprobs=teacher.logprobs,
            identity=teacher.identity,
            n=teacher.n,
            concurrency=teacher.concurrency,
        )
    from understudy.engines.procedural import ProceduralEngine

    world = build(find("task", arguments["task"]), dict(arguments["task_options"]), "task")
    return ProceduralEngine(world, slip=teacher.slip, misread=teacher.misread, seed=arguments["seed"])
