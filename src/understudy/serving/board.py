"""The thread that owns the engines of a server, and answers the requests of all clients together.

    board = LiveBoard(engines)
    future = board.submit(path, flow)    # from any thread; its result is what the flow returns

Flows join while the engines work, as they do in an evaluation, so batches stay full across clients. A flow without requests runs
between two steps of the engines.
"""

import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

from understudy.core.asks import Flow, SamplePath, T
from understudy.core.errors import EngineError
from understudy.core.protocols import LocalEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import drive

PATIENCE = 8
"""Most steps of an engine for which a flow waits to begin together with others."""


class LiveBoard(Iterator[tuple[SamplePath, Flow[None]]]):
    """Runs flows over ``engines``: role -> engine. An error that ends all flows at once (damaged weights, no memory) is printed,
    and each flow fails with an EngineError; the board continues with flows that come later."""

    def __init__(self, engines: Mapping[str, LocalEngine]) -> None:
        self._cast = Cast(engines)
        self._waiting: deque[tuple[SamplePath, Flow[None]]] = deque()
        self._under_way = self._joining = self._waited = 0
        self._woken, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, path: SamplePath, flow: Flow[T]) -> Future[T]:
        """Begin ``flow`` as soon as there is room. If the future is cancelled before then, nothing is asked."""
        future: Future[T] = Future()
        self._waiting.append((path, _run_flow(flow, future)))
        self._woken.set()
        return future

    def stop(self) -> None:
        """End the thread; flows that are under way fail."""
        self._stopped = True
        self._woken.set()
        self._thread.join(timeout=10)

    def __next__(self) -> tuple[SamplePath, Flow[None]]:
        """Return the next waiting flow; if none waits now, one may later. Drivers ask before each step of an engine with room.

        Flows begin in groups, of an eighth of those under way if that many come within `PATIENCE` steps: reading prompts one by one
        costs more than the wait.
        """
        if self._stopped:
            raise _StoppedError
        if not self._joining:
            self._waited = self._waited + 1 if self._waiting else 0
            too_few = 8 * len(self._waiting) < self._under_way and self._waited <= PATIENCE
            if too_few or not self._waiting:
                raise StopIteration
            self._joining, self._waited = len(self._waiting), 0
        self._joining -= 1
        self._under_way += 1
        return self._waiting.popleft()

    def _work(self) -> None:
        while self._waiting or self._woken.wait():
            self._woken.clear()
            self._under_way = self._joining = self._waited = 0
            try:
                for _ in drive(self, self._cast, on_end=self._end):
                    pass
            except _StoppedError:
                return
            except Exception:  # noqa: BLE001 - whatever it is, the next flow may succeed
                traceback.print_exc()

    def _end(self, _: object) -> None:
        self._under_way -= 1


class _StoppedError(Exception):
    """Ends an engine's work when the server stops."""


def _run_flow(flow: Flow[T], future: Future[T]) -> Flow[None]:
    """Run ``flow`` and report its end to ``future``, so that an error in it ends no other flow."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result((yield from flow))
        except GeneratorExit:
            future.set_exception(EngineError("the model failed or was stopped while answering; the server's own output says why"))
            raise
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
