"""Cores, open files, locks and parents of this machine's processes."""

import fcntl
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.core.errors import BusyError

OTHER_FILES = 64
"""Files and pipes that a process may have open in addition to its connections."""


def count_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_files(connections: int) -> int:
    """Return how many of the ``connections`` wanted this process may open at once. Raise its limit on open files where allowed."""
    import resource  # not on every system, and needed only with many connections

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = connections + OTHER_FILES
    if 0 <= soft < required:  # below 0: no limit
        soft = required if hard < 0 else min(required, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft < 0 else max(1, min(connections, soft - OTHER_FILES))


@contextmanager
def hold(path: Path, activity: str) -> Iterator[None]:
    """Lock the file ``path`` and write this process's number into it (`find_holder`).

    Raises BusyError if another process has the lock (``activity`` says what that process does, and what to do about it), and
    OSError, naming the file, if its file system has no locks.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{path.parent}: process {find_holder(path) or '?'} {activity}") from None
        except OSError as error:
            reason = f"cannot be locked ({error.strerror}): put the run directory on a file system that has locks"
            raise OSError(error.errno, reason, str(path)) from error
        file.truncate(0)
        # If a stage runs in its own process, the one to interrupt is its parent, which holds the run directory.
        parent = multiprocessing.parent_process()
        file.write(f"{parent.pid if parent else os.getpid()} {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def find_holder(path: Path) -> int | None:
    """Return the process to interrupt so that the lock on ``path`` is released: the holder's parent if it is alive, else the
    holder. None where nobody has the lock."""
    try:
        pids = list(map(int, path.read_text().split()))
    except (OSError, ValueError):
        return None
    return next(filter(is_alive, pids), None) if pids and is_alive(pids[-1]) else None


def end_with_parent() -> None:
    """End this process (one of `multiprocessing`) soon after its parent has ended. The parent may die while this process starts,
    so take the number that `multiprocessing` passed on, not the one that the system reports now."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_watch, args=(parent and parent.pid,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Return whether a process with this number exists."""
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # it belongs to another user
    return True
