"""Options that several verbs share, each described once."""

import argparse
from pathlib import Path
from typing import Any, get_args

from understudy.cli import VERBS
from understudy.core.errors import UserError
from understudy.core.values import AnswerKind


def make_parser(verb: str) -> argparse.ArgumentParser:
    """Make the parser of ``verb``, with the one option that every verb has."""
    parser = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    # Only for --help: `run_verb` removes the option before the arguments are parsed.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="add the traceback to an error message")
    return parser


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run directory")


def add_json(parser: argparse.ArgumentParser, help_: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=help_)


def add_plugins(parser: argparse.ArgumentParser, purpose: str) -> None:
    help_ = f"a Python file that adds {purpose}"
    parser.add_argument("--plugin", action=_LoadPlugin, default=argparse.SUPPRESS, metavar="FILE", help=help_)


class _LoadPlugin(argparse.Action):
    """Load each given file, so that what it adds is registered."""

    def __call__(self, _parser: Any, _namespace: argparse.Namespace, file: Any, _option: str | None = None) -> None:
        from understudy.core.plugins import load

        load(Path(file))


def add_address(parser: argparse.ArgumentParser, *, port: int) -> None:
    """Add the options for the address at which a server listens."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=port, help=f"the port to listen on; 0 picks a free one (default: {port})")


def add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY.toml", help="the study file, or the name of a preset (understudy presets)")
    parser.add_argument("--profile", default="", help="the profile to run, if the study has profiles: smoke, real, paper")


def add_location(parser: argparse.ArgumentParser) -> None:
    """Add the options for the run directory and for values that override the study file's."""
    parser.add_argument("--out", type=Path, help="the run directory (default: runs/NAME, after the study)")
    help_ = "set a key of the study, e.g. training.steps=200"
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help=help_)


def add_questions(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options that name the chains' questions."""
    files = "a file of the chains' questions; repeat for more files"
    parser.add_argument("--problems", action="append", default=[], type=Path, metavar="FILE", required=required, help=files)
    parser.add_argument("--kind", required=required, choices=get_args(AnswerKind), help="the kind of answer the questions have")
    fields = "a field of the questions that has another name: id, question, answer, choices, context"
    parser.add_argument("--problem-field", action=FieldNames, default={}, dest="problem_fields", metavar="OURS=THEIRS", help=fields)


class FieldNames(argparse.Action):
    """Collect ``OURS=THEIRS`` pairs as our field -> theirs."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, pair: Any, option: str | None = None) -> None:
        field, equals, column = str(pair).partition("=")
        if not (field and equals and column):
            raise UserError(f"{option} {pair!r}: must look like OURS=THEIRS, e.g. text=completion")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), field: column})


def positive(text: str) -> int:
    """Parse ``text`` as an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number
