"""What every verb shares: exit codes, one-message errors, interruption."""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from understudy.cli.arguments import make_parser
from understudy.core.errors import UnderstudyError, UserError
from understudy.reports.words import printable

DONE, FAILED, WRONG_INPUT, WITH_ERRORS, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


EXTRAS = {
    **dict.fromkeys(("numpy", "scipy", "matplotlib", "jinja2", "tokenizers", "rapidfuzz"), "report"),
    **dict.fromkeys(("torch", "transformers", "safetensors", "huggingface_hub"), "train"),
    "peft": "lora",
    **dict.fromkeys(("rouge_score", "sacrebleu"), "rationales"),
    **dict.fromkeys(("starlette", "uvicorn"), "view"),
}
"""Library -> the extra of this package that brings it (pyproject.toml)."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be."""


def run_verb(target: str, verb: str, arguments: Sequence[str]) -> int:
    """Run the function ``target`` ("file:function" of this room) with a parser for ``verb`` and with ``arguments``. Return its exit
    code (None: done); if it raises, print a message and return the exit code of the error."""
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    previous = signal.signal(signal.SIGTERM, _terminate)
    file, _, function = target.partition(":")
    try:
        code: int | None = getattr(importlib.import_module(f"understudy.cli.{file}"), function)(make_parser(verb), rest)
        sys.stdout.flush()
        return code or DONE
    except (UnderstudyError, OSError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, BrokenPipeError):  # `understudy results RUN | head`: the reader has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        code, message = _explain(error, verb, resumable=file == "run" or function == "judge")
        print(printable(f"understudy {verb}: {message}"), file=sys.stderr)
        return code
    finally:
        signal.signal(signal.SIGTERM, previous)


def _explain(error: BaseException, verb: str, *, resumable: bool) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt):
        code, event = (TERMINATED, "terminated") if isinstance(error, Terminated) else (INTERRUPTED, "interrupted")
        return code, f"{event}; what was done is kept, run the same command again to continue" if resumable else event
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").partition(".")[0]
        extra = "serve" if verb == "serve" else EXTRAS[name]
        return WRONG_INPUT, f"this needs {name}, which is not installed: pip install 'understudy[{extra}]'"
    if isinstance(error, UserError):
        return WRONG_INPUT, str(error)
    if isinstance(error, OSError):
        return FAILED, f"{error.filename or 'the disk'}: {error.strerror or error}; what was done is kept"
    return FAILED, str(error)


def _terminate(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` and schedulers send it several times: only the first counts
    raise Terminated
