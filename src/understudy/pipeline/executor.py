"""Run stages in processes of this machine, which share its cores or its GPUs.

`LocalProcesses` is a `concurrent.futures.Executor`, so another executor (a cluster's) can take its place.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, NamedTuple

from understudy.core.errors import StudyError
from understudy.core.plugins import load
from understudy.core.processes import end_with_parent
from understudy.pipeline.cache import digest_files
from understudy.pipeline.stage import Context, Stage, StageSummary

Event = tuple[str, int, int, str]
"""label, done, total, note"""

_events: Queue[Event] | None = None
_busy = False
_share = 1.0
_TERMINATED = 143


class Machine(NamedTuple):
    """How stages share this machine: ``workers`` of them run at once. Each calculates with ``threads`` of the processor and sees
    one of ``gpus`` (names as CUDA_VISIBLE_DEVICES takes them), in turn."""

    workers: int
    threads: int = 1
    gpus: Sequence[str] = ()


class LocalProcesses(ProcessPoolExecutor):
    """Run stages on ``machine``, each in a process that lives for many stages (loading torch takes seconds).

    ``on_event`` receives the progress of every stage, from a thread of this process. Each process loads ``plugins`` (file ->
    digest) before any stage, because stages hold values of their classes.
    """

    def __init__(self, machine: Machine, on_event: Callable[[Event], None], plugins: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[Event] = context.Queue()
        self._closed = threading.Event()
        arguments = (self._queue, context.Value("i", 0), machine, dict(plugins))
        super().__init__(machine.workers, mp_context=context, initializer=_start_worker, initargs=arguments)
        self._listener = threading.Thread(target=self._listen, args=(on_event,), daemon=True)
        self._listener.start()

    def _listen(self, on_event: Callable[[Event], None]) -> None:
        with suppress(EOFError, OSError):
            while not self._closed.is_set():
                with suppress(queue.Empty):
                    on_event(self._queue.get(timeout=0.05))

    def stop(self) -> None:
        """Tell the running stages to save what they have and end; wait at most ten seconds for them."""
        processes = list((self._processes or {}).values())
        for process in processes:
            process.terminate()
        self.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + 10
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
        self._closed.set()

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True)
        self._closed.set()
        self._listener.join()


def _start_worker(events: Queue[Event], started: Any, machine: Machine, plugins: Mapping[str, str]) -> None:
    """Set up a worker: its threads, no more than OMP_NUM_THREADS allows, and its GPU. It leaves Ctrl-C to the parent, and ends when
    the parent ends. ``started``: a counter that all workers share."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_stage)
    end_with_parent()
    workers, threads, gpus = machine
    if gpus:
        with started.get_lock():
            index = started.value
            started.value += 1
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    global _events, _share
    _events, _share = events, 1 / -(-workers // max(1, len(gpus)))
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # on a GPU, because each step has other shapes
    limit = os.environ.get("OMP_NUM_THREADS", "")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(min(threads, int(limit)) if limit.isdigit() else threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for plugin, digest in plugins.items():
        load(Path(plugin), digest=digest)


def _end_stage(_number: int, _frame: object) -> None:
    if not _busy:
        os._exit(_TERMINATED)
    raise KeyboardInterrupt


class Reporter:
    """A `Progress` inside a worker. It sends at most ten events a second, and always the last one."""

    def __init__(self, label: str) -> None:
        self._label, self._last = label, 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:  # noqa: ARG002
        now = time.monotonic()
        if _events is not None and (done >= total or now - self._last > 0.1):
            self._last = now
            _events.put((self._label, done, total, note))


def perform(stage: Stage[Any], run: Path) -> tuple[StageSummary, float]:
    """Run ``stage`` in this process, for the run directory ``run``, and return its summary and its seconds. Module-level, so that
    any executor can ship it."""
    context = Context(run, Reporter(stage.label), _share)
    stage.directory(run).mkdir(parents=True, exist_ok=True)
    files = getattr(stage, "files", {})
    for path, content in digest_files(map(Path, files), stage.label).items():
        if files[path] != content:
            raise StudyError(f"{path}: has changed since the study was planned; run it again")
    started = time.perf_counter()
    global _busy  # noqa: PLW0603 - one per process: whether a stage must be unwound before the process may end
    _busy = True
    try:
        summary = stage.run(context)
    except KeyboardInterrupt:
        os._exit(_TERMINATED)  # the stage is unwound, so what it received is stored
    finally:
        _busy = False
    return summary, time.perf_counter() - started
