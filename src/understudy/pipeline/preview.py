"""Show what a study would ask before it asks much: the first prompt of each kind, the number of teacher requests, and the teacher's
replies to a few questions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from understudy.checks.judge import judge
from understudy.core.asks import GREEDY, GREEDY_PATH, Call, Reply, Request, SamplePath, prompt_bytes
from understudy.core.errors import BudgetError, DataError
from understudy.core.prompt_format import show_prompt
from understudy.core.protocols import AsyncEngine, Engine, silent
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, Verdict, grouped
from understudy.engines.local.checkpoint import read_config, read_context
from understudy.engines.local.device import settle_device
from understudy.engines.remote.options import Endpoint
from understudy.engines.scripted import ScriptedEngine
from understudy.pipeline.connect import Capabilities, remember
from understudy.pipeline.plan import Plan, make_plan
from understudy.pipeline.run import hold_run
from understudy.pipeline.stages.answers import AnswersStage, TeacherPlayer
from understudy.pipeline.stages.chains import RecordedChainsStage, SampledChainsStage
from understudy.pipeline.stages.problems import ProblemsStage, make_pool
from understudy.pipeline.stages.student import StudentStage
from understudy.sampling.budget import BYTES_PER_TOKEN, NOTHING, Price, Spend, compute_maximum
from understudy.sampling.ledger import Ledger
from understudy.sampling.sample import Sampling, iter_chains
from understudy.studies.study import Study
from understudy.training.memory import estimate, format_size, measure_free, plan_shape, settle_micro_batch

LETTERS = 258
"""The tokens of a vocabulary of words before its words: bytes, padding, end."""


@dataclass
class TeacherRequests:
    """What is still to be asked of the teacher for the whole corpus. Later turns of a flow do not count."""

    total: int = 0
    """Chains of the corpus."""
    in_ledger: int = 0
    """Chains whose reply is in the ledger."""
    in_batches: int = 0
    """Chains that a provider's batch under way will bring."""
    maximum: Spend = NOTHING
    """The requests to send, each for up to ``n`` replies, and the most that they may cost."""
    maximum_if_single: Spend = NOTHING
    """The same, if each request gives only one reply: one for each reply to ask for. Without sampling, equal requests share one."""
    paid: bool = False
    """Whether the teacher is an endpoint; the fields that follow are known only then."""
    n: int = 1
    probed: bool = True
    """Whether it is known how many replies a request gets."""
    prompts: int = 0
    """Bytes of the requests' prompts."""
    means: tuple[float, float] | None = None
    """Tokens that a request read and a reply wrote so far, on average."""
    spent: Spend = NOTHING
    """What the ledger has been charged so far."""
    under_other_engines: Counter[str] = field(default_factory=Counter)
    """Identities of the same model at another address -> how many of the replies are in the ledger under them."""

    def add(self, request: Request, price: Price | None, *, shared: bool) -> None:
        """Count a reply to ask for; ``shared``: the previous request also asks for it."""
        cost = compute_maximum(request, price)
        self.maximum_if_single += cost
        if shared:
            self.maximum += Spend(0, 0, cost.written, price.of(0, cost.written) if price else 0.0)
            return
        self.prompts += prompt_bytes(request.ask.prompt)
        self.maximum += cost

    @property
    def remaining(self) -> int:
        return self.total - self.in_ledger - self.in_batches

    @property
    def expected(self) -> tuple[float, float | None]:
        """The tokens (read, written) of what is still to be asked, by the averages of the ledger's replies. Without any replies,
        the tokens read follow from `BYTES_PER_TOKEN`, and those written are unknown (None)."""
        if self.means is None:
            return self.prompts / BYTES_PER_TOKEN, None
        return self.maximum.requests * self.means[0], self.maximum_if_single.requests * self.means[1]


@lru_cache(maxsize=1)  # a dry run needs them three times
def load_problems(stage: ProblemsStage) -> list[Problem]:
    """Make the study's problems, without needing any finished stage."""
    return stage.prepare().problems


def count_requests(plan: Plan, run: Path) -> TeacherRequests | None:
    """Count the teacher's first requests, and those already in the ledger of ``run``; None if it is asked for no chains."""
    stage = plan.chains
    if not isinstance(stage, SampledChainsStage) or not stage.needed:
        return None
    teacher = stage.teacher
    sampling = stage.sampling(load_problems(plan.problems))
    ledger, paid = run / "ledger.sqlite", stage.engine.paid
    if not ledger.is_file() and not paid:
        return TeacherRequests(sampling.total, maximum=Spend(sampling.total))
    engine = stage.engine.open(task=plan.problems.task, seed=stage.seed)
    block = teacher.allocation.first if teacher.allocation else sampling.total
    with ExitStack() as stack:
        store = stack.enter_context(Ledger(ledger, price=teacher.price, readonly=True)) if ledger.is_file() else None
        probed, identities = _recall_endpoint(engine, store)
        requests = TeacherRequests(paid=paid, n=engine.n if isinstance(engine, AsyncEngine) else 1, probed=probed)
        if paid and store is not None:
            requests.means, requests.spent = store.compute_means(engine.identity), store.spent
        batched = store.list_batched() if store is not None else frozenset()
        keys: set[str] = set()
        previous: tuple[Request, int] | None = None
        room = 0
        for path, flow in sampling.flows(_choose_paths(sampling, engine.identity, store)):
            ask = _take_first_call(flow)
            if ask is None:
                continue
            requests.total += 1
            decoding = GREEDY if path.index == GREEDY_PATH else ask.decoding or sampling.decoding
            request = Request(ask, decoding, path.index if decoding.temperature else 0)
            key, round_ = request.key(engine.identity), path.index // block
            if store is not None and store.get(key) is not None:
                requests.in_ledger += 1
                continue
            if key in batched:
                requests.in_batches += 1
                continue
            for identity in identities:
                requests.under_other_engines[identity] += store is not None and store.get(request.key(identity)) is not None
            if key not in keys:  # greedy: one reply for all paths
                keys.add(key)
                # The driver shares a request between consecutive asks of one round that differ only in their path.
                shared = bool(room and previous and previous[1] == round_ and previous[0].differs_in_path(request))
                requests.add(request, teacher.price, shared=shared)
                room = room - 1 if shared else requests.n - 1
                previous = request, round_
    return requests


def count_answers(plan: Plan, run: Path) -> Spend | None:
    """Return the most that the first requests of arms in which the teacher answers may still cost; None if no arm asks it."""
    problems, total = load_problems(plan.problems), NOTHING
    stages = [stage for stage in plan.stages.values() if isinstance(stage, AnswersStage) and stage.teacher and not stage.done(run)]
    for stage in stages:
        pool = make_pool(problems, stage.exemplars, prompts=stage.prompts)
        for problem in (problem for problem in problems if problem.split == stage.split):
            calls = _take_first_calls(stage.method.solve(problem.blind(), SamplePath(problem.id, 0, stage.study_seed), pool))
            calls_of_teacher = [call for call in calls if isinstance(stage.cast[call.role], TeacherPlayer)]
            price = stage.teacher.price if stage.teacher else None
            costs = [compute_maximum(Request(call, stage.decoding, 0), price) for call in calls_of_teacher]
            total = sum(costs * stage.votes, total)
    return total if stages else None


def _recall_endpoint(engine: Engine, store: Ledger | None) -> tuple[bool, list[str]]:
    """Tell an endpoint what ``store`` recorded about it. Return whether it is known how many replies a request gets, and the
    identities in ``store`` that differ from that of ``engine`` only in their address."""
    from understudy.engines.remote.endpoint import EndpointEngine

    if store is None or not isinstance(engine, EndpointEngine):
        return not isinstance(engine, AsyncEngine) or engine.n == 1, []
    remember(engine, store.capabilities(engine.identity))
    same_model = [identity for identity in store.list_engines() if identity != engine.identity and identity.endswith(engine.model)]
    return engine.n == 1 or all(address.takes_n for address in engine.addresses), same_model


def _choose_paths(sampling: Sampling, identity: str, store: Ledger | None) -> Mapping[str, range]:
    """Return the teacher's paths: the same number for each problem, or as an allocation decides by the replies in ``store``. The
    allocation of the rest is unknown: the estimate gives it to the problems that have the fewest."""
    if sampling.allocation is None:
        return next(sampling.plan_rounds())
    paths = Counter({problem.id: 0 for problem in sampling.problems})
    if store is not None:

        def refuse(_: Request) -> Reply:
            raise BudgetError("not asked yet")

        recorded = ScriptedEngine(refuse, identity=identity)
        for done in iter_chains(sampling, recorded, store):
            paths[done.path.problem] += 1
    while (remaining := sampling.total - paths.total()) > 0:
        minimum = min(paths.values())
        for name in [name for name, n in paths.items() if n == minimum][:remaining]:
            paths[name] += 1
    return {name: range(n) for name, n in paths.items()}


def estimate_memory(plan: Plan, stage: StudentStage) -> str:
    """Estimate the most memory that the training of ``stage`` takes, with its context and micro-batch, as if every example were as
    long as the context.

    The vocabulary of a student from scratch is estimated as the words of the training questions; the chains' words come on top.
    """
    student, options, words = stage.student, stage.training, 0
    context = student.context
    if student.checkpoint is None:
        words = len({word for p in load_problems(plan.problems) if p.split == "train" for word in p.question.split()}) + LETTERS
    else:
        context = min(context, read_context(read_config(Path(student.checkpoint))) or context)
    shape = plan_shape(student, vocabulary=words)
    source, target = (context, context) if shape.encoder else (context // 2, context - context // 2)
    memory = estimate(shape, options, source=source, target=target)
    remaining = None if (free := measure_free(settle_device(options.device))) is None else free - memory.weights
    examples = max(1, settle_micro_batch(memory, options, examples=options.batch_size * options.chains_per_visit, free=remaining))
    lacks = f" (only {format_size(free)} free)" if free is not None and memory.total(examples) > free else ""
    return f"{format_size(memory.total(examples))}{lacks} at {context} tokens, {examples} at once"


def list_first_prompts(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (what it is, the filled-in prompt) for the teacher, and for the first turn of each method's answers."""
    study, problems = plan.study, load_problems(plan.problems)
    if isinstance(plan.chains, SampledChainsStage) and plan.chains.needed:
        sampling = plan.chains.sampling(problems)
        entry = next(sampling.flows({problem.id: range(1) for problem in sampling.problems}), None)
        ask = _take_first_call(entry[1]) if entry else None
        if ask is not None:
            yield f"teacher ({study.teacher.method})", show_prompt(ask.prompt)
    plan.problems.check_splits(problems)
    evaluated = next(p for p in problems if p.split in study.evaluation.splits)
    for arm, *_ in grouped((arm.method, arm) for arm in study.arms).values():
        stage: Any = next(stage for place, stage in plan.places.items() if (place.arm, place.what) == (arm.name, "answers"))
        pool = make_pool(problems, study.exemplars, prompts=stage.prompts)
        ask = _take_first_call(stage.method.solve(evaluated.blind(), SamplePath(evaluated.id, 0, study.seed), pool))
        if ask is not None:
            yield f"{'teacher' if arm.model == 'teacher' else ask.role} ({arm.method})", show_prompt(ask.prompt)


def _take_first_call(flow: Any) -> Call | None:
    """Return the first `Call` that a flow asks, or None if it asks nothing."""
    return next(iter(_take_first_calls(flow)), None)


def _take_first_calls(flow: Any) -> Sequence[Call]:
    """Return the calls that a flow asks first, all at once."""
    ask: Call | Sequence[Call] | None = next(flow, None)
    flow.close()
    return ask if isinstance(ask, Sequence) else [ask] if ask else ()


class TrialQuestion(NamedTuple):
    """One question with its chain and verdict, or with the ``error`` if the request failed."""

    problem: Problem
    chain: Chain | None
    verdict: Verdict | None
    error: str = ""


class Trial(NamedTuple):
    """The questions ``tried`` on the teacher of ``plan``. ``endpoints``: the capabilities of each address
    (`engines.remote.probe`)."""

    plan: Plan
    tried: list[TrialQuestion]
    endpoints: Capabilities


def try_teacher(study: Study, directory: Path, n: int) -> Trial:
    """Ask the teacher for its first chain for each of the first ``n`` training questions.

    Replies go into the ledger of ``directory``, where the run finds them, so nothing is bought twice. Raises what a run raises:
    StudyError, DataError, EngineError if no request succeeds.
    """
    plan = make_plan(study)
    problems = load_problems(plan.problems)
    train = [problem for problem in problems if problem.split == "train"]
    if not train:
        raise DataError("the task has no training question to try")
    stage = plan.chains
    if isinstance(stage, RecordedChainsStage):
        by_id = {problem.id: problem for problem in train}
        chains, _ = stage.engine.read(by_id)
        return Trial(plan, [_judge(study, by_id[chain.problem], chain) for chain in islice(chains, n)], {})
    assert isinstance(stage, SampledChainsStage)
    with hold_run(directory):
        # Not in a batch: whoever tries does not wait a day for one.
        engine = replace(stage.engine, batch=False) if isinstance(stage.engine, Endpoint) else stage.engine
        trial = replace(stage, teacher=replace(stage.teacher, samples=1, allocation=None, first_look=0), engine=engine)
        sampling = trial.sampling(problems)._replace(problems=train[:n])
        sampled, endpoints = trial.sample(sampling, directory / "ledger.sqlite", silent, trial=True)
    replies = {chain.problem: chain for chain in sampled.chains}
    failed = {error.problem: error.error for error in sampled.failures}
    return Trial(plan, [_judge(study, p, replies.get(p.id), failed.get(p.id, sampled.stopped)) for p in train[:n]], endpoints)


def _judge(study: Study, problem: Problem, chain: Chain | None, error: str = "") -> TrialQuestion:
    if chain is None:
        return TrialQuestion(problem, None, None, error)
    name = study.checks[0]
    return TrialQuestion(problem, chain, judge(problem, chain, find("check", name), name))
