"""Drivers: they run thousands of flows together and are the only ones who talk to engines.

    for done in drive(flows, {"student": engine}, store=ledger, seed=0):
        ...                               # in the order in which flows end

`drive` serves local engines, each with as full a batch as there are asks; `adrive` serves network engines, where each flow
goes on as soon as its own reply is in, and local ones beside them, each in a thread of its own. What they share, and what is
promised of the store and of errors, is in `board`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from understudy.core.asks import Answer, Decoding, Reply, Usage
from understudy.core.errors import BudgetError, EngineError, UnpaidError
from understudy.core.protocols import AsyncEngine, Engine, LocalEngine, ManyEngine, ReplyStore
from understudy.flows.board import Board, Done, Flows, Folds, Order, Queue

T = TypeVar("T")

WINDOW = 4096
"""Flows that are begun and not ended, at the most."""


def drive(
    flows: Flows[T],
    engines: Mapping[str, Engine],
    *,
    store: ReplyStore | None = None,
    decoding: Mapping[str, Decoding] | None = None,
    folds: Folds | None = None,
    seed: int = 0,
    window: int = WINDOW,
    on_end: Callable[[Done[T]], None] | None = None,
) -> Iterator[Done[T]]:
    """Run ``flows`` over local ``engines`` (role -> engine), at most ``window`` of them begun and not ended.

    A flow that ends makes room for the next while the engine works, so its batch stays full to the last. Ended flows are
    yielded when the engine rests; ``on_end`` hears of each at once (for progress).

    ``decoding``: role -> what a `Call` without one gets (greedy where a role is not named). ``folds``: role -> its fold
    models, for asks ``out_of_fold``; see `fold_of`. ``seed`` is recorded with replies.
    Raises EngineError where a flow names a role that is not there, and whatever an engine raises for all it serves.
    """
    board = Board(flows, engines, store, decoding or {}, folds or {}, seed, window, on_end)
    try:
        while True:
            board.fill()
            yield from board.take_done()
            if not any(board.queues.values()):
                assert not board.live, "flows wait for replies that nobody owes"
                return
            board.serve_next()
    finally:
        board.close()


async def adrive(
    flows: Flows[T],
    engines: Mapping[str, Engine],
    *,
    store: ReplyStore | None = None,
    decoding: Mapping[str, Decoding] | None = None,
    folds: Folds | None = None,
    seed: int = 0,
    window: int = WINDOW,
    concurrency: int = 64,
) -> AsyncGenerator[Done[T], None]:
    """`drive` over network engines: at most ``concurrency`` requests at once, no barrier between them. Local engines among them
    work at the same time, in threads; an engine that is both is asked over the network.

    A request over the network is reserved in the store and sent when that is durable; those that come together are one commit.
    Where the store has no room for one and none is under way that could give some back, no further one is sent: flows that ask for
    one end with a BudgetError, those whose replies are in the store go on.

    An ask that fails with EngineError fails its own flow only; what a local engine raises for all it serves is raised here.
    Cancelling ends all requests, and a local engine's work with its next reply; what came is in the store.
    """
    board = Board(flows, engines, store, decoding or {}, folds or {}, seed, window, None)
    arrived: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
    asking, threads = _Requests(board, arrived, concurrency), _Threads(board, arrived)
    try:
        while True:
            board.fill(asking.enough())
            asking.start()
            threads.start()
            for done in board.take_done():
                yield done
            if board.orders or threads.tasks:  # with no orders left, a local engine still comes to its rest
                (await arrived.get())()
                while not arrived.empty():
                    arrived.get_nowait()()
            elif board.exhausted:
                assert not board.live, "flows wait for replies that nobody owes"
                return
    finally:
        await asyncio.gather(asking.close(), threads.close())
        if store is not None:
            store.flush()
        board.close()


class _Requests:
    """Requests over the network. What is to be done when one is answered is put into ``arrived``.

    A request is a list of orders: those that differ in their path only are put to an engine that draws several replies at once as
    one. ``reserved``: those of the next commit; ``durable``: those that may be sent; ``tasks``: those that are, at most
    ``concurrency``; ``unkept``: how many were answered, and the reply is not durable yet; ``under_way``: how many are one of
    these. So what could be lost with this process is never more than twice ``concurrency``.
    """

    def __init__(self, board: Board[Any], arrived: asyncio.Queue[Callable[[], None]], concurrency: int) -> None:
        self.board, self.arrived, self.concurrency = board, arrived, concurrency
        self.tasks: set[asyncio.Task[None]] = set()
        self.reserved: list[list[Order]] = []
        self.durable: deque[list[Order]] = deque()
        self.many = [engine for engine in board.engines.values() if isinstance(engine, ManyEngine)]
        self.under_way = self.unkept = 0
        self.committing: asyncio.Task[None] | None = None
        self.spent = False

    def enough(self) -> Callable[[], bool]:
        """Whether so many orders are put to network engines and not sent that what `start` takes is whole requests."""
        board = self.board
        enough = (2 * self.concurrency + 1) * max((engine.n for engine in self.many), default=1)
        return lambda: board.unsent >= enough

    def start(self) -> None:
        """Reserve as many as may be sent at once and as many again, so that none waits for a commit; send what is durable."""
        while self.under_way < 2 * self.concurrency and self.board.unsent:
            queue = max((q for at, q in self.board.queues.items() if self.board.remote(at)), key=len)
            group = self._reserved(queue)
            if group:
                self.under_way += 1
                (self.durable if self.board.store is None else self.reserved).append(group)
            elif self.under_way:
                break  # one that ends may take less than was set aside for it
            else:
                self.spent = True
                self.board.unsent -= 1
                self.board.answered(queue.popleft(), BudgetError("the budget has no room for it: it was not asked"))
        if self._uncommitted() and (self.committing is None or self.committing.done()):
            self.committing = asyncio.ensure_future(self._commit())
            _when_done(self.committing, self.arrived, self.committing.result)
        self._send()

    def _reserved(self, queue: deque[Order]) -> list[Order]:
        """Take the orders of the next request off ``queue``: as many as the budget has room for."""
        store, group, first = self.board.store, list[Order](), queue[0]
        n = self.board.n(id(first.engine))
        while queue and len(group) < n and (not group or queue[0].request.differs_in_path(first.request)):
            order = queue[0]
            if self.spent or not (store is None or store.reserve(order.key, engine=order.engine.identity, request=order.request)):
                break
            group.append(queue.popleft())
        self.board.unsent -= len(group)
        return group

    def _uncommitted(self) -> bool:
        """Whether a commit would let something be sent."""
        return bool(self.reserved or (self.unkept and self.board.unsent))

    async def _commit(self) -> None:
        """Have it committed. What comes meanwhile is the next group: the longer a commit takes, the more it holds."""
        assert self.board.store is not None
        while self._uncommitted():
            groups, self.reserved, kept = self.reserved, [], self.unkept
            await asyncio.to_thread(self.board.store.flush)
            self.under_way -= kept
            self.unkept -= kept
            self.durable.extend(groups)
            self._send()

    def _send(self) -> None:
        while self.durable and len(self.tasks) < self.concurrency:
            task = asyncio.ensure_future(self._ask(self.durable.popleft()))
            self.tasks.add(task)

    async def _ask(self, group: list[Order]) -> None:
        outcome: Answer | Exception
        engine, many = group[0].engine, self.board.many(id(group[0].engine))
        try:
            if many is not None:
                outcome = await many.replies([order.request for order in group])
            else:
                assert isinstance(engine, AsyncEngine)
                reply = await engine.reply(group[0].request)
                outcome = Answer((reply,), Usage(1, reply.prompt_tokens, reply.tokens))
        except Exception as error:  # noqa: BLE001 - whatever is no EngineError is raised where it arrives
            outcome = error
        task = asyncio.current_task()
        assert task is not None
        self.tasks.discard(task)
        self.arrived.put_nowait(partial(self._answered, group, outcome))

    def _answered(self, group: list[Order], outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception) and not isinstance(outcome, EngineError):
            raise outcome
        if self.board.store is None:
            self.under_way -= 1
        else:
            self.unkept += 1
        replies: tuple[Reply | EngineError, ...] = (outcome,) * len(group) if isinstance(outcome, EngineError) else outcome.replies
        usage = outcome.usage
        for order, reply in zip(group, replies, strict=False):
            self.board.answered(order, reply, usage)
            usage = usage and usage.along
        # What got none was paid with the others, or not at all, and is reserved: it goes out by itself.
        alone = group[len(replies) :]
        self.durable.extendleft([order] for order in reversed(alone))
        self.under_way += len(alone)

    async def close(self) -> None:
        if self.committing is not None:
            self.committing.cancel()
            await asyncio.gather(self.committing, return_exceptions=True)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.board.store is not None:
            for order in itertools.chain(*self.reserved, *self.durable):
                self.board.store.fail(order.key, UnpaidError("it was not sent"))


class _Threads:
    """Local engines at work beside the event loop, each in a thread of its own as long as it has orders.

    A thread takes orders off its queue and touches nothing else of the board (nor the store): what is to be done with a reply
    is put into ``arrived``, for the loop's thread.
    """

    def __init__(self, board: Board[Any], arrived: asyncio.Queue[Callable[[], None]]) -> None:
        self.board, self.arrived = board, arrived
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.closed = False

    def start(self) -> None:
        for at, queue in self.board.queues.items():
            if queue and at not in self.tasks and not self.board.remote(at):
                engine = self.board.by_id[at]
                assert isinstance(engine, LocalEngine)
                source = Queue(queue, self._go_on, self._answered)
                task = asyncio.ensure_future(asyncio.to_thread(engine.serve, source))
                self.tasks[at] = task
                _when_done(task, self.arrived, partial(self._rests, at, source))

    def _go_on(self, _n: int) -> None:
        if self.closed:
            raise _ClosedError

    def _answered(self, order: Order, reply: Reply | EngineError) -> None:
        self._go_on(1)
        self.loop.call_soon_threadsafe(self.arrived.put_nowait, partial(self.board.answered, order, reply))

    def _rests(self, at: int, source: Queue) -> None:
        """It has no more orders, or raised an error that ends it all."""
        self.tasks.pop(at).result()
        assert not source.taken, f"{type(self.board.by_id[at]).__name__}.serve left requests unanswered"

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


class _ClosedError(Exception):
    """Ends a local engine's work when nobody waits for it any more."""


def _when_done(task: asyncio.Task[Any], arrived: asyncio.Queue[Callable[[], None]], what: Callable[[], None]) -> None:
    task.add_done_callback(lambda _: arrived.put_nowait(what))
