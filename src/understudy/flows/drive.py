"""Drivers run thousands of flows together. Nothing else talks to engines.

    for done in drive(flows, Cast({"student": engine}, store=ledger)):
        ...                               # in the order in which the flows end

`drive` serves local engines, each with as full a batch as there are calls. `adrive` serves network engines, where each flow
continues as soon as its own reply arrives. Local engines work alongside, each in its own thread. `board` says what both share, and
what they promise about the store and about errors.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any

from understudy.core.asks import Answer, Reply, T, Usage
from understudy.core.errors import AccountError, BudgetError, EngineError, UnpaidError
from understudy.core.protocols import LocalEngine
from understudy.flows.board import Board, Done, EngineOrder, Flows, NetworkLine, OnEnd, OrderSource
from understudy.flows.cast import Cast

Arrivals = asyncio.Queue[Callable[[], None]]
"""What the loop's thread must do next. Requests and threads put it there when a reply arrives."""

WINDOW = 4096
"""The maximum number of flows that have begun but not ended."""


def drive(flows: Flows[T], cast: Cast, *, window: int = WINDOW, on_end: OnEnd = lambda _: None) -> Iterator[Done[T]]:
    """Run ``flows`` over the local engines of ``cast``, with at most ``window`` flows begun and not ended, or twice as many as an
    engine of ``cast.engines`` on a processor has rows if they come back to it.

    A flow that ends makes room for the next while the engine works, so its batch stays full to the last. Ended flows are yielded
    when the engine rests; ``on_end`` is called with each at once (for progress). Raises EngineError if a flow calls a role that
    nobody plays, and whatever an engine raises for all its requests.
    """
    # On a GPU all begin: reading is cheap there, and a step costs as much for few rows as for many.
    rows = [getattr(e, "batch_size", 0) for e in cast.engines.values() if getattr(e, "device", "cpu") == "cpu"]
    # Beware: an engine that uploads batches may take a day for each, so it gets all flows at once.
    board = Board(flows, cast, window, on_end, few=2 * max(rows, default=0) if window == WINDOW else 0)
    try:
        while True:
            board.fill()
            yield from board.take_done()
            if not any(line.waiting for line in board.lines.values()):
                assert not board.live, "flows wait for replies that nobody owes"
                return
            board.serve_next()
    finally:
        board.close()


async def adrive(
    flows: Flows[T], cast: Cast, *, window: int = WINDOW, arrivals: Arrivals | None = None
) -> AsyncGenerator[Done[T], None]:
    """Drive network engines, each with at most ``engine.concurrency`` requests at once and no barrier between them.

    Local engines work at the same time, in threads; an engine that is both is asked over the network. A request over the network
    is reserved in the store, and sent when the reservation is durable; requests that come together share a commit. If the store
    has no room for a request, and no request under way could give some back, nothing more is sent: flows that call for a new reply
    end with a BudgetError, and those whose replies are in the store continue.

    A call that fails with EngineError fails only its own flow; what a local engine raises for all its requests is raised here.
    ``arrivals``: a server's own queue, for flows that arrive while this waits. The server puts a function there for each arrival;
    this ends when such a function raises an error.

    Cancelling ends all requests, and a local engine's work with its next reply; the replies that arrived are in the store. If an
    error or the caller ends it, nothing more is sent, and the answers that are under way are awaited, because they were paid for.
    """
    board = Board(flows, cast, window, lambda _: None)
    endless = arrivals is not None
    arrivals = Arrivals() if arrivals is None else arrivals
    requests, threads = _Requests(board, arrivals), _Threads(board, arrivals)
    await_answers = True
    try:
        while True:
            board.fill(requests.has_enough)
            requests.start()
            threads.start()
            for done in board.take_done():
                yield done
            if endless or board.orders or threads.tasks:  # with no orders left, a local engine still has to come to rest
                (await arrivals.get())()
                while not arrivals.empty():
                    arrivals.get_nowait()()
            elif board.exhausted:
                assert not board.live, "flows wait for replies that nobody owes"
                return
    except (asyncio.CancelledError, KeyboardInterrupt):
        await_answers = False
        raise
    finally:
        await asyncio.gather(requests.close(await_answers=await_answers), threads.close())
        if board.store is not None:
            board.store.flush()
        board.close()


class _Requests:
    """The requests over the network.

    A request is a group of orders: orders that differ only in their path share one request to an engine that draws several replies.
    ``reserved`` has the groups of the next commit. ``arrived`` has the answers that are not in the store yet, and ``uncommitted``
    the lines of those that are in the store but not durable. If this process dies, at most twice the engine's concurrency is lost.
    """

    def __init__(self, board: Board[Any], arrivals: Arrivals) -> None:
        self.board, self.arrivals = board, arrivals
        self.tasks: set[asyncio.Task[None]] = set()
        self.reserved: list[tuple[NetworkLine, list[EngineOrder]]] = []
        self.uncommitted: list[NetworkLine] = []
        self.arrived: deque[tuple[NetworkLine, list[EngineOrder], Answer | Exception]] = deque()
        self.committing: asyncio.Task[None] | None = None
        self.spent = False

    def has_enough(self) -> bool:
        """Return whether enough orders wait for network engines for `start` to take whole requests."""
        # A plain loop, because this is asked before every flow that begins.
        room = 0
        for line in self.board.networks:
            room += (2 * line.engine.concurrency + 1) * line.engine.n - len(line.waiting)
        return bool(self.board.networks) and room <= 0

    def start(self) -> None:
        """Reserve as many requests as may be sent at once and as many again, so none waits for a commit. Send the durable ones."""
        while line := self._choose_line():
            if group := self._reserve(line):
                line.under_way += 1
                self.reserved.append((line, group))
            elif any(other.under_way for other in self.board.networks):
                break  # one that ends may cost less than was reserved for it
            else:
                self.spent = True
                self.board.deliver(line.waiting.popleft(), BudgetError("the budget has no room for it: it was not asked"))
        if self._should_commit() and (self.committing is None or self.committing.done()):
            self.committing = asyncio.ensure_future(self._commit())
            _put_when_done(self.committing, self.arrivals, self.committing.result)
        self._send()

    def _choose_line(self) -> NetworkLine | None:
        """Return the longest line whose engine may be asked more, None if there is none."""
        free = [line for line in self.board.networks if line.waiting and line.under_way < 2 * line.engine.concurrency]
        return max(free, key=lambda line: len(line.waiting), default=None)

    def _reserve(self, line: NetworkLine) -> list[EngineOrder]:
        """Take the orders of the next request off ``line``: as many as the budget has room for."""
        group: list[EngineOrder] = []
        store, first = self.board.store, line.waiting[0]
        n, identity = line.engine.n, line.engine.identity
        while line.waiting and len(group) < n and (not group or line.waiting[0].request.differs_in_path(first.request)):
            order = line.waiting[0]
            if self.spent or not (store is None or store.reserve(order.key, engine=identity, request=order.request)):
                break
            group.append(line.waiting.popleft())
        return group

    def _should_commit(self) -> bool:
        """Return whether a commit would let something be sent."""
        return bool(self.reserved or (self.uncommitted and any(line.waiting for line in self.board.networks)))

    async def _commit(self) -> None:
        """Commit the reservations. What arrives meanwhile is the next group: the longer a commit takes, the larger the next."""
        while self._should_commit():
            groups, self.reserved = self.reserved, []
            answered, self.uncommitted = self.uncommitted, []
            try:
                if self.board.store is not None:
                    await asyncio.to_thread(self.board.store.flush)
            except asyncio.CancelledError:
                self.reserved = groups + self.reserved
                raise
            for line in answered:
                line.under_way -= 1
            for line, group in groups:
                line.durable.append(group)
            self._send()

    def _send(self) -> None:
        for line in self.board.networks:
            for _ in range(min(len(line.durable), line.engine.concurrency - line.active)):
                line.active += 1
                self.tasks.add(asyncio.create_task(self._ask(line)))

    async def _ask(self, line: NetworkLine) -> None:
        """Send one durable request after the other, until there is none or one failed: others may then not be worth sending."""
        answer: Answer | Exception | None = None
        while line.durable and not isinstance(answer, Exception):
            group = line.durable.popleft()
            try:
                answer = await line.engine.replies([order.request for order in group])
            except Exception as error:  # noqa: BLE001 - whatever is no EngineError is raised where it arrives
                answer = error
            self.arrived.append((line, group, answer))
            self.arrivals.put_nowait(self._receive)
        line.active -= 1
        self.tasks.discard(asyncio.current_task())

    def _receive(self) -> None:
        """Deliver the first answer that arrived."""
        line, group, answer = self.arrived.popleft()
        if isinstance(answer, Exception) and not isinstance(answer, EngineError):
            self._keep(group, answer)
            raise answer
        self.uncommitted.append(line)
        replies = list(_split_answer(group, answer))
        for order, reply, usage in replies:
            self.board.deliver(order, reply, usage)
        # Orders without a reply were paid with the others, or not at all, and are reserved: each becomes its own request.
        unanswered = group[len(replies) :]
        line.durable.extendleft([order] for order in reversed(unanswered))
        line.under_way += len(unanswered)

    def _keep(self, group: list[EngineOrder], answer: Answer | Exception) -> None:
        """Keep what arrived for ``group`` when nobody waits for it any more. Orders without a reply cost nothing of their own."""
        if isinstance(answer, AccountError):
            answer = UnpaidError(str(answer), answer.usage)
        if isinstance(answer, Answer | EngineError):
            replies = list(_split_answer(group, answer))
            for order, reply, usage in [*replies, *((order, _UNSENT, None) for order in group[len(replies) :])]:
                self.board.keep(order, reply, usage)

    async def close(self, *, await_answers: bool) -> None:
        """End all requests; with ``await_answers``, await the answers to those under way. Whatever was not sent costs nothing."""
        if self.committing is not None:
            self.committing.cancel()
            await asyncio.gather(self.committing, return_exceptions=True)
        unsent = [group for _, group in self.reserved]
        for line in self.board.networks:
            unsent += line.durable
            line.durable.clear()
            if await_answers and hasattr(line.engine, "stop"):
                line.engine.stop()
        try:
            while await_answers and self.tasks:
                await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
                self._keep_all()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self._keep_all()
            for order in (order for group in unsent for order in group):
                self.board.keep(order, _UNSENT)

    def _keep_all(self) -> None:
        while self.arrived:
            self._keep(*self.arrived.popleft()[1:])


_UNSENT = UnpaidError("it was not sent")


def _split_answer(
    group: list[EngineOrder], answer: Answer | EngineError
) -> Iterator[tuple[EngineOrder, Reply | EngineError, Usage | None]]:
    """Yield the reply of each order of ``group`` that got one, and what it cost."""
    usage = answer.usage
    replies: tuple[Reply | EngineError, ...] = (answer,) * len(group) if isinstance(answer, EngineError) else answer.replies
    for index, (order, reply) in enumerate(zip(group, replies, strict=False)):
        yield order, reply, usage.for_siblings if index and usage else usage


class _Threads:
    """Local engines that work alongside the event loop, each in its own thread as long as it has orders.

    A thread takes orders off its line and touches nothing else of the board, nor the store: what must be done with a reply is put
    into ``arrivals``, for the loop's thread.
    """

    def __init__(self, board: Board[Any], arrivals: Arrivals) -> None:
        self.board, self.arrivals = board, arrivals
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.closed = False

    def start(self) -> None:
        for engine_id, line in self.board.lines.items():
            if line.waiting and engine_id not in self.tasks and not isinstance(line, NetworkLine):
                assert isinstance(line.engine, LocalEngine)
                source = OrderSource(line.waiting, self._stop_if_closed, self._deliver)
                task = asyncio.ensure_future(asyncio.to_thread(line.engine.serve, source))
                self.tasks[engine_id] = task
                _put_when_done(task, self.arrivals, partial(self._finish, engine_id, source))

    def _stop_if_closed(self, _n: int) -> None:
        if self.closed:
            raise _ClosedError

    def _deliver(self, order: EngineOrder, reply: Reply | EngineError) -> None:
        self._stop_if_closed(1)
        self.loop.call_soon_threadsafe(self.arrivals.put_nowait, partial(self.board.deliver, order, reply))

    def _finish(self, engine_id: int, source: OrderSource) -> None:
        """Handle an engine that has no more orders, or that raised an error for all of them."""
        self.tasks.pop(engine_id).result()
        assert not source.open, f"{type(self.board.lines[engine_id].engine).__name__}.serve left requests unanswered"

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


class _ClosedError(Exception):
    """Ends a local engine's work when nobody waits for it any more."""


def _put_when_done(task: asyncio.Task[Any], arrivals: Arrivals, action: Callable[[], None]) -> None:
    task.add_done_callback(lambda _: arrivals.put_nowait(action))
