"""The processes that train one student together. Each takes a part of every step's examples; gradients are added up.

    with join(2, work, device="cuda", sharded=False) as ranks:     # the other process calls work(its own ranks)
        wrapped_model = ranks.prepare(model, "cuda")

`torch.distributed` does the work: with DDP each process has the whole student, with FSDP (`fully_shard`) each keeps a part of its
weights, gradients and optimizer state. The first process starts the others; it alone writes files, scores checkpoints and reports
progress.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from understudy.core.errors import StudyError, UnderstudyError
from understudy.core.processes import end_with_parent
from understudy.engines.local.device import SettledDevice
from understudy.engines.local.load import choose_attention

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long a process waits for another: the first may be scoring a checkpoint."""
GRACE = 30.0
"""Seconds within which an exchange with a process that has ended should fail. On a GPU it may wait forever instead."""


@dataclass(frozen=True)
class Ranks:
    """This process is number ``rank`` of ``size``. ``sharded``: none has the whole student (FSDP)."""

    rank: int = 0
    size: int = 1
    sharded: bool = False

    def prepare(self, model: Any, device: SettledDevice) -> Any:
        """Prepare ``model`` for training in several processes. Call what this returns instead of ``model``."""
        choose_attention(model, device)
        if self.size == 1:
            return model.to(device)
        if not self.sharded:
            return torch.nn.parallel.DistributedDataParallel(model.to(device), gradient_as_bucket_view=True)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # T5's layers return views, but nothing is written to them: tests/training/test_processes.py compares the losses.
        warnings.filterwarnings("ignore", ".*returned a view tensor", UserWarning)
        mesh = init_device_mesh(device, (self.size,))
        layers = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
        for module in (*layers, model):
            fully_shard(module, mesh=mesh)  # moves each to the device by itself: the whole model may not fit there
        return model.to(device)

    def split(self, examples: Sequence[T], scales: Sequence[float], size: int, *, mixed: bool) -> list[list[tuple[T, float]]]:
        """Split off this process's share of a step: parts of at most ``size`` examples with their scales, as many parts as every
        other process.

        If this process has fewer examples than another, some come twice, with scale 0. ``mixed``: neighbours go to different
        processes, so that all have long and short ones; else they stay together.
        """
        share = -(-len(examples) // self.size)
        pairs = list(zip(examples, scales, strict=True))
        selected = pairs[self.rank :: self.size] if mixed else pairs[self.rank * share : (self.rank + 1) * share]
        selected += [((selected or pairs)[0][0], 0.0)] * (share - len(selected))
        return [selected[start : start + size] for start in range(0, share, size)]

    def sync_gradients(self, wrapped_model: Any, *, last: bool) -> AbstractContextManager[None]:
        """Enter this around the forward and backward pass of a part: only the ``last`` part of a step exchanges gradients."""
        if self.sharded:
            wrapped_model.set_requires_gradient_sync(last)
        return wrapped_model.no_sync() if self.size > 1 and not self.sharded and not last else nullcontext()

    def sum(self, value: float) -> float:
        """Return the sum of every process's ``value``."""
        return self._reduce(value, dist.ReduceOp.SUM)

    def minimum(self, value: int) -> int:
        """Return the smallest of every process's ``value``."""
        return int(self._reduce(value, dist.ReduceOp.MIN))

    def gather(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the whole ``tensors`` to the first process. Every process must call this; the others get empty tensors."""
        if not self.sharded:
            return tensors
        from torch.distributed.tensor import DTensor

        gathered: dict[int, torch.Tensor] = {}
        for key, shard in {id(value): value.detach() for value in tensors.values()}.items():  # tied ones once
            full = shard.full_tensor() if isinstance(shard, DTensor) else shard
            gathered[key] = full.cpu() if self.rank == 0 else full.new_empty(0)  # a GPU may not hold all of them
        return {name: gathered[id(value)] for name, value in tensors.items()}

    def _reduce(self, value: float, operation: Any) -> float:
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor, operation)
        return float(tensor)


@contextmanager
def join(size: int, work: Callable[[Ranks], None], *, device: SettledDevice, sharded: bool) -> Iterator[Ranks]:
    """Start ``size`` - 1 other processes, which call ``work`` (it must pickle) with ranks of their own, and end with this context.

    Raises StudyError if there are too few GPUs, and UnderstudyError with the reason if another process fails.
    """
    ranks = Ranks(0, size, sharded)
    if size == 1:
        yield ranks
        return
    devices = torch.cuda.device_count() if device == "cuda" else 1 if device == "mps" else size
    if devices < size:
        raise StudyError(f"training.processes = {size}: each process needs a GPU of its own, but there are {devices}; set fewer")
    context = multiprocessing.get_context("spawn")
    processes: dict[Any, Connection] = {}
    with TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        for rank in range(1, size):
            parent_end, child_end = context.Pipe()
            arguments = (replace(ranks, rank=rank), device, store, child_end, work)
            process = context.Process(target=_run_other_rank, args=arguments, daemon=True)
            process.start()
            child_end.close()
            processes[process] = parent_end
        finished = threading.Event()
        try:
            for process, pipe in processes.items():
                if process.sentinel in wait([process.sentinel, pipe]) and not pipe.poll():
                    raise UnderstudyError(f"a process of the training ended before it began (exit code {process.exitcode})")
                pipe.recv()
            threading.Thread(target=_end_with_others, args=(list(processes), finished), daemon=True).start()
            _connect(ranks, device, store)
            try:
                yield ranks
                ranks.minimum(1)  # the others wait until the last file is written
            finally:
                time.sleep(0.1)  # so that the thread of the last exchange gets Python's lock once more (see _run_other_rank)
                dist.destroy_process_group()
            finished.set()
        except BaseException as error:
            reason = _explain(error, processes)
            finished.set()
            for process in processes:
                process.kill()
                process.join()
            if reason is None:
                raise
            raise UnderstudyError(f"{reason}; what was saved is kept: run it again to continue") from error
        for process in processes:
            process.join(GRACE)
            process.kill()


def _connect(ranks: Ranks, device: SettledDevice, store: str) -> None:
    if device == "cuda":
        torch.cuda.set_device(ranks.rank)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all of them are on this machine
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=dist.FileStore(store, ranks.size),  # type: ignore[attr-defined]
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=PATIENCE,
    )


def _run_other_rank(ranks: Ranks, device: SettledDevice, store: str, ready: Connection, work: Callable[[Ranks], None]) -> None:
    """Run in every process but the first: report that it is ready, work, and report the error that ended it.

    It ends abruptly. In an orderly end, Python frees the group (torch 2.13, gloo) and, holding its own lock, waits for a thread
    that waits for this lock: the process would never end, and the first process would wait forever.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process handles Ctrl-C
    ready.send(None)
    try:
        _connect(ranks, device, store)
        work(ranks)
        ranks.minimum(1)
    except Exception as error:  # noqa: BLE001 - the first process reports it
        ready.send(f"{type(error).__name__}: {error}")
        os._exit(1)
    dist.destroy_process_group()
    os._exit(0)


def _explain(error: BaseException, processes: dict[Any, Connection]) -> str | None:
    """Say what ended another process, if that caused the first process's ``error``; else None."""
    if not isinstance(error, RuntimeError) or not any(word in str(error).lower() for word in ("gloo", "nccl", "peer")):
        return None
    for process, pipe in processes.items():
        if not pipe.poll(5):
            continue
        try:
            return f"a process of the training failed: {pipe.recv()}"
        except EOFError:
            process.join(5)
            return f"a process of the training ended without a message (exit code {process.exitcode})"
    return None


def _end_with_others(processes: list[Any], finished: threading.Event) -> None:
    """End this process if it still waits for one that has ended: no signal reaches it while it waits."""
    wait([process.sentinel for process in processes])
    time.sleep(GRACE)
    if not finished.is_set():
        print("a process of the training has ended, but others wait for it; run it again to continue", file=sys.stderr, flush=True)
        os._exit(1)
