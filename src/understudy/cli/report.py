"""report: score a run's answers again and write its page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from understudy.cli import VERBS
from understudy.cli.guard import DONE, WITH_ERRORS


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy report", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("run", metavar="RUN", type=Path, help="a run directory")
    made.add_argument("--markdown", action="store_true", help="print the tables as Markdown instead")
    made.add_argument("--pictures", type=Path, metavar="DIR", help="also write the report's pictures as PNG files into DIR")
    made.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a Python file that adds the check of the run's study"
    )
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.reports.markdown import markdown
    from understudy.reports.terminal import show
    from understudy.runs.report import open_run, write_page, write_pictures

    data = open_run(arguments.run, arguments.plugin)
    console = Console(highlight=False)
    if arguments.markdown:
        print(markdown(data))
    else:
        show(data, console)
        console.print(f"\nreport: {write_page(data, arguments.run)}", soft_wrap=True)
    if arguments.pictures:
        write_pictures(data, arguments.pictures)
    return WITH_ERRORS if any(row.errors for row in data.rows) else DONE
