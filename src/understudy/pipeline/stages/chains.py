"""chains: what the teacher wrote for the training problems, sampled through the ledger or imported from files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.checks.answer import check
from understudy.core.asks import Decoding, Flow
from understudy.core.asks import Path as SamplePath
from understudy.core.errors import DataError, EngineError, StudyError
from understudy.core.protocols import Engine, Progress, ReplyStore
from understudy.core.registry import find
from understudy.core.values import Chain, Outcome, Problem, digest
from understudy.corpus.card import card_of, inherit_terms, name_sources
from understudy.corpus.import_ import import_chains
from understudy.corpus.store import read_rows, write_rows
from understudy.flows.board import Done
from understudy.flows.run import ended
from understudy.pipeline.cache import write_json
from understudy.pipeline.capabilities import probed
from understudy.pipeline.exemplars import exemplar_pool
from understudy.reports.words import printable
from understudy.sampling.account import Account
from understudy.sampling.allocation import Allocation, Given, Rounds, rounds
from understudy.sampling.budget import Budget, Spend
from understudy.sampling.first_look import first_look
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
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
    terms, licence = inherit_terms(map(Path, teacher.chains), **arguments["corpus"])
    card = card_of(chains, terms=terms, licence=licence, sources=name_sources(arguments["files"]), sampling=sampling)
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
    made = make_teacher(teacher, arguments)
    by_id = {problem.id: problem for problem in problems}
    total = len(problems) * teacher.samples
    first: list[Done[Chain]] = []

    def look() -> None:
        got = [done.value for done in first if done.value is not None]
        failed = [str(done.error) for done in first if done.value is None]
        by = find("check", arguments["judged_by"])
        progress("chains", 0, 0, first_look(got, failed, by_id, by, drawn=teacher.temperature > 0))

    def on_end(done: Done[Chain]) -> None:
        account.ended(done)
        progress("chains", account.done, total, account.told())
        if len(first) < teacher.first_look and not done.unasked:
            first.append(done)
            if len(first) == teacher.first_look:
                look()

    chains, errors, poor = [], [], False
    with Ledger(ledger, price=teacher.price, budget=teacher.budget) as store, Account(store, total) as account:
        engine, concurrency = over(store, made, teacher, seed=arguments["seed"], progress=progress)
        paths = teacher.samples if teacher.temperature else 1
        endpoints = probed(engine, store, paths=paths, tell=lambda line: progress("chains", 0, 0, line))
        account.begin()
        before = store.spent
        asked = sampled(problems, teacher, arguments, pool=pool, engine=engine, concurrency=concurrency, store=store, on_end=on_end)
        for done in asked:
            if done.unasked:
                poor = True
            elif done.value is None:
                errors.append({"problem": done.path.problem, "path": done.path.index, "error": done.error})
            else:
                chains.append(dataclasses.replace(done.value, teacher=engine.identity))
        spent = store.spent
    unasked = total - len(chains) - len(errors)
    stopped, missing = "", f"{total - len(chains):,} of {total:,} chains are missing, the others are the corpus; to go on,"
    if poor and teacher.budget is not None:
        if not chains:
            raise StudyError(_too_little(teacher.budget, before, spent, store.refused, errors))
        stopped = (
            f"the budget is spent ({teacher.budget.told(spent)}): {missing} raise teacher.budget and run the same command again"
        )
    elif unasked and chains:
        stopped = f"the teacher gives nothing any more ({errors[-1]['error']}): {missing} run the same command again"
    if not chains:
        raise EngineError(f"the teacher gave no chain at all; its first error: {errors[0]['error'] if errors else 'none'}")
    if first and len(first) < teacher.first_look:
        look()
    order = {problem.id: i for i, problem in enumerate(problems)}
    return Sampled(sorted(chains, key=lambda c: (order[c.problem], c.path)), errors, unasked, stopped, endpoints)


def _too_little(budget: Budget, before: Spend, spent: Spend, refused: Spend, errors: list[dict[str, Any]]) -> str:
    """Why no chain came: ``spent`` is what all requests took, ``before`` what those before the first chain did, ``refused`` what
    the one that found no room may take."""
    if spent == before and not errors:
        return (
            f"teacher.budget has no room for a single request, so no chain was asked for ({budget.short(spent, refused)}); "
            "raise it and run the same command again"
        )
    failed = f"; the first error: {errors[0]['error']}" if errors else ""
    return f"the budget is spent ({budget.told(spent)}) and no chain has come{failed}; raise teacher.budget, or see what is asked"


def sampled(
    problems: list[Problem],
    teacher: Teacher,
    arguments: Mapping[str, Any],
    *,
    pool: StudyPool,
    engine: Engine,
    concurrency: int,
    store: ReplyStore,
    on_end: Callable[[Done[Chain]], None],
) -> Iterator[Done[Chain]]:
    """Every chain as it ends, in one round or in those of an allocation; a round that was not asked for whole is the last."""
    by_id = {problem.id: problem for problem in problems}
    asking = teacher_rounds(list(by_id), teacher)
    asked = next(asking, None)
    while asked:
        came: dict[str, dict[int, Given]] = {name: {} for name in asked}
        whole = True
        for done in ended(
            teacher_flows(by_id, asked, pool, teacher, arguments["seed"]),
            {"teacher": engine},
            store=store,
            decoding={"teacher": Decoding(teacher.temperature, teacher.top_p)},
            seed=arguments["seed"],
            on_end=on_end,
            concurrency=concurrency,
        ):
            whole &= not done.unasked
            came[done.path.problem][done.path.index] = given(done.value, by_id[done.path.problem], teacher, arguments)
            yield done
        if not whole or any(len(came[name]) < len(paths) for name, paths in asked.items()):
            return
        try:
            asked = asking.send({name: [came[name][index] for index in paths] for name, paths in asked.items()})
        except StopIteration:
            return


def teacher_rounds(problems: list[str], teacher: Teacher) -> Rounds:
    """Which paths of which problems the teacher is asked for, round by round."""
    alike = Allocation(first=teacher.samples, most=teacher.samples)
    return rounds(problems, len(problems) * teacher.samples, teacher.allocation or alike)


def given(chain: Chain | None, problem: Problem, teacher: Teacher, arguments: Mapping[str, Any]) -> Given:
    """What an allocation looks at of a chain, None where its ask failed."""
    if chain is None or chain.finish != "stop":
        return Given(None)
    if teacher.allocation is None or not teacher.allocation.right:
        return Given(chain.answer)
    return Given(chain.answer, check(problem, chain, find("check", arguments["judged_by"])).outcome is Outcome.CORRECT)


def teacher_flows(
    problems: Mapping[str, Problem], asked: Mapping[str, range], pool: StudyPool, teacher: Teacher, seed: int
) -> Iterator[tuple[SamplePath, Flow[Chain]]]:
    """One flow for each sample path that is ``asked`` for, made when asked for."""
    method = build(find("method", teacher.method), dict(teacher.options), "teacher.options")
    for name, paths in asked.items():
        for index in paths:
            path = SamplePath(name, index, seed)
            yield path, method.sample(problems[name], path, pool)


def over(store: Ledger, engine: Engine, teacher: Teacher, *, seed: int, progress: Progress) -> tuple[Engine, int]:
    """``engine`` as the teacher is to be asked, and how many requests at once: in batches where the study says so. Those in
    ``store`` that have not ended are gone on with.
    """
    if teacher.engine != "endpoint":
        return engine, teacher.concurrency
    from understudy.engines.remote.batch.engine import AT_ONCE, BatchEngine
    from understudy.engines.remote.endpoint import EndpointEngine
    from understudy.sampling.jobs import LedgerJobs

    assert isinstance(engine, EndpointEngine)
    jobs = LedgerJobs(store, engine.identity, seed)
    if not teacher.batch and not jobs.any():
        return engine, teacher.concurrency
    asked = BatchEngine(
        engine, jobs, batch=teacher.batch, poll=teacher.poll, tell=lambda line: progress("teacher", 0, 0, printable(line))
    )
    return asked, AT_ONCE if teacher.batch else teacher.concurrency


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
        )
    from understudy.engines.procedural import ProceduralEngine

    world = build(find("task", arguments["task"]), dict(arguments["task_options"]), "task")
    return ProceduralEngine(world, slip=teacher.slip, misread=teacher.misread, seed=arguments["seed"])
