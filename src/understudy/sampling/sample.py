"""The sampling of a corpus: which paths of which problems are asked for, round by round, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from understudy.checks.judge import judge
from understudy.core.asks import Decoding, Flow
from understudy.core.asks import Path as SamplePath
from understudy.core.errors import EngineError, StudyError
from understudy.core.protocols import Check, Engine, Method, Progress, ReplyStore
from understudy.core.values import Chain, FailedAsk, Outcome, Problem
from understudy.flows.board import Done
from understudy.flows.run import ended
from understudy.sampling.account import Account
from understudy.sampling.allocation import Allocation, Given, Rounds, rounds
from understudy.sampling.budget import Budget, Spend
from understudy.sampling.first_look import first_look
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool


@dataclass(frozen=True)
class Sampling:
    """What a corpus is sampled with. ``samples``: chains per problem, or as many in all as ``allocation`` shares out. ``check``
    judges the first replies, and what an allocation wants right chains of."""

    problems: list[Problem]
    method: Method
    pool: StudyPool
    samples: int
    allocation: Allocation | None
    decoding: Decoding
    seed: int
    check: Check
    check_name: str
    first_look: int
    budget: Budget | None

    @property
    def total(self) -> int:
        """Chains in all."""
        return len(self.problems) * self.samples

    def rounds(self) -> Rounds:
        """Which paths of which problems are asked for, round by round."""
        alike = Allocation(first=self.samples, most=self.samples)
        return rounds([problem.id for problem in self.problems], self.total, self.allocation or alike)

    def flows(self, paths: Mapping[str, range]) -> Iterator[tuple[SamplePath, Flow[Chain]]]:
        """One flow for each sample path, made when it begins."""
        by_id = {problem.id: problem for problem in self.problems}
        for name, indices in paths.items():
            for index in indices:
                path = SamplePath(name, index, self.seed)
                yield path, self.method.sample(by_id[name], path, self.pool)

    def judge(self, problem: Problem, chain: Chain | None) -> Given:
        """What an allocation looks at of a chain; None where its ask failed."""
        if chain is None or chain.finish != "stop":
            return Given(None)
        if self.allocation is None or not self.allocation.right:
            return Given(chain.answer)
        return Given(chain.answer, judge(problem, chain, self.check, self.check_name).outcome is Outcome.CORRECT)


@dataclass(frozen=True)
class SampledChains:
    """What a teacher wrote: ``chains`` by problem and path, ``errors`` of asks that failed, and how many were not asked for
    (``unasked``) since the budget had no room or the teacher stopped answering (``stopped`` says which, and how to go on)."""

    chains: list[Chain]
    errors: list[FailedAsk]
    unasked: int = 0
    stopped: str = ""


def sample_chains(sampling: Sampling, engine: Engine, ledger: Ledger, *, concurrency: int, progress: Progress) -> SampledChains:
    """Ask ``engine`` for all chains of ``sampling``; replies that ``ledger`` has are not asked for again.

    Raises StudyError where the budget ends before a single chain has come, EngineError where none comes.
    """
    by_id = {problem.id: problem for problem in sampling.problems}
    first: list[Done[Chain]] = []

    def look() -> None:
        chains = [done.value for done in first if done.value is not None]
        failed = [str(done.error) for done in first if done.value is None]
        drawn = sampling.decoding.temperature > 0
        progress("chains", 0, 0, first_look(chains, failed, by_id, sampling.check, drawn=drawn))

    def on_end(done: Done[Chain]) -> None:
        account.ended(done)
        progress("chains", account.done, sampling.total, account.told())
        if len(first) < sampling.first_look and not done.unasked:
            first.append(done)
            if len(first) == sampling.first_look:
                look()

    chains, errors, poor = [], [], False
    with Account(ledger, sampling.total) as account:
        account.begin()
        before = ledger.spent
        for done in ask_for_chains(sampling, engine, ledger, concurrency=concurrency, on_end=on_end):
            if done.unasked:
                poor = True
            elif done.value is None:
                errors.append(FailedAsk(done.path.problem, done.path.index, done.error or ""))
            else:
                chains.append(replace(done.value, teacher=engine.identity))
    spent = ledger.spent
    unasked = sampling.total - len(chains) - len(errors)
    if not chains:
        if poor and sampling.budget is not None:
            raise StudyError(_too_little(sampling.budget, before, spent, ledger.refused, errors))
        raise EngineError(f"the teacher wrote no chain at all; its first error: {errors[0].error if errors else 'none'}")
    if first and len(first) < sampling.first_look:
        look()
    order = {problem.id: i for i, problem in enumerate(sampling.problems)}
    chains.sort(key=lambda chain: (order[chain.problem], chain.path))
    return SampledChains(chains, errors, unasked, _why_stopped(sampling, len(chains), errors, unasked, poor, spent))


def ask_for_chains(
    sampling: Sampling, engine: Engine, store: ReplyStore, *, concurrency: int, on_end: Callable[[Done[Chain]], None]
) -> Iterator[Done[Chain]]:
    """Every chain as it ends, in one round or in those of an allocation. A round that was not asked for whole is the last."""
    by_id = {problem.id: problem for problem in sampling.problems}
    asking = sampling.rounds()
    paths = next(asking, None)
    while paths:
        came: dict[str, dict[int, Given]] = {name: {} for name in paths}
        whole = True
        for done in ended(
            sampling.flows(paths),
            {"teacher": engine},
            store=store,
            decoding={"teacher": sampling.decoding},
            seed=sampling.seed,
            on_end=on_end,
            concurrency=concurrency,
        ):
            whole &= not done.unasked
            came[done.path.problem][done.path.index] = sampling.judge(by_id[done.path.problem], done.value)
            yield done
        if not whole or any(len(came[name]) < len(indices) for name, indices in paths.items()):
            return
        try:
            paths = asking.send({name: [came[name][index] for index in indices] for name, indices in paths.items()})
        except StopIteration:
            return


def _why_stopped(  # noqa: PLR0917
    sampling: Sampling, came: int, errors: list[FailedAsk], unasked: int, poor: bool, spent: Spend
) -> str:
    missing = f"{sampling.total - came:,} of {sampling.total:,} chains are missing, the others are the corpus; to go on,"
    if poor and sampling.budget is not None:
        return f"the budget is spent ({sampling.budget.told(spent)}): {missing} raise teacher.budget and run the same command again"
    if unasked:
        return f"the teacher stopped answering ({errors[-1].error}): {missing} run the same command again"
    return ""


def _too_little(budget: Budget, before: Spend, spent: Spend, refused: Spend, errors: list[FailedAsk]) -> str:
    """Why no chain came: ``spent`` is what all requests took, ``before`` what those before the first chain did, ``refused`` what
    the one that found no room may take."""
    if spent == before and not errors:
        return (
            f"teacher.budget has no room for a single request, so no chain was asked for ({budget.short(spent, refused)}); "
            "raise it and run the same command again"
        )
    failed = f"; the first error: {errors[0].error}" if errors else ""
    return f"the budget is spent ({budget.told(spent)}) and no chain has come{failed}; raise teacher.budget, or see what is asked"
