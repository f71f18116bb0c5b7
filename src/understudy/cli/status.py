"""status: how far a sampling is, from outside."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from understudy.cli.arguments import add_json, add_run, make_parser
from understudy.reports.words import printable
from understudy.sampling.status import Status, status


def main(verb: str, argv: Sequence[str]) -> None:
    parser = make_parser(verb)
    add_run(parser)
    add_json(parser)
    options = parser.parse_args(argv)

    from understudy.cli.stage_table import tell

    found = status(options.run)
    tell(str(options.run), found.to_json() if options.json else _shown(found), as_json=options.json)


def _shown(state: Status) -> dict[str, object]:
    rows: dict[str, object] = {
        "sampling": f"by process {state.writer}" if state.writer else "nobody is at it",
        "chains": f"{state.chains:,} of {state.total:,}{_also({'failed': state.chains_failed, 'not asked': state.chains_unasked})}",
    }
    if state.asked:
        waiting = {"in flight": state.in_flight, "in batches": state.in_batches}
        counts = {**waiting, "failed": state.failed, "refused": state.refused, "lost": state.lost}
        rows["requests"] = f"{state.requests:,} sent"
        rows["replies"] = f"{state.asked:,} asked for, {state.received:,} received{_also(counts)}"
        rows["tokens"] = f"{state.read:,} read, {state.written:,} written"
        rows["money"] = state.money
    for batch in state.batches:
        name = printable(batch["id"]) or "(being made)"
        rows[f"batch {name}"] = f"{batch['requests']:,} requests for {batch['replies']:,} replies at {batch['url']}"
    rows["in the ledger"] = f"{state.replies:,} replies"
    if state.left is not None:
        rows["rate"] = f"{state.rate:,.1f} chains a second, {timedelta(seconds=round(state.left))} left"
    for engine, addresses in state.capabilities.items():
        for url, facts in addresses.items():
            label = url if len(state.capabilities) == 1 else f"{url} ({engine})"
            rows[printable(label)] = {name: printable(value) for name, value in facts.items()}
    return rows


def _also(counts: Mapping[str, int]) -> str:
    return "".join(f", {count:,} {name}" for name, count in counts.items() if count)
