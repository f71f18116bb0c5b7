"""results: the rows of a run's comparison, for people or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from understudy.cli import VERBS
from understudy.cli.guard import DONE


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy results", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("run", metavar="RUN", type=Path, help="a run directory")
    made.add_argument("--json", action="store_true", help="a JSON array, one object per row")
    made.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a Python file that adds the check of the run's study"
    )
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.runs.report import open_run

    data = open_run(arguments.run, arguments.plugin)
    if arguments.json:
        print(json.dumps([row.to_json() for row in data.rows], indent=1, ensure_ascii=False))
    else:
        from understudy.reports.terminal import show

        show(data, Console(highlight=False))
    return DONE
