"""Processes of this machine."""

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
"""Files and pipes that a process may have open besides its connections."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_files(connections: int) -> int:
    """How many of the ``connections`` wanted this process may open at once. Raises its limit on files where allowed."""
    import resource  # not on every system, and needed by those only who open many

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if 0 <= soft < wanted:  # less than 0: no limit
        soft = wanted if hard < 0 else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft < 0 else max(1, min(connections, soft - OTHER_FILES))


@contextmanager
def hold(path: Path, does: str) -> Iterator[None]:
    """Lock the file ``path`` and write this process's number into it (`find_holder`).

    Raises BusyError where another process has the lock (``does``: what that process does, and what to do about it), and OSError,
    naming the file, where its file system has no locks.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{path.parent}: process {find_holder(path) or '?'} {does}") from None
        except OSError as error:
            what = f"cannot be locked ({error.strerror}): give a run directory on a file system with locks"
            raise OSError(error.errno, what, str(path)) from error
        file.truncate(0)
        # Where a stage runs in a process of its own, the one to interrupt is its parent, which holds the run directory.
        parent = multiprocessing.parent_process()
        file.write(f"{parent.pid if parent else os.getpid()} {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def find_holder(path: Path) -> int | None:
    """The process to interrupt so that the lock on the file ``path`` is released: the holder's parent if it is alive, else the
    holder. None where nobody has the lock."""
    try:
        found = list(map(int, path.read_text().split()))
    except (OSError, ValueError):
        return None
    return next(filter(is_alive, found), None) if found and is_alive(found[-1]) else None


def end_with_parent() -> None:
    """End this process (one of `multiprocessing`) soon after its parent has ended. The parent may die while this process starts, so
    its number is the one that `multiprocessing` passed on, not the one that the system tells now."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_watch, args=(parent and parent.pid,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Whether there is a process with this number."""
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # somebody else's
    return True
