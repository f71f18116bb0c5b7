"""A process that has imported the heavy libraries once, and forks a child for each command line that the tests run.

Each child is a process of its own and ends as `python -m understudy` does: it waits for its threads, runs what was left for the
exit and writes out what it printed. What differs: the libraries are there already and are not taken apart at the end, which takes
two seconds; the workers of a run are forked too, not started anew; and all of them hash strings by the same seed. Tests of how
processes start, are killed and are interrupted start `python -m understudy` themselves.

Reads a line of JSON for each command (its arguments, directory, environment, and the files for what it prints), and writes its
exit code.
"""

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

MODULES = [
    "torch",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
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
    prepare()
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda _method=None: context
    gc.collect()
    gc.freeze()  # what is here stays: children neither look through it nor copy its pages
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(run(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return 0


def prepare() -> None:
    """Do once what the first run of every process does: read the options of a study and the imports of each stage, load fonts, look
    at what transformers knows of checkpoints."""
    from importlib.resources import files

    from matplotlib.figure import Figure
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    from understudy.pipeline.plan import make_plan
    from understudy.reports.plots import Picture
    from understudy.studies.load import load_study

    make_plan(load_study(Path(str(files("understudy.studies") / "presets" / "demo.toml"))))
    figure = Figure()
    figure.add_subplot().set_title("a")
    assert Picture("", "", figure).svg
    get_checkpoint_conversion_mapping("llama")


def run(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> int:
    """In the child: become the command, run it, and end as an interpreter does, but for its modules; the exit code."""
    for stream, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, flags), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0], sys.argv = cwd, ["understudy", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from understudy.cli import main

    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


if __name__ == "__main__":
    raise SystemExit(main())
