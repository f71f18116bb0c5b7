"""The command line as a user runs it, and the settings that make the demo tiny."""

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TINY = [
    "task.train=48",
    "task.dev=16",
    "task.test=40",
    "task.longer_test=12",
    "teacher.samples=3",
    "training.steps=8",
    "training.batch_size=8",
    "training.checks=2",
    "student.hidden=32",
    "student.layers=1",
    "student.heads=2",
    "arms.4.decode.votes=3",
    *(f"arms.{arm}.options.max_tokens=24" for arm in (1, 2, 3, 4)),  # students that learned nothing write to the end
]
SCREEN = {"COLUMNS": "120", "NO_COLOR": "1"}
SETS = [word for assignment in TINY for word in ("--set", assignment)]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def understudy(*arguments: str, cwd: Path, timeout: float = 240) -> Ran:
    """Run the command line in a process of its own, which has the heavy libraries already (warm.py)."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        out.touch()
        err.touch()
        order = {"arguments": arguments, "cwd": str(cwd), "out": str(out), "err": str(err), "environment": {**os.environ, **SCREEN}}
        code = _ask(json.dumps(order), timeout)
        return Ran(code, out.read_text(), err.read_text())


def _ask(order: str, timeout: float) -> int:
    process = _warm_process()
    process.stdin.write(order + "\n")
    process.stdin.flush()
    if not select.select([process.stdout], [], [], timeout)[0]:
        os.killpg(process.pid, signal.SIGKILL)
        _warm_process.cache_clear()
        raise TimeoutError(f"{timeout:.0f} s were not enough for {order}")
    return int(process.stdout.readline())


@functools.cache
def _warm_process() -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("warm.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)
    atexit.register(process.stdin.close)
    return process


def understudy_anew(*arguments: str, cwd: Path, timeout: float = 240) -> Ran:
    """The same, started as a user would: an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "understudy", *arguments],
        cwd=cwd,
        env=os.environ | SCREEN,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
