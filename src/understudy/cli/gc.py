"""gc: remove the stages that a run's study no longer needs. What was paid for (the ledger) is never removed."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.cli.arguments import add_run, make_parser


def main(verb: str, argv: Sequence[str]) -> None:
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
