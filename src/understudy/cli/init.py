"""init: a first study for a file of questions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from understudy.cli import VERBS
from understudy.cli.guard import DONE
from understudy.core.errors import UserError
from understudy.reports.words import printable
from understudy.studies.guess import guess, study_text
from understudy.studies.study import load_study


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("file", metavar="FILE", type=Path, help="questions: .jsonl, .json, .csv, .tsv or .parquet")
    made.add_argument(
        "--to", metavar="STUDY.toml", type=Path, help="the study to write (default: the file's name, in this directory)"
    )
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    to = arguments.to or Path(f"{arguments.file.stem}.toml")
    if to.exists():
        raise UserError(f"{to}: is there already; give another name with --to")
    found = guess(arguments.file)
    if found.rows < 10:
        raise UserError(f"{arguments.file}: {found.rows} rows are too few to split; at least 10")
    relative = os.path.relpath(arguments.file.resolve(), to.resolve().parent)
    to.write_text(study_text(arguments.file, found, to=to, relative=relative), encoding="utf-8")
    load_study(to)
    console = Console(highlight=False)
    console.print(f"{found.rows:,} rows; answers look like {found.kind} ({found.fit:.0%} fit)")
    for ours, theirs in found.fields.items():
        value = " ".join(printable(str(found.example.get(theirs, ""))).split())
        shown = value if len(value) <= 70 else value[:69] + "…"
        console.print(Text.assemble((f"  {ours:<10}", "bold"), (f"{printable(theirs)}: ", "dim"), shown))
    console.print(Text(f"wrote {to}: look at it, then: understudy try {to} -n 3"))
    return DONE
