"""results: the rows of a run's comparison, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from understudy.cli.arguments import add_json, add_plugins, add_run, make_parser


def main(verb: str, argv: Sequence[str]) -> None:
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
