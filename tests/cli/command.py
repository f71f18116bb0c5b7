"""The command line as a user runs it, and the settings that make the demo tiny."""

import os
import subprocess
import sys
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
    "student.hidden=32",
    "student.layers=1",
    "student.heads=2",
    "arms.4.decode.votes=3",
]
SETS = [word for assignment in TINY for word in ("--set", assignment)]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def understudy(*arguments: str, cwd: Path, timeout: float = 240) -> Ran:
    """Run the command line as a user would, in a process of its own."""
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "understudy", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
