"""import: chains that somebody already has, in any of the formats, into a corpus, checked against their questions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from understudy.cli import VERBS
from understudy.cli.guard import DONE
from understudy.cli.stage_table import tell
from understudy.core.errors import UserError
from understudy.core.values import AnswerKind


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy import", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("chains", metavar="FILE", nargs="+", type=Path, help="files of chains")
    made.add_argument(
        "--problems", metavar="FILE.jsonl", action="append", required=True, type=Path, help="their questions; again for more files"
    )
    made.add_argument("--kind", required=True, choices=get_args(AnswerKind), help="what kind of answer the questions have")
    made.add_argument("--format", metavar="NAME", default="", help="of the chains; without it, read off each file, and said")
    made.add_argument("--to", metavar="CORPUS.parquet", required=True, type=Path, help="the corpus to write")
    made.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="field of a chain where the names differ: problem, question, text, reasoning, answer, teacher, tokens, logprob, ...",
    )
    made.add_argument(
        "--problem-field",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="field of a question: id, question, answer, choices, context",
    )
    made.add_argument(
        "--prefer", choices=("text", "recorded"), default="text", help="whose answer counts where text and row differ"
    )
    made.add_argument("--terms", default="", help="under what terms the teacher's texts may be used: for the corpus's card")
    made.add_argument("--licence", default="", help="of the questions: for the corpus's card")
    made.add_argument("--json", action="store_true", help="the report as JSON")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.runs.import_ import import_corpus

    report = import_corpus(
        arguments.chains,
        problems=arguments.problems,
        kind=arguments.kind,
        to=arguments.to,
        fields=pairs(arguments.field, "--field"),
        problem_fields=pairs(arguments.problem_field, "--problem-field"),
        prefer=arguments.prefer,
        format=arguments.format,
        terms=arguments.terms,
        licence=arguments.licence,
    )
    tell(f"corpus: {arguments.to}", report, as_json=arguments.json)
    return DONE


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    pairs = {}
    for pair in given:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"{option} {pair!r}: must look like OURS=THEIRS, e.g. text=completion")
        pairs[ours] = theirs
    return pairs
