"""demo, run, sample, check, select, train, evaluate: a study, up to a stage; the demo's is packaged."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from understudy.cli.arguments import add_place, add_study, make_parser, positive
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.live import Live
from understudy.pipeline.run import run_study
from understudy.pipeline.stage import Kind
from understudy.studies.load import load_study

UNTIL: dict[str, Kind] = {
    "demo": "answers",
    "run": "answers",
    "sample": "chains",
    "check": "verdicts",
    "select": "selection",
    "train": "student",
    "evaluate": "answers",
}


def main(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    if verb != "demo":
        add_study(parser)
    add_place(parser)
    parser.add_argument("--seeds", type=positive, help="number of training seeds (study.seeds)")
    parser.add_argument("--workers", type=positive, default=0, help="stages at once (default: one per core)")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, what is there already, the prompts; do nothing")
    options = parser.parse_args(argv)
    if verb == "demo":
        with as_file(files("understudy.studies") / "presets" / "demo.toml") as path:
            study = replace(load_study(path, options.overrides), file="")
    else:
        study = load_study(options.study, options.overrides)
    if options.seeds is not None:
        study = replace(study, seeds=options.seeds)
    directory = options.out or Path("runs") / study.name
    console = Console(highlight=False)
    if options.dry_run:
        from understudy.cli.dry_run import show

        show(study, directory, UNTIL[verb], console)
        return DONE
    console.print(f"[bold]{study.title or study.name}[/bold]  ->  {directory}")
    with Live(console) as live:
        try:
            plan = run_study(study, directory, until=UNTIL[verb], watcher=live, workers=options.workers)
        except KeyboardInterrupt:
            tell_of_batches(verb, directory)
            raise
    if UNTIL[verb] != "answers":
        from understudy.cli.stage_table import show_stages

        code = show_stages(plan, directory, UNTIL[verb], console)
    else:
        code = finish(directory, console, page=verb != "evaluate")
    stopped = plan.chains.read_summary(directory).stopped
    if stopped:
        print(f"understudy {verb}: {stopped}", file=sys.stderr)
        return WITH_ERRORS
    return code


def tell_of_batches(verb: str, directory: Path) -> None:
    """Say what goes on at the server though nobody waits for it."""
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
