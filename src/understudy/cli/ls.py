"""ls: what runs hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from understudy.cli.arguments import add_json, make_parser
from understudy.cli.guard import DONE


def main(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    parser.add_argument("run", metavar="RUN", type=Path, nargs="?", help="a run directory; without it, every run in runs/")
    add_json(parser)
    options = parser.parse_args(argv)

    from understudy.runs.holdings import find_runs, holdings

    console = Console(highlight=False)
    if options.run is None:
        table = Table("run", "stages", "needed", "size", box=None, header_style="bold")
        rows = [(run, holdings(run)) for run in find_runs(Path("runs"))]
        if options.json:
            print(json.dumps([{"run": str(run), "stages": [h.to_json() for h in held]} for run, held in rows], indent=1))
            return DONE
        for run, held in rows:
            table.add_row(str(run), str(len(held)), str(sum(h.needed for h in held)), _size(sum(h.bytes for h in held)))
        console.print(table if rows else "no runs in runs/")
        return DONE
    held = holdings(options.run)
    if options.json:
        print(json.dumps([h.to_json() for h in held], indent=1))
        return DONE
    table = Table("stage", "of", "made", "seconds", "size", "", box=None, header_style="bold")
    for h in held:
        note = "" if h.needed and h.complete else "not needed" if h.complete else "unfinished"
        table.add_row(h.kind, h.label, h.made, f"{h.seconds:.1f}", _size(h.bytes), f"[yellow]{note}[/yellow]")
    console.print(table)
    return DONE


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
