"""run, sample, check, select, train, evaluate: a study, up to a stage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from understudy.cli import VERBS
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.live import Live
from understudy.core.errors import StudyError
from understudy.pipeline.cache import read_manifest
from understudy.pipeline.plan import Kind
from understudy.pipeline.run import run_study
from understudy.studies.study import Study, load_study

UNTIL: dict[str, Kind] = {
    "run": "answers",
    "sample": "chains",
    "check": "verdicts",
    "select": "selection",
    "train": "student",
    "evaluate": "answers",
}


def parser(verb: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("study", metavar="STUDY.toml", help="the study file")
    add_options(made)
    return made


def add_options(made: argparse.ArgumentParser) -> None:
    """The options of every verb that runs a study."""
    made.add_argument("--out", type=Path, help="the run directory (default: runs/ and the study's name)")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="set a key of the study, e.g. training.steps=200",
    )
    made.add_argument("--seeds", type=int, help="number of training seeds (study.seeds)")
    made.add_argument("--workers", type=int, help="stages at once (default: one per core)")
    made.add_argument("--dry-run", action="store_true", help="show the plan, what is there already, the prompts; do nothing")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")


def main(verb: str, argv: Sequence[str]) -> int:
    arguments = parser(verb).parse_args(argv)
    study = load_study(arguments.study, arguments.overrides)
    return start(verb, study, arguments)


def start(verb: str, study: Study, arguments: argparse.Namespace) -> int:
    """Run ``study`` as the options say, show it, and return the exit code."""
    if arguments.seeds is not None:
        if arguments.seeds < 1:
            raise StudyError(f"--seeds {arguments.seeds}: at least 1")
        study = replace(study, seeds=arguments.seeds)
    if arguments.workers is not None and arguments.workers < 1:
        raise StudyError(f"--workers {arguments.workers}: at least 1")
    directory = arguments.out or Path("runs") / study.name
    console = Console(highlight=False)
    if arguments.dry_run:
        from understudy.cli.dry_run import show

        show(study, directory, UNTIL[verb], console)
        return DONE
    console.print(f"[bold]{study.title or study.name}[/bold]  ->  {directory}")
    with Live(console) as live:
        try:
            plan = run_study(study, directory, until=UNTIL[verb], watcher=live, workers=arguments.workers)
        except KeyboardInterrupt:
            tell_of_batches(verb, directory)
            raise
    if UNTIL[verb] != "answers":
        from understudy.cli.stage_table import show_stages

        code = show_stages(plan, directory, UNTIL[verb], console)
    else:
        code = finish(directory, console, page=verb == "run")
    stopped = read_manifest(plan.stages[plan.chains].directory(directory))["says"].get("stopped")
    if stopped:
        print(f"understudy {verb}: {stopped}", file=sys.stderr)
        return WITH_ERRORS
    return code


def tell_of_batches(verb: str, directory: Path) -> None:
    """What goes on though nobody waits for it."""
    from understudy.sampling.status import status

    if (directory / "ledger.sqlite").is_file() and (held := sum(batch["requests"] for batch in status(directory).batches)):
        print(
            f"understudy {verb}: {held:,} requests are in batches that go on at the server; the same command takes what comes of "
            f"them, `understudy status {directory}` names them",
            file=sys.stderr,
        )


def finish(directory: Path, console: Console, *, page: bool) -> int:
    """Score, show the table, link the students and (``page``) write the report; exit code 3 where an arm has errors."""
    from understudy.reports.terminal import show
    from understudy.runs.report import link_students, open_run, write_page

    link_students(directory)
    data = open_run(directory)
    show(data, console)
    if page:
        console.print(f"\nreport: {write_page(data, directory)}", soft_wrap=True)
    return WITH_ERRORS if data.errors else DONE
