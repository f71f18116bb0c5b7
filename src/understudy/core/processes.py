"""Processes of this machine."""

import fcntl
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import IO

OTHER_FILES = 64
"""Open files and pipes of a process that are no connections, at most."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_files(connections: int) -> int:
    """How many of so many ``connections`` this process may open at once. Its limit on files is raised where that may be."""
    import resource  # not on every system, and needed by those only who open many

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if 0 <= soft < wanted:  # less than 0: no limit
        soft = wanted if hard < 0 else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft < 0 else max(1, min(connections, soft - OTHER_FILES))


def hold(path: Path) -> IO[str]:
    """Open the file ``path`` and hold it until it is closed. Raises BlockingIOError where another process holds it, OSError that
    names it where its file system has no locks."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise
        what = f"cannot be locked ({error.strerror}): give a run directory on a file system with locks"
        raise OSError(error.errno, what, str(path)) from error
    return file


def end_with_parent() -> None:
    """End this process (one of `multiprocessing`) soon after the one that started it has ended, or now where it has: that may have
    been killed while this one began, so its number is the one that it passed on."""
    parent = multiprocessing.parent_process()
    number = parent and parent.pid
    if os.getppid() != number:
        os._exit(1)
    threading.Thread(target=_watch, args=(number,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # somebody else's
    return True
