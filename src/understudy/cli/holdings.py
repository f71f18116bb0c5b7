"""ls and gc: what runs hold, and how what their studies no longer need is removed: never the ledger, which was paid for."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from understudy.cli.arguments import add_json, add_run, make_parser


def ls(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    parser.add_argument("run", metavar="RUN", type=Path, nargs="?", help="a run directory; without it, every run in runs/")
    add_json(parser)
    options = parser.parse_args(argv)

    from understudy.runs.holdings import find_runs, holdings

    if options.run is None:
        runs = {run: holdings(run) for run in find_runs(Path("runs"))}
        body = [{"run": str(run), "stages": [asdict(held) for held in stages]} for run, stages in runs.items()]
        table = Table("run", "stages", "needed", "size", box=None, header_style="bold")
        for run, stages in runs.items():
            size = decimal(sum(held.bytes for held in stages))
            table.add_row(str(run), str(len(stages)), str(sum(held.needed for held in stages)), size)
    else:
        stages = holdings(options.run)
        body = [asdict(held) for held in stages]
        table = Table("stage", "of", "made", "seconds", "size", "", box=None, header_style="bold")
        for held in stages:
            note = "" if held.needed and held.complete else "not needed" if held.complete else "unfinished"
            seconds, size = f"{held.seconds:.1f}", decimal(held.bytes)
            table.add_row(held.kind, held.label, held.made, seconds, size, f"[yellow]{note}[/yellow]")
    if options.json:
        print(json.dumps(body, indent=1))
    else:
        Console(highlight=False).print(table if table.row_count else "no runs in runs/")


def gc(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    add_run(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed; remove nothing")
    options = parser.parse_args(argv)

    from understudy.runs.holdings import collect_garbage

    removed = collect_garbage(options.run, dry_run=options.dry_run)
    word = "would remove" if options.dry_run else "removed"
    for held in removed:
        print(f"{word} {held.kind} {held.label} ({held.bytes:,} bytes)")
    print(f"{word} {len(removed)} stages, {sum(held.bytes for held in removed):,} bytes")
