"""The verbs about runs that exist: `report`, `results`, `compare`, `status`, `ls` and `gc`.

`gc` never removes the ledger, which was paid for.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from understudy.cli.arguments import add_json, add_plugins, add_run
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.table import Screen, print_json, say, show_facts
from understudy.core.errors import counted
from understudy.sampling.status import Status, status


def report(parser: ArgumentParser, argv: Sequence[str]) -> int:
    add_run(parser)
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown instead")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also write the report's pictures as PNG files into DIR")
    add_plugins(parser, "the check of the run's study")
    options = parser.parse_args(argv)

    from understudy.reports.documents import render_markdown
    from understudy.reports.terminal import show
    from understudy.runs.looks import record_look
    from understudy.runs.report import open_run, write_page, write_pictures

    data = open_run(options.run)
    record_look(options.run)
    console = Screen()
    if options.markdown:
        print(render_markdown(data))
    else:
        show(data, console)
        console.print(f"\nreport: {write_page(data, options.run)}", soft_wrap=True)
    if options.pictures:
        write_pictures(data, options.pictures)
    return WITH_ERRORS if data.errors else DONE


def results(parser: ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    add_json(parser, "print a JSON array, one object per row")
    add_plugins(parser, "the check of the run's study")
    other = parser.add_mutually_exclusive_group()
    answers = "write every answer with its outcome to a .parquet or .csv file"
    other.add_argument("--answers", type=Path, metavar="FILE", help=answers)
    other.add_argument("--rationales", metavar="ARM", help="compare the arms' rationales with those of ARM, e.g. the teacher's")
    options = parser.parse_args(argv)

    from understudy.reports.terminal import show, show_tables
    from understudy.runs.looks import record_look
    from understudy.runs.run import Run

    run = Run(options.run)
    if options.answers:
        from understudy.runs.answers import write_answers

        print(f"{options.answers}: {write_answers(run, options.answers):,} answers")
    elif options.rationales:
        from understudy.runs.rationales import compare_rationales, tabulate_likeness

        split = run.study.evaluation.splits[0]
        likeness = list(compare_rationales(run, options.rationales, split))
        if options.json:
            print_json(likeness)
        else:
            show_tables([tabulate_likeness(likeness, options.rationales, split)], Screen())
    else:
        from understudy.runs.report import open_run

        data = open_run(options.run)
        if options.json:
            print_json(data.rows)
        else:
            show(data, Screen())
    record_look(options.run)


def compare(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run directory")
    parser.add_argument("--split", default="", help="the split to compare on (default: the first that all runs answered)")
    parser.add_argument("--arm", action="append", default=[], dest="arms", metavar="NAME", help="only this arm; repeat for more")
    parser.add_argument("--anyway", action="store_true", help="compare even if questions, checks or decoding differ, and say how")
    add_json(parser)
    add_plugins(parser, "the check of the runs' studies")
    options = parser.parse_args(argv)

    from understudy.reports.terminal import show_comparison
    from understudy.runs.compare import compare_runs
    from understudy.runs.looks import record_look
    from understudy.runs.run import Run

    compared = compare_runs([Run(run) for run in options.runs], options.split, options.arms, anyway=options.anyway)
    for run in options.runs:
        record_look(run)
    if options.json:
        print_json(compared)
    else:
        show_comparison(compared, Screen())


def ls(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, nargs="?", help="a run directory; without it, every run in runs/")
    add_json(parser)
    options = parser.parse_args(argv)

    from understudy.pipeline.plan import PLAN
    from understudy.runs.holdings import list_holdings

    if options.run is None:
        runs = {plan.parent: list_holdings(plan.parent) for plan in sorted(Path("runs").glob(f"*/{PLAN}"))}
        body: object = [{"run": str(run), "stages": stages} for run, stages in runs.items()]
        table = Table("run", "stages", "needed", "size", box=None, header_style="bold")
        for run, stages in runs.items():
            size = decimal(sum(holding.bytes for holding in stages))
            table.add_row(str(run), str(len(stages)), str(sum(holding.needed for holding in stages)), size)
    else:
        body = stages = list_holdings(options.run)
        table = Table("stage", "of", "made", "seconds", "size", "", box=None, header_style="bold")
        for holding in stages:
            note = "" if holding.needed and holding.complete else "not needed" if holding.complete else "unfinished"
            seconds, size = f"{holding.seconds:.1f}", decimal(holding.bytes)
            table.add_row(holding.kind, holding.label, holding.made, seconds, size, Text(note, style="yellow"))
    if options.json:
        print_json(body)
    else:
        Screen().print(table if table.row_count else f"{options.run}: no stages" if options.run else "no runs in runs/")


def gc(parser: ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed; remove nothing")
    options = parser.parse_args(argv)

    from understudy.runs.holdings import collect_garbage

    removed = collect_garbage(options.run, dry_run=options.dry_run)
    word = "would remove" if options.dry_run else "removed"
    for holding in removed:
        say(f"{word} {holding.kind} {holding.label} ({holding.bytes:,} bytes)")
    print(f"{word} {counted(len(removed), 'stage')}, {sum(holding.bytes for holding in removed):,} bytes")


def show_status(parser: ArgumentParser, argv: Sequence[str]) -> None:
    add_run(parser)
    add_json(parser)
    options = parser.parse_args(argv)

    state = status(options.run)
    show_facts(str(options.run), asdict(state) if options.json else _describe_status(state), as_json=options.json)


def _describe_status(state: Status) -> dict[str, object]:
    rows: dict[str, object] = {
        "sampling": f"by process {state.writer}" if state.writer else "no process is sampling",
        "chains": f"{state.chains:,} of {state.total:,}{_list({'failed': state.chains_failed, 'not asked': state.chains_unasked})}",
    }
    if state.asked:
        waiting = {"in flight": state.in_flight, "in batches": state.in_batches}
        counts = {**waiting, "failed": state.failed, "not sent or refused": state.refused, "lost": state.lost}
        rows["requests"] = f"{state.requests:,} sent"
        rows["replies"] = f"{state.asked:,} asked for, {state.received:,} received{_list(counts)}"
        note = ", some set aside" if state.in_flight or state.lost else ""
        rows[f"tokens{note}"] = f"{state.read:,} read, {state.written:,} written"
        rows[f"money{note}"] = state.money or "0, or teacher.price is not set"
    for batch in state.batches:
        requests = f"{counted(batch.requests, 'request')} for {counted(batch.replies, 'reply')}"
        rows[f"batch {batch.id or '(being created)'}"] = f"{requests} at {batch.url}"
    rows["in the ledger"] = counted(state.replies, "reply")
    if state.left is not None:
        rows["rate"] = f"{state.rate:,.1f} chains a second, {timedelta(seconds=round(state.left))} left"
    for engine, addresses in state.capabilities.items():
        for url, facts in addresses.items():
            rows[url if len(state.capabilities) == 1 else f"{url} ({engine})"] = facts
    return rows


def _list(counts: Mapping[str, int]) -> str:
    return "".join(f", {count:,} {name}" for name, count in counts.items() if count)
