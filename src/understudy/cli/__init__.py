"""The command line: `main` looks up the verb in a table and imports only the file that implements it."""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

VERBS: Mapping[str, tuple[str, str]] = tomllib.loads((files("understudy.cli") / "verbs.toml").read_text("utf-8"))
"""verb -> (its file in this room: its function, what it does)"""


def format_usage() -> str:
    verbs = "\n".join(f"  {verb:<13}  {summary}" for verb, (_, summary) in VERBS.items())
    return (files("understudy.cli") / "usage.txt").read_text("utf-8").format(verbs=verbs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(format_usage(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        return 0
    verb = arguments.pop(0)
    if verb not in VERBS:
        from understudy.core.errors import suggest

        print(f"understudy: there is no verb {verb!r}{suggest(verb, VERBS)}\n\n{format_usage()}", file=sys.stderr, end="")
        return 2
    from understudy.cli.guard import run_verb

    return run_verb(VERBS[verb][0], verb, arguments)
