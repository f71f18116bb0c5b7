"""The options that several verbs have, each described once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from understudy.cli import VERBS
from understudy.core.errors import UserError
from understudy.core.values import AnswerKind


def make_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of ``verb``, with the option that all verbs have."""
    parser = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    return parser


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="a run directory")


def add_json(parser: argparse.ArgumentParser, what: str = "as JSON") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def add_plugins(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help=f"a Python file that adds {what}")


def add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY.toml", help="the study file")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Where a study runs, and what is set otherwise than in its file."""
    parser.add_argument("--out", type=Path, help="the run directory (default: runs/ and the study's name)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="set a key of the study, e.g. training.steps=200",
    )


def add_questions(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The files of questions that belong to chains."""
    parser.add_argument(
        "--problems",
        metavar="FILE",
        action="append",
        default=[],
        required=required,
        type=Path,
        help="the chains' questions; again for more files",
    )
    parser.add_argument("--kind", required=required, choices=get_args(AnswerKind), help="what kind of answer the questions have")
    add_field_names(parser, "--problem-field", "field of a question where the names differ: id, question, answer, choices, context")


def add_field_names(parser: argparse.ArgumentParser, option: str, what: str) -> None:
    parser.add_argument(option, action="append", default=[], metavar="OURS=THEIRS", help=what)


def field_names(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Our field -> theirs, of ``OURS=THEIRS`` pairs."""
    names = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"{option} {pair!r}: must look like OURS=THEIRS, e.g. text=completion")
        names[ours] = theirs
    return names


def at_least_one(number: int | None, option: str) -> None:
    """Raise UserError where an option's number is below 1."""
    if number is not None and number < 1:
        raise UserError(f"{option} {number}: must be at least 1")
