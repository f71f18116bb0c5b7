"""status: how far a sampling is, from outside."""

from __future__ import annotations

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


def _shown(found: Status) -> dict[str, object]:
    says: dict[str, object] = {
        "sampling": f"by process {found.writer}" if found.writer else "nobody is at it",
        "chains": f"{found.chains:,} of {found.total:,}{_also({'failed': found.chains_failed, 'not asked': found.chains_unasked})}",
    }
    if found.asked:
        became = {
            "in flight": found.in_flight,
            "in batches": found.in_batches,
            "failed": found.failed,
            "refused": found.refused,
            "lost": found.lost,
        }
        says["requests"] = f"{found.requests:,} sent"
        says["replies"] = f"{found.asked:,} asked for, {found.received:,} received{_also(became)}"
        says["tokens"] = f"{found.read:,} read, {found.written:,} written"
        says["money"] = found.money
    for batch in found.batches:
        says[f"batch {printable(batch['id']) or '(being made)'}"] = (
            f"{batch['requests']:,} requests for {batch['replies']:,} replies at {batch['url']}"
        )
    says["in the ledger"] = f"{found.replies:,} replies"
    if found.left is not None:
        says["rate"] = f"{found.rate:,.1f} chains a second, {timedelta(seconds=round(found.left))} left"
    for engine, addresses in found.capabilities.items():
        for url, facts in addresses.items():
            named = url if len(found.capabilities) == 1 else f"{url} ({engine})"
            says[printable(named)] = {name: printable(value) for name, value in facts.items()}
    return says


def _also(counts: Mapping[str, int]) -> str:
    return "".join(f", {count:,} {name}" for name, count in counts.items() if count)
