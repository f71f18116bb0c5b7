"""A process that has imported the heavy libraries once, and forks a child for each command line that the tests run.

Each child is a process of its own and ends as `python -m understudy` does. What differs: the libraries are there already, the
workers of a run are forked too, not started anew, and all of them hash strings by the same seed. Tests of how processes start,
are killed and are interrupted start `python -m understudy` themselves.

Reads a line of JSON for each command (its arguments, directory, environment, and the files for what it prints), and writes its
exit code.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

MODULES = [
    "torch",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.t5.modeling_t5",
    "scipy.stats",
    "matplotlib.figure",
    "jinja2",
    "understudy.cli.guard",
]
SOURCE = Path(__file__).resolve().parents[2] / "src"


def main() -> int:
    for file in sorted(SOURCE.rglob("[a-z]*.py")):
        MODULES.append(".".join(file.relative_to(SOURCE).with_suffix("").parts))
    for module in MODULES:
        importlib.import_module(module)
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda _method=None: context
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return run(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return 0


def run(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> int:
    """In the child: become the command, then run it."""
    for stream, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, flags), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0], sys.argv = cwd, ["understudy", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from understudy.cli import main

    return main(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
