"""Processes of this machine."""

import os
import threading
import time


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
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    return max(1, min(connections, allowed - OTHER_FILES))


def end_with_parent(parent: int) -> None:
    """End this process soon after the one that started it, ``parent``, has ended, or now where it has: it may have been killed
    while this one began, so the parent itself says its number."""
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
