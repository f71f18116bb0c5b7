"""The options that several verbs have, each described once."""

import argparse
from pathlib import Path
from typing import Any, get_args

from understudy.cli import VERBS
from understudy.core.errors import UserError
from understudy.core.values import AnswerKind


def make_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of ``verb``, with the option that all verbs have."""
    parser = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    # `guarded` takes it out, so it is never among the parsed ones.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="add the traceback to an error message")
    return parser


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run directory")


def add_json(parser: argparse.ArgumentParser, what: str = "as JSON") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def add_plugins(parser: argparse.ArgumentParser, what: str) -> None:
    help_ = f"a Python file that adds {what}"
    parser.add_argument("--plugin", action=_LoadPlugin, default=argparse.SUPPRESS, metavar="FILE", help=help_)


class _LoadPlugin(argparse.Action):
    """Imports each file that is given, so that what it adds is registered."""

    def __call__(self, _parser: Any, _namespace: argparse.Namespace, file: Any, _option: str | None = None) -> None:
        from understudy.core.plugins import load

        load(Path(file))


def add_address(parser: argparse.ArgumentParser, *, port: int) -> None:
    """Add the options for the address at which a server listens."""
    parser.add_argument("--host", default="127.0.0.1", help="where it listens (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=port, help=f"0: one that is free (default: {port})")


def add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY.toml", help="the study file, or the name of a preset (understudy presets)")
    parser.add_argument("--profile", default="", help="which of its profiles, for a study that has some: smoke, real, paper")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options for the run directory and for keys that are set otherwise than in the study file."""
    parser.add_argument("--out", type=Path, help="the run directory (default: runs/ and the study's name)")
    help_ = "set a key of the study, e.g. training.steps=200"
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help=help_)


def add_questions(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The files of questions that belong to chains."""
    files = "the chains' questions; again for more files"
    parser.add_argument("--problems", action="append", default=[], type=Path, metavar="FILE", required=required, help=files)
    parser.add_argument("--kind", required=required, choices=get_args(AnswerKind), help="what kind of answer the questions have")
    fields = "field of a question where the names differ: id, question, answer, choices, context"
    parser.add_argument("--problem-field", action=FieldNames, default={}, dest="problem_fields", metavar="OURS=THEIRS", help=fields)


class FieldNames(argparse.Action):
    """Collects ``OURS=THEIRS`` pairs as our field -> theirs."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, pair: Any, option: str | None = None) -> None:
        ours, equals, theirs = str(pair).partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"{option} {pair!r}: must look like OURS=THEIRS, e.g. text=completion")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), ours: theirs})


def positive(text: str) -> int:
    """The number in ``text``, for an option that takes none below 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number
