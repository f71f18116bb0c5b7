"""report and results: a run's answers, scored again."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from understudy.cli.arguments import add_json, add_plugins, add_run, make_parser
from understudy.cli.guard import DONE, WITH_ERRORS


def report(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    add_run(parser)
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown instead")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also write the report's pictures as PNG files into DIR")
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)

    from understudy.reports.markdown import markdown
    from understudy.reports.terminal import show
    from understudy.runs.report import open_run, write_page, write_pictures

    data = open_run(options.run, options.plugins)
    console = Console(highlight=False)
    if options.markdown:
        print(markdown(data))
    else:
        show(data, console)
        console.print(f"\nreport: {write_page(data, options.run)}", soft_wrap=True)
    if options.pictures:
        write_pictures(data, options.pictures)
    return WITH_ERRORS if any(row.errors for row in data.rows) else DONE


def results(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    add_run(parser)
    add_json(parser, "a JSON array, one object per row")
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)

    from understudy.runs.report import open_run

    data = open_run(options.run, options.plugins)
    if options.json:
        print(json.dumps([asdict(row) for row in data.rows], indent=1, ensure_ascii=False))
    else:
        from understudy.reports.terminal import show

        show(data, Console(highlight=False))
