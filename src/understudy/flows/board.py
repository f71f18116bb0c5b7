"""Who waits for what: the flows under way, what they ask, and the orders that come of it. What both drivers share.

The store is asked first and gets every reply, nothing is asked twice at once, and an `EngineError` is thrown into the flow
whose ask failed: a flow that does not catch it ends with that error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from understudy.core.asks import GREEDY, Call, Decoding, Flow, Path, Reply, Request, Usage
from understudy.core.errors import BudgetError, EngineError
from understudy.core.protocols import AsyncEngine, Engine, LocalEngine, ManyEngine, ReplyStore
from understudy.core.values import digest

T = TypeVar("T")
Folds = Mapping[str, Sequence[Engine]]
Flows = Iterable[tuple[Path, Flow[T]]]


@dataclass(frozen=True)
class Done(Generic[T]):
    """A flow that ended: its ``value``, or the ``error`` that ended it (and then ``value`` is None). ``unasked``: the error is that
    the budget had no room for what it asked. ``bought``: some of its replies came now, and not out of the store."""

    path: Path
    value: T | None
    error: str | None = None
    unasked: bool = False
    bought: bool = False


def fold_of(problem: str, folds: int) -> int:
    """The fold that holds ``problem`` out: a stable hash of its id. The k-th model of a role was not trained on fold k."""
    return int(digest(["fold", problem]), 16) % folds


@dataclass(eq=False, slots=True)
class Live(Generic[T]):
    """A flow under way and what it waits for: ``replies`` by place, ``missing`` of them not there yet."""

    path: Path
    flow: Flow[T]
    replies: list[Reply | EngineError | None] = field(default_factory=list)
    missing: int = 0
    single: bool = True
    asked: bool = False


@dataclass(eq=False)
class Order:
    """One request that was put to an engine, and everyone who waits for it."""

    key: str
    request: Request
    engine: Engine
    waiters: list[tuple[Live[Any], int]] = field(default_factory=list)


class Board(Generic[T]):
    """Who waits for what. Shared by both drivers; does no I/O but through the store."""

    def __init__(  # noqa: PLR0917 - made by the two drivers only
        self,
        flows: Flows[T],
        engines: Mapping[str, Engine],
        store: ReplyStore | None,
        decoding: Mapping[str, Decoding],
        folds: Folds,
        seed: int,
        window: int,
        on_end: Callable[[Done[T]], None] | None,
    ) -> None:
        self.waiting: Iterator[tuple[Path, Flow[T]]] = iter(flows)
        self.exhausted = False
        self.engines, self.store = engines, store
        self.decoding, self.folds, self.seed = decoding, folds, seed
        self.window, self.on_end = window, on_end
        self.live: set[Live[T]] = set()
        self.ready: deque[Done[T]] = deque()
        self.orders: dict[str, Order] = {}
        self.queues: dict[int, deque[Order]] = {}
        self.by_id: dict[int, Engine] = {}
        self._asked: Any = None
        self._last = Request(Call("", ""), GREEDY, 0)
        self.unsent = 0  # how many orders are put to network engines and not taken off their queues
        self._remote: dict[int, bool] = {}
        self._many: dict[int, ManyEngine | None] = {}

    def fill(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Begin flows until the window is full, or it is ``enough``, or there are no more."""
        while not self.exhausted and len(self.live) < self.window and not enough():
            entry = next(self.waiting, None)
            self.exhausted = entry is None
            if entry is not None:
                live = Live(*entry)
                self.live.add(live)
                self._advance(live)

    def take_done(self) -> Iterator[Done[T]]:
        while self.ready:
            yield self.ready.popleft()

    def serve_next(self) -> None:
        """Let the local engine with the longest queue answer; more may join its queue while it works."""
        at = max(self.queues, key=lambda i: len(self.queues[i]))
        engine, queue = self.by_id[at], self.queues[at]
        if not isinstance(engine, LocalEngine):
            raise EngineError(f"{type(engine).__name__} is a network engine: run its flows with adrive")
        source = Queue(queue, lambda n: self.fill(lambda: len(queue) >= n), self.answered)
        # One go answers all that waits for this engine, and whatever flows ask of it on the way.
        engine.serve(source)
        assert not self.queues.get(at) and not source.taken, f"{type(engine).__name__}.serve left requests unanswered"
        self.queues.pop(at, None)
        if self.store is not None:
            self.store.flush()

    def answered(self, order: Order, reply: Reply | EngineError, usage: Usage | None = None) -> None:
        """Keep the reply, and let those go on who waited for it. ``usage``: what a request over a network took."""
        del self.orders[order.key]
        if self.store is not None:
            if isinstance(reply, Reply):
                at = order.engine.identity
                self.store.put(order.key, reply, engine=at, request=order.request, seed=self.seed, usage=usage)
            else:
                self.store.fail(order.key, reply, usage)
        for live, place in order.waiters:
            live.replies[place] = reply
            live.missing -= 1
            if not live.missing:
                self._advance(live)

    def close(self) -> None:
        for live in self.live:
            live.flow.close()

    def remote(self, at: int) -> bool:
        """Whether the engine of the queue ``at`` is asked over a network."""
        if at not in self._remote:
            self._remote[at] = isinstance(self.by_id[at], AsyncEngine)
        return self._remote[at]

    def many(self, at: int) -> ManyEngine | None:
        """The engine of the queue ``at``, where it gives several replies at once."""
        if at not in self._many:
            engine = self.by_id[at]
            self._many[at] = engine if isinstance(engine, ManyEngine) else None
        return self._many[at]

    def n(self, at: int) -> int:
        """How many replies a request may ask the engine of the queue ``at`` for."""
        many = self.many(at)
        return 1 if many is None else many.n

    def _advance(self, live: Live[T]) -> None:
        """Run the flow until it waits for something that is not there, or ends."""
        while not live.missing:
            try:
                asks = self._resume(live)
            except StopIteration as end:
                self._end(Done(live.path, end.value, bought=live.asked), live)
                return
            except EngineError as error:
                self._end(Done(live.path, None, str(error), isinstance(error, BudgetError), live.asked), live)
                return
            live.single = not isinstance(asks, list)
            listed: list[Call] = asks if isinstance(asks, list) else [asks]
            live.replies, live.missing = [None] * len(listed), len(listed)
            for place, ask in enumerate(listed):
                self._ask(live, place, ask)

    def _end(self, done: Done[T], live: Live[T]) -> None:
        self.live.discard(live)
        self.ready.append(done)
        if self.on_end is not None:
            self.on_end(done)

    def _resume(self, live: Live[T]) -> Any:
        if not live.replies and live.single:
            return next(live.flow)
        for reply in live.replies:
            if isinstance(reply, EngineError):
                return live.flow.throw(reply)
        return live.flow.send(live.replies[0] if live.single else list(live.replies))

    def _ask(self, live: Live[T], place: int, ask: Call) -> None:
        engine = self._engine(live, ask.role, out_of_fold=ask.out_of_fold)
        request = self._request(live, ask)
        key = request.key(engine.identity)
        known = self.orders.get(key)
        if known is not None:
            known.waiters.append((live, place))
            return
        kept = self.store.get(key) if self.store is not None else None
        if kept is not None:
            live.replies[place] = kept
            live.missing -= 1
            return
        live.asked = True
        order = self.orders[key] = Order(key, request, engine, [(live, place)])
        self.by_id[id(engine)] = engine
        self.queues.setdefault(id(engine), deque()).append(order)
        self.unsent += self.remote(id(engine))

    def _engine(self, live: Live[T], role: str, *, out_of_fold: bool) -> Engine:
        if out_of_fold:
            if role not in self.folds:
                raise EngineError(f"a flow asked role {role!r} out of fold, and there are no folds of it")
            models = self.folds[role]
            return models[fold_of(live.path.problem, len(models))]
        if role not in self.engines:
            raise EngineError(f"a flow asked role {role!r}, which nobody plays (roles: {', '.join(self.engines) or 'none'})")
        return self.engines[role]

    def _request(self, live: Live[T], ask: Call) -> Request:
        # Paths of a problem come one after another and mostly ask the same.
        same = ask == self._asked and ask.about == self._asked.about
        if not same:
            settled = ask.decoding or self.decoding.get(ask.role, GREEDY)
            self._asked, self._last = ask, Request(replace(ask, decoding=settled), settled, 0, ask.attempt)
        # A greedy reply is the same on every path, so it is asked once, as path 0.
        return self._last.on(live.path.index if self._last.decoding.temperature else 0)


class Queue:
    """The `Source` that a local engine pulls from. ``more`` is told how many orders it would take, before it takes them;
    ``answered`` is given each order with what became of it."""

    def __init__(
        self, orders: deque[Order], more: Callable[[int], None], answered: Callable[[Order, Reply | EngineError], None]
    ) -> None:
        self.orders, self.more, self.answered = orders, more, answered
        self.taken: dict[int, Order] = {}
        self.tickets = 0

    def take(self, n: int) -> list[tuple[int, Request]]:
        self.more(n)
        taken: list[tuple[int, Request]] = []
        while self.orders and len(taken) < n:
            order = self.orders.popleft()
            self.tickets += 1
            self.taken[self.tickets] = order
            taken.append((self.tickets, order.request))
        return taken

    def give(self, ticket: int, reply: Reply) -> None:
        self.answered(self.taken.pop(ticket), reply)

    def fail(self, ticket: int, error: EngineError) -> None:
        self.answered(self.taken.pop(ticket), error)
