"""Memory of models: recognise errors that say it ran out, and give back what is not needed."""

import ctypes
import gc
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

_NO_MEMORY = "can't allocate memory|out of memory|STATUS_ALLOC_FAILED|bad_alloc|Invalid buffer size|could not create a primitive"
"""The last but one is Apple's, the last oneDNN's, when the address space is used up."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether ``error`` says that memory ran out: Python's, or torch's, which on a CPU is a plain RuntimeError."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and re.search(_NO_MEMORY, str(error)) is not None)


def measure_resident() -> int:
    """Return the bytes of this process that are in memory; 0 if the system does not say."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def trim_memory(limit: float = 0) -> int:
    """Give freed memory back to the system if more than ``limit`` bytes are resident; returns `measure_resident`. With ``limit`` 0,
    first collect objects that only refer to each other, such as an engine that has answered.

    glibc keeps freed pieces below 32 MiB for later. When the lengths change from step to step, little fits into the pieces of the
    step before, and a process grows to twice what it needs.
    """
    if not limit:
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    if measure_resident() > limit:
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
    return measure_resident()
