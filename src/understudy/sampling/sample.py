"""Samples chains: gives problems to a teacher, round by round, and collects the chains that it writes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from understudy.core.answers import answer_key
from understudy.core.asks import GREEDY, GREEDY_PATH, Decoding, Flow, SamplePath, amend
from understudy.core.errors import EngineError, StudyError
from understudy.core.protocols import Engine, Progress, ReplyStore
from understudy.core.values import Chain, FailedAsk, Outcome, Problem
from understudy.corpus.spool import Spool
from understudy.flows.board import Done, OnEnd
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.account import Account
from understudy.sampling.allocation import Allocation, Draw, Rounds, plan_rounds
from understudy.sampling.first_look import Judge, first_look


class Sampling(NamedTuple):
    """Which chains to sample: ``samples`` for each of ``problems``, or as many in all, distributed by ``allocation``; with
    ``greedy`` one more for each, on the path `GREEDY_PATH`.

    ``begin`` begins the flow that writes one chain: a method's `sample` with its pool. ``decoding`` is the teacher's, ``judge``
    gives the verdict on a chain, ``seed`` is the study's. After ``first_look`` chains a line describes them; 0: never.
    ``rationales``: a chain without one is useless."""

    problems: Sequence[Problem]
    begin: Callable[[Problem, SamplePath], Flow[Chain]]
    judge: Judge
    samples: int = 1
    allocation: Allocation | None = None
    decoding: Decoding = GREEDY
    seed: int = 0
    first_look: int = 0
    rationales: bool = True
    greedy: bool = False

    @property
    def total(self) -> int:
        """The number of chains in all."""
        return len(self.problems) * (self.samples + self.greedy)

    def plan_rounds(self) -> Rounds:
        """Yield which paths of which problems to ask for, round by round; without an allocation, all of them in one round."""
        names = [problem.id for problem in self.problems]
        if self.allocation is None:
            yield dict.fromkeys(names, range(GREEDY_PATH if self.greedy else 0, self.samples))
        else:
            yield from plan_rounds(names, self.total, self.allocation)

    def flows(self, paths: Mapping[str, range]) -> Iterator[tuple[SamplePath, Flow[Chain]]]:
        """Yield one flow for each of ``paths`` (problem id -> path indices), begun when it is taken."""
        for problem in self.problems:
            for index in paths.get(problem.id, ()):
                path = SamplePath(problem.id, index, self.seed)
                yield path, self.begin(problem, path)


class Sample(NamedTuple):
    """The ``chains`` that a teacher wrote, in the order of problems and paths, and its ``failures``. ``unasked`` chains were not
    asked for because the budget was spent or the teacher stopped answering; ``stopped`` says which, and how to continue."""

    chains: Spool
    failures: list[FailedAsk]
    unasked: int = 0
    stopped: str = ""


def sample(sampling: Sampling, engine: Engine, account: Account, report: Progress) -> Sample:
    """Ask ``engine`` for all chains of ``sampling``. ``account`` counts them; replies that its ledger has are not asked for again.
    ``report`` shows the progress.

    Raises StudyError if the budget ends before a single chain has come, or the first chains are useless; EngineError if none comes
    at all.
    """
    last_report = 0.0
    first: list[Done[Chain]] = []

    def on_end(done: Done[Chain]) -> None:
        nonlocal last_report
        account.note(done)
        if len(first) < sampling.first_look and not done.unasked:
            first.append(done)
            if len(first) == sampling.first_look:
                report("chains", 0, 0, _describe_first(sampling, first))
        # At most 20 messages a second.
        if (now := time.monotonic()) - last_report > 0.05 or account.done == account.total:
            report("chains", account.done, account.total, account.summary())
            last_report = now

    chains, order = Spool(), {problem.id: index for index, problem in enumerate(sampling.problems)}
    failures: list[FailedAsk] = []
    for done in iter_chains(sampling, engine, account.store, on_end=on_end):
        if done.value is not None:
            chains.put(order[done.path.problem], done.path.index, amend(done.value, teacher=engine.identity))
        elif not done.unasked:
            failures.append(FailedAsk(done.path.problem, done.path.index, str(done.error)))
    if not chains:
        raise _explain_nothing(account, failures)
    if 0 < len(first) < sampling.first_look:
        report("chains", 0, 0, _describe_first(sampling, first))
    missing = account.total - len(chains)
    unasked = missing - len(failures)
    return Sample(chains, failures, unasked, _explain_stop(account, failures, missing) if unasked else "")


def iter_chains(sampling: Sampling, engine: Engine, store: ReplyStore, *, on_end: OnEnd = lambda _: None) -> Iterator[Done[Chain]]:
    """Yield every chain as it ends, in one round or in those of an allocation. If a round could not be asked for completely, it is
    the last."""
    problems = {problem.id: problem for problem in sampling.problems}
    cast = Cast({"teacher": engine}, {"teacher": sampling.decoding}, store=store, seed=sampling.seed)
    rounds = sampling.plan_rounds()
    paths = next(rounds, None)
    while paths:
        draws: dict[str, dict[int, Draw]] = {name: {} for name in paths}
        for done in run_flows(sampling.flows(paths), cast, on_end=on_end):
            if sampling.allocation is not None and not done.unasked:
                draws[done.path.problem][done.path.index] = _make_draw(sampling, done.value, problems[done.path.problem])
            yield done
        if sampling.allocation is None or any(len(draws[name]) < len(indices) for name, indices in paths.items()):
            return
        try:
            paths = rounds.send({name: [draws[name][index] for index in indices] for name, indices in paths.items()})
        except StopIteration:
            return


def _make_draw(sampling: Sampling, chain: Chain | None, problem: Problem) -> Draw:
    """Make the draw that the allocation sees of a chain (None: its call failed)."""
    if chain is None or chain.finish != "stop":
        return Draw(None)
    answer = None if chain.answer is None else answer_key(chain.answer)
    needs_right = sampling.allocation is not None and sampling.allocation.right > 0
    return Draw(answer, needs_right and sampling.judge(problem, chain).outcome is Outcome.CORRECT)


def _describe_first(sampling: Sampling, first: Sequence[Done[Chain]]) -> str:
    chains = [done.value for done in first if done.value is not None]
    errors = [str(done.error) for done in first if done.value is None]
    problems = {problem.id: problem for problem in sampling.problems}
    drawn = sampling.decoding.temperature > 0
    return first_look(chains, errors, problems, sampling.judge, drawn=drawn, rationales=sampling.rationales)


def _explain_nothing(account: Account, failures: Sequence[FailedAsk]) -> StudyError | EngineError:
    """Make the error to raise if no chain came."""
    store = account.store
    first = f"; the first error: {failures[0].error}" if failures else ""
    if not account.unasked or store.budget is None:
        return EngineError(f"the teacher wrote no chain at all{first}")
    return StudyError(
        f"teacher.budget has no room for another request ({store.budget.explain(store.spent, store.refused)}), and no chain was "
        f"received{first}; raise it and run the same command again, or look at the prompts with `understudy try`"
    )


def _explain_stop(account: Account, failures: Sequence[FailedAsk], missing: int) -> str:
    """Say why chains are missing, and how to continue."""
    advice = f"{missing:,} of {account.total:,} chains are missing, the others are the corpus; to continue,"
    if account.unasked and account.store.budget is not None:
        spent = account.store.budget.describe(account.store.spent)
        return f"the budget is spent ({spent}): {advice} raise teacher.budget and run the same command again"
    return f"the teacher stopped answering ({failures[-1].error}): {advice} run the same command again"
