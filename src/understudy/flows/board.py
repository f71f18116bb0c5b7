"""The board of a driver: which flows are running, what each of them waits for, and which requests must be sent for that.

Both drivers share it. The store is asked first and gets every reply. No request is sent twice at the same time. An `EngineError`
is thrown into the flow whose call failed: a flow that does not catch it ends with that error.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple

from understudy.core.asks import GREEDY, GREEDY_PATH, Call, Flow, Reply, Request, SamplePath, T, Usage, amend
from understudy.core.errors import BudgetError, EngineError
from understudy.core.protocols import AsyncEngine, Engine, LocalEngine
from understudy.flows.cast import Cast

Flows = Iterable[tuple[SamplePath, Flow[T]]]


class Done(NamedTuple, Generic[T]):
    """A flow that ended with its ``value``, or with the ``error`` that ended it (``value`` is None then).

    ``unasked``: the error is that the budget had no room for its call. ``bought``: some of its replies are new, not from the
    store.
    """

    path: SamplePath
    value: T | None
    error: str | None = None
    unasked: bool = False
    bought: bool = False


OnEnd = Callable[[Done[Any]], None]
"""Called with each flow as it ends."""


@dataclass(eq=False, slots=True)
class LiveFlow(Generic[T]):
    """A running flow and what it waits for: ``replies`` by place; ``missing`` counts those that have not arrived.
    ``asked_engines``: the engines that it has asked, by their ids."""

    path: SamplePath
    flow: Flow[T]
    replies: list[Reply | EngineError | None] = field(default_factory=lambda: [None])
    missing: int = 0
    single: bool = True
    asked_engines: set[int] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class EngineOrder:
    """One request to the engine of ``line``, and the flows that wait for its reply."""

    key: str
    request: Request
    line: "Line"
    waiters: list[tuple[LiveFlow[Any], int]]


@dataclass(eq=False, slots=True)
class Line:
    """The orders that wait for one engine."""

    engine: Engine
    waiting: deque[EngineOrder] = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class NetworkLine(Line):
    """The line of an engine that is asked over a network, even if it is a local engine too. ``durable`` has the groups of orders
    whose reservation is committed. ``active`` counts the tasks that send them. ``under_way`` counts the groups that are being sent
    or may be sent, and those whose reservation or reply is not committed yet."""

    engine: AsyncEngine
    durable: deque[list[EngineOrder]] = field(default_factory=deque)
    active: int = 0
    under_way: int = 0


class Board(Generic[T]):
    """What both drivers share. It does no I/O except through the store. ``on_end`` is called with each flow as it ends.

    At most ``window`` flows are begun and not ended. It is ``few`` if flows come back to an engine that they have called, because
    it keeps what it read for a few of them only, and until so many have ended without that.
    """

    def __init__(self, flows: Flows[T], cast: Cast, window: int, on_end: OnEnd, few: int = 0) -> None:
        self.coming: Iterator[tuple[SamplePath, Flow[T]]] = iter(flows)
        self.cast, self.store, self.on_end, self.window, self.few = cast, cast.store, on_end, window, few
        self.exhausted, self.flows_return, self.ended = False, False, 0
        self.live: set[LiveFlow[T]] = set()
        self.ready: deque[Done[T]] = deque()
        self.orders: dict[str, EngineOrder] = {}
        self.lines: dict[int, Line] = {}
        """The line of each engine by the engine's id."""
        self.networks: list[NetworkLine] = []
        """The lines of the network engines."""
        self._last_call = Call("", "")
        self._last_request = Request(self._last_call, GREEDY, 0)

    def fill(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Begin flows until the window is full, ``enough`` says so, or there are no more for now: a server's may come later."""
        while len(self.live) < (self.few if self.flows_return or self.ended < self.few else self.window) and not enough():
            entry = next(self.coming, None)
            self.exhausted = entry is None
            if entry is None:
                return
            live = LiveFlow(*entry)
            self.live.add(live)
            self._advance(live)

    def take_done(self) -> Iterator[Done[T]]:
        """Yield the flows that ended since the last call."""
        while self.ready:
            yield self.ready.popleft()

    def serve_next(self) -> None:
        """Let the local engine with the longest line answer; more orders may join the line while it works."""
        line = max(self.lines.values(), key=lambda line: len(line.waiting))
        engine = line.engine
        assert isinstance(engine, LocalEngine), f"{type(engine).__name__} is a network engine: run its flows with adrive"
        source = OrderSource(line.waiting, lambda n: self.fill(lambda: len(line.waiting) >= n), self.deliver)
        # One call answers everything that waits for this engine, and whatever flows ask it in the meantime.
        engine.serve(source)
        assert not line.waiting and not source.open, f"{type(engine).__name__}.serve left requests unanswered"
        if self.store is not None:
            self.store.flush()

    def deliver(self, order: EngineOrder, reply: Reply | EngineError, usage: Usage | None = None) -> None:
        """Keep the reply, and continue the flows that wait for it. ``usage`` is the cost of a request over a network."""
        self.keep(order, reply, usage)
        for live, index in order.waiters:
            live.replies[index] = reply
            live.missing -= 1
            if not live.missing:
                self._advance(live)

    def keep(self, order: EngineOrder, reply: Reply | EngineError, usage: Usage | None = None) -> None:
        """Put the reply into the store without continuing any flow."""
        del self.orders[order.key]
        if self.store is None:
            return
        if isinstance(reply, Reply):
            identity, seed = order.line.engine.identity, self.cast.seed
            self.store.put(order.key, reply, engine=identity, request=order.request, seed=seed, usage=usage)
        else:
            self.store.fail(order.key, reply, usage)

    def close(self) -> None:
        """Close the flows that have not ended."""
        for live in self.live:
            live.flow.close()

    def _advance(self, live: LiveFlow[T]) -> None:
        """Run the flow until it waits for a missing reply, or ends."""
        while not live.missing:
            try:
                yielded = self._resume(live)
            except StopIteration as end:
                self._end(Done(live.path, end.value, bought=bool(live.asked_engines)), live)
                return
            except EngineError as error:
                self._end(Done(live.path, None, str(error), isinstance(error, BudgetError), bool(live.asked_engines)), live)
                return
            live.single = not isinstance(yielded, list)
            calls: list[Call] = yielded if isinstance(yielded, list) else [yielded]
            live.replies, live.missing = [None] * len(calls), len(calls)
            for index, call in enumerate(calls):
                self._order(live, index, call)

    def _end(self, done: Done[T], live: LiveFlow[T]) -> None:
        self.live.discard(live)
        self.ended += 1
        self.ready.append(done)
        self.on_end(done)

    def _resume(self, live: LiveFlow[T]) -> Any:
        for reply in live.replies:
            if isinstance(reply, EngineError):
                return live.flow.throw(reply)
        return live.flow.send(live.replies[0] if live.single else list(live.replies))

    def _order(self, live: LiveFlow[T], index: int, call: Call) -> None:
        """Take the reply from the store, join an order for the same request, or add a new order."""
        engine = self.cast.engine(call, live.path.problem)
        request = self._request(live.path, call)
        key = request.key(engine.identity)
        if (pending := self.orders.get(key)) is not None:
            pending.waiters.append((live, index))
            return
        if self.store is not None and (stored := self.store.get(key)) is not None:
            live.replies[index] = stored
            live.missing -= 1
            return
        self.flows_return |= self.few > 0 and id(engine) in live.asked_engines
        live.asked_engines.add(id(engine))
        line = self.lines.get(id(engine))
        if line is None:
            line = self.lines[id(engine)] = NetworkLine(engine) if isinstance(engine, AsyncEngine) else Line(engine)
            if isinstance(line, NetworkLine):
                self.networks.append(line)
        order = self.orders[key] = EngineOrder(key, request, line, [(live, index)])
        line.waiting.append(order)

    def _request(self, path: SamplePath, call: Call) -> Request:
        if path.index == GREEDY_PATH:
            call = amend(call, decoding=GREEDY)
        # The paths of a problem follow each other and mostly make the same call.
        last = self._last_call
        same = call == last and call.step == last.step and call.hear is last.hear
        if not same or path.problem != self._last_request.problem:
            usual = self.cast.decoding.get(call.role, GREEDY)
            decoding = amend(call.decoding, calculator=call.decoding.calculator or usual.calculator) if call.decoding else usual
            self._last_call = call
            self._last_request = Request(amend(call, decoding=decoding), decoding, 0, path.problem)
        # A greedy reply is the same on every path, so it is requested once, as path 0.
        return self._last_request.with_path(path.index if self._last_request.decoding.temperature else 0)


@dataclass(eq=False)
class OrderSource:
    """The `Source` of a local engine. It calls ``prepare`` with the number of orders that the engine wants, before it takes them,
    and ``deliver`` with each order and its reply or error. ``open`` has the orders that were taken but not answered."""

    orders: deque[EngineOrder]
    prepare: Callable[[int], None]
    deliver: Callable[[EngineOrder, Reply | EngineError], None]
    open: dict[int, EngineOrder] = field(default_factory=dict)

    def take(self, n: int) -> list[tuple[int, Request]]:
        self.prepare(n)
        taken = [self.orders.popleft() for _ in range(min(n, len(self.orders)))]
        self.open |= {id(order): order for order in taken}
        return [(id(order), order.request) for order in taken]

    def begin_again(self) -> None:
        self.orders.extendleft(reversed(self.open.values()))
        self.open.clear()

    def give(self, ticket: int, reply: Reply) -> None:
        self.deliver(self.open.pop(ticket), reply)

    def fail(self, ticket: int, error: EngineError) -> None:
        self.deliver(self.open.pop(ticket), error)
