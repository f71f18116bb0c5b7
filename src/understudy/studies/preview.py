"""What a study would ask, before anything is asked: the first prompt of each kind, the number of teacher requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace
from pathlib import Path
from typing import Any

from understudy.core.asks import Call, Decoding, Reply, Request, prompt_bytes
from understudy.core.asks import Path as SamplePath
from understudy.core.errors import BudgetError
from understudy.core.prompting import prompt_text
from understudy.core.protocols import Engine, ManyEngine
from understudy.core.values import Problem
from understudy.engines.checkpoint import read_config
from understudy.engines.scripted import ScriptedEngine
from understudy.sampling.budget import BYTES_PER_TOKEN, NOTHING, Price, Spend, worst
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
from understudy.studies.exemplars import exemplar_pool, mark_exemplars
from understudy.studies.jobs.chains import make_teacher, sampled, teacher_flows
from understudy.studies.options import Exemplars
from understudy.studies.plan import Plan, Stage
from understudy.studies.probing import remember
from understudy.studies.schema import build
from understudy.training.memory import Estimate, estimate, examples_at_once, free_memory, planned_shape
from understudy.training.options import StudentOptions, TrainingOptions

LETTERS = 258
"""Tokens of a vocabulary of words before its words: bytes, padding, end."""


@dataclass(frozen=True)
class TeacherRequests:
    """Chains of the whole corpus, how many of them the ledger has replies to, how many ``replies`` are to be asked for and in how
    many ``requests``: equal asks share one, up to ``n``. Later turns of a flow do not count.

    Of an endpoint: ``most``, what those requests take at the most, and ``alone``, what they do if each gives one reply only, which
    is not ``known`` before the endpoint was probed; ``prompts``, the bytes of theirs; ``means``, the tokens that a request read and
    a reply wrote by what the ledger has of it, on average; ``spent``, what the ledger has been charged with.
    """

    total: int
    bought: int
    replies: int = 0
    requests: int = 0
    n: int = 1
    known: bool = True
    most: Spend | None = None
    alone: Spend = NOTHING
    prompts: int = 0
    means: tuple[float, float] | None = None
    spent: Spend = NOTHING

    @property
    def left(self) -> int:
        return self.total - self.bought

    @property
    def expected(self) -> tuple[float, float | None]:
        """Tokens (read, written) of what is to be asked: as the ledger's replies on average; without any, `BYTES_PER_TOKEN`, and
        nobody knows how long replies will be."""
        if self.means is None:
            return self.prompts / BYTES_PER_TOKEN, None
        return self.requests * self.means[0], self.replies * self.means[1]


def load_problems(plan: Plan) -> list[Problem]:
    """The study's problems, made anew (cheap, and nothing has to be there), its exemplars among them."""
    study = plan.study
    options = exemplars_of(plan)
    return mark_exemplars(study.make_task().problems(seed=study.seed), options, seed=study.seed)


def pool_of(plan: Plan, problems: list[Problem]) -> StudyPool:
    """What the teacher's method sees besides a problem."""
    return exemplar_pool(problems, plan.study.exemplars, prompts=plan.stages[plan.chains].arguments["prompts"])


def exemplars_of(plan: Plan) -> Exemplars:
    """The study's exemplars, their file as a path that can be opened."""
    options = plan.study.exemplars
    return options if options.file is None else replace(options, file=str(plan.study.path_of(options.file)))


def teacher_requests(plan: Plan, run: Path) -> TeacherRequests | None:
    """Count the teacher's first asks and those already in the ledger of ``run``; None for recorded chains."""
    teacher = plan.study.teacher
    if teacher.engine == "recorded":
        return None
    problems = load_problems(plan)
    train = [problem for problem in problems if problem.split == "train"]
    ledger, paid = run / "ledger.sqlite", teacher.engine == "endpoint"
    chains = len(train) * teacher.samples
    if not ledger.is_file() and not paid:
        return TeacherRequests(chains, 0, chains, chains)
    engine = make_teacher(teacher, plan.stages[plan.chains].arguments)
    with ExitStack() as stack:
        store = None
        if ledger.is_file():
            store = stack.enter_context(Ledger.open(ledger, readonly=True, price=teacher.price))
        known = _remembered(engine, store)
        n = engine.n if isinstance(engine, ManyEngine) else 1
        counted = _Counted(teacher.price, n, engine.identity, store)
        pool = pool_of(plan, problems)
        by_id = {problem.id: problem for problem in train}
        asked = _asked(plan, train, pool, engine.identity, store)
        settled, block = Decoding(teacher.temperature, teacher.top_p), teacher.allocation.first if teacher.allocation else None
        for path, flow in teacher_flows(by_id, asked, pool, teacher, plan.study.seed):
            ask = _first_call(flow)
            if ask is not None:
                decoding = ask.decoding or settled
                request = Request(ask, decoding, path.index if decoding.temperature else 0, ask.attempt)
                counted.add(request, path.index // block if block else 0)
        total, bought, replies, requests = counted.total, counted.bought, len(counted.asked), counted.requests
        if not paid:
            return TeacherRequests(total, bought, replies, requests)
        means, spent = (store.means(engine.identity), store.spent) if store is not None else (None, NOTHING)
        most, alone = counted.most, counted.alone
        return TeacherRequests(total, bought, replies, requests, n, known, most, alone, counted.prompts, means, spent)


def _remembered(engine: Engine, store: Ledger | None) -> bool:
    """Let an endpoint know what ``store`` does of it; whether that says how many replies a request gets."""
    if not isinstance(engine, ManyEngine):
        return True
    from understudy.engines.endpoint import EndpointEngine

    if store is not None and isinstance(engine, EndpointEngine):
        remember(engine, store.capabilities(engine.identity))
        return engine.n == 1 or all(address.takes_n for address in engine.addresses)
    return engine.n == 1


class _Counted:
    """First asks, as the driver puts them into requests: those that follow one another and differ in their path only share one, up
    to ``n``, if they are of one round of an allocation."""

    def __init__(self, price: Price | None, n: int, identity: str, store: Ledger | None) -> None:
        self.price, self.n, self.identity, self.store = price, n, identity, store
        self.total = self.bought = self.requests = self.prompts = 0
        self.most = self.alone = NOTHING
        self.asked: set[str] = set()
        self._last: tuple[Request, int] | None = None
        self._room = 0

    def add(self, request: Request, round_: int) -> None:
        self.total += 1
        key = request.key(self.identity)
        if self.store is not None and self.store.get(key) is not None:
            self.bought += 1
            return
        if key in self.asked:  # greedy: one reply for all paths
            return
        self.asked.add(key)
        most = worst(request, self.price)
        self.alone += most
        last, self._last = self._last, (request, round_)
        if self._room and last is not None and last[1] == round_ and last[0].differs_in_path(request):
            self._room -= 1
            self.most += Spend(0, 0, most.written, self.price.of(0, most.written) if self.price else 0.0)
            return
        self._room = self.n - 1
        self.requests += 1
        self.prompts += prompt_bytes(request.ask.prompt)
        self.most += most


def _asked(plan: Plan, train: list[Problem], pool: StudyPool, identity: str, store: Ledger | None) -> Mapping[str, range]:
    """The teacher's paths: as many of each problem, or as an allocation goes by the replies that are in ``store``. What it will do
    with the rest nobody knows: that goes to the problems that have the fewest, to estimate what it takes."""
    teacher = plan.study.teacher
    paths = Counter({problem.id: 0 for problem in train})
    if teacher.allocation is not None and store is not None:

        def nobody(_: Request) -> Reply:
            raise BudgetError("it was not asked yet")

        known = ScriptedEngine(nobody, identity=identity)
        arguments = plan.stages[plan.chains].arguments
        for done in sampled(train, teacher, arguments, pool=pool, engine=known, concurrency=64, store=store, on_end=lambda _: None):
            paths[done.path.problem] += 1
    fewest = [(n, at, name) for at, (name, n) in enumerate(paths.items())]
    heapify(fewest)
    for _ in range(len(train) * teacher.samples - paths.total()):
        n, at, name = fewest[0]
        heapreplace(fewest, (n + 1, at, name))
    return {name: range(n) for n, _, name in sorted(fewest, key=lambda entry: entry[1])}


def student_memory(plan: Plan, stage: Stage) -> tuple[Estimate, int, int]:
    """What training a student stage takes at the most, its micro-batch, and the context: every example is as long as that.

    The vocabulary of a student from scratch is taken to be the words of the training questions; the chains' come on top.
    """
    student = build(StudentOptions, stage.arguments["student"], "student")
    options = build(TrainingOptions, stage.arguments["training"], "training")
    words = 0
    if student.checkpoint is None:
        words = len({word for p in load_problems(plan) if p.split == "train" for word in p.question.split()}) + LETTERS
    shape = planned_shape(student, vocabulary=words)
    context = student.context
    if student.checkpoint is not None:
        context = min(context, read_config(Path(student.checkpoint)).get("max_position_embeddings") or context)
    half = context // 2
    most = context if shape.encoder else context - half
    found = estimate(shape, options, source=context if shape.encoder else half, target=most)
    wanted = min(options.micro_batch or examples_at_once(options.precision, options.batch_size), options.batch_size)
    free = free_memory()
    if options.micro_batch or free is None:
        return found, wanted, context
    return found, max(1, found.fitting(free - found.weights, wanted)), context


def first_prompts(plan: Plan) -> Iterator[tuple[str, str]]:
    """(what it is, the filled-in prompt) for the teacher and for each student role's first turn of each method."""
    study = plan.study
    problems = load_problems(plan)
    pool = pool_of(plan, problems)
    if study.teacher.engine != "recorded":
        train = [problem for problem in problems if problem.split == "train"]
        first = next(
            teacher_flows({p.id: p for p in train}, {p.id: range(1) for p in train}, pool, study.teacher, study.seed), None
        )
        ask = _first_call(first[1]) if first else None
        if ask is not None:
            yield f"teacher ({study.teacher.method})", prompt_text(ask.prompt)
    seen: set[str] = set()
    asked = next((p for p in problems if p.split in study.evaluation.splits), None)
    for arm in study.arms:
        if asked is None or arm.method in seen:
            continue
        seen.add(arm.method)
        method: Any = study.method(arm)
        ask = _first_call(method.solve(asked.blind(), SamplePath(asked.id, 0, study.seed), pool))
        if ask is not None:
            yield f"{ask.role} ({arm.method})", prompt_text(ask.prompt)


def _first_call(flow: Any) -> Call | None:
    """The first `Call` that a flow asks, or None where it asks something else or nothing."""
    try:
        ask = next(flow)
    except StopIteration:
        return None
    finally:
        flow.close()
    first = ask[0] if isinstance(ask, list) else ask
    return first if isinstance(first, Call) else None
