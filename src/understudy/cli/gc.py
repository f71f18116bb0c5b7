"""gc: remove the stages that a run's study no longer needs. What was paid for (the ledger) is never removed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from understudy.cli import VERBS
from understudy.cli.guard import DONE


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy gc", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("run", metavar="RUN", type=Path, help="a run directory")
    made.add_argument("--dry-run", action="store_true", help="say what would be removed; remove nothing")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.runs.holdings import collect_garbage

    removed = collect_garbage(arguments.run, dry_run=arguments.dry_run)
    word = "would remove" if arguments.dry_run else "removed"
    for held in removed:
        print(f"{word} {held.kind} {held.label} ({held.bytes:,} bytes)")
    print(f"{word} {len(removed)} stages, {sum(held.bytes for held in removed):,} bytes")
    return DONE
