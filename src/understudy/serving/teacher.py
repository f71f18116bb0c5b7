"""The teacher that answers when a student's votes disagree, through a ledger and within a budget, as in sampling.

A question that it answered is not sent again, and what was paid for is kept, even if the client that asked has left.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from threading import Thread

from understudy.core.asks import GREEDY, Flow, SamplePath
from understudy.core.errors import EngineError, StudyError
from understudy.core.protocols import Engine
from understudy.core.values import Chain, Problem
from understudy.engines.remote.options import Endpoint
from understudy.flows.cast import Cast
from understudy.flows.drive import Arrivals, adrive
from understudy.pipeline.connect import connect
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
from understudy.serving.port import GRACE
from understudy.studies.load import load_teacher


class ServedTeacher(Iterator[tuple[SamplePath, Flow[None]]]):
    """The teacher of the table [teacher] in ``file``, asked greedily for one chain. Its ledger is next to ``file``; price and
    budget hold for everything that was ever asked through it. ``report`` gets the notes about its endpoint.

    Raises StudyError if it cannot be asked, and the errors of its ledger and its endpoint.
    """

    def __init__(self, file: Path, report: Callable[[str], None]) -> None:
        self.teacher, self.ledger, self._report = load_teacher(file), file.with_suffix(".sqlite"), report
        self.method = self.teacher.make_method()
        self._pool = StudyPool(prompts=self.teacher.read_prompts(file.parent, self.teacher.method))
        try:
            self._options = self.teacher.prepare_engine(file.parent, task=None, answers=True)
        except StudyError as error:
            raise StudyError(f"{file}: {error}") from None
        if isinstance(self._options, Endpoint) and self._options.batch:
            raise StudyError(f"{file}: teacher.batch = true: a batch takes up to a day, but a client waits; leave it out")
        self._waiting: deque[tuple[SamplePath, Flow[None]]] = deque()
        self._asked: set[Future[Chain]] = set()
        self._closed = False
        ready: Future[None] = Future()
        self._thread = Thread(target=self._work, args=(ready,), daemon=True)
        self._thread.start()
        ready.result()

    def ask(self, problem: Problem) -> Future[Chain]:
        """Ask for a chain for ``problem``, which has no gold answer. The future's error is a BudgetError if the budget is spent,
        another EngineError if the engine gives no reply. If it is cancelled before it begins, nothing is asked."""
        future: Future[Chain] = Future()
        path = SamplePath(problem.id)
        self._waiting.append((path, self._run_flow(self.method.sample(problem, path, self._pool), future)))
        self._loop.call_soon_threadsafe(self._wake)
        return future

    def close(self) -> None:
        """Ask nothing more; requests under way are awaited for a while, because they are paid for."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._wake)
        self._thread.join(timeout=GRACE)

    def __next__(self) -> tuple[SamplePath, Flow[None]]:
        """Return the next waiting question; if none waits now, one may later."""
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def _wake(self) -> None:
        """Make the driver look for new questions."""
        self._arrivals.put_nowait(self._end_if_closed)

    def _end_if_closed(self) -> None:
        if self._closed:
            raise _EndError

    def _run_flow(self, flow: Flow[Chain], future: Future[Chain]) -> Flow[None]:
        """Run ``flow`` and report its end to ``future``."""
        if future.set_running_or_notify_cancel():
            self._asked.add(future)
            try:
                future.set_result((yield from flow))
            except Exception as error:  # noqa: BLE001 - the client gets it
                future.set_exception(error)
            self._asked.discard(future)

    def _work(self, ready: Future[None]) -> None:
        """Run the thread. It opens the ledger, because a ledger belongs to the thread that opened it."""
        try:
            with Ledger(self.ledger, price=self.teacher.price, budget=self.teacher.budget) as store:
                engine = self._options.open(task=None, seed=0)
                engine, _ = connect(engine, store, seed=0, paths=1, report=lambda *event: self._report(str(event[-1])))
                asyncio.run(self._answer(engine, Cast({"teacher": engine}, {"teacher": GREEDY}, store=store), ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _answer(self, engine: Engine, cast: Cast, ready: Future[None]) -> None:
        """Answer until `close`. An error that ends all questions at once (a refused key) goes to the clients that asked; later
        questions are asked all the same."""
        self._loop = asyncio.get_running_loop()
        while not self._closed:
            self._arrivals, reason = Arrivals(), "the server has ended"
            try:
                async with engine if isinstance(engine, AbstractAsyncContextManager) else nullcontext():
                    if not ready.done():
                        ready.set_result(None)
                    async for _ in adrive(self, cast, arrivals=self._arrivals):
                        pass
            except _EndError:
                pass
            except Exception as error:  # whatever it is, the next question may succeed
                if not ready.done():
                    raise
                reason = str(error)
                self._report(reason)
            while self._asked:
                self._asked.pop().set_exception(EngineError(f"the teacher gave no answer: {reason}"))


class _EndError(Exception):
    """Ends the thread."""
