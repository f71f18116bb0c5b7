"""export: a corpus, or the chains or training examples of a run, in a format that other tools read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from understudy.cli import VERBS
from understudy.cli.guard import DONE
from understudy.cli.import_ import pairs
from understudy.cli.stage_table import tell
from understudy.core.values import AnswerKind


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy export", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("source", metavar="RUN_OR_CORPUS", type=Path, help="a run directory, or a corpus (.parquet)")
    made.add_argument("--to", metavar="FILE", required=True, type=Path, help="the file to write; its card is written beside it")
    made.add_argument("--format", metavar="NAME", required=True, help="jsonl, messages, sharegpt, alpaca, ...")
    made.add_argument("--problems", metavar="FILE", action="append", default=[], type=Path, help="a corpus's questions")
    made.add_argument("--kind", choices=get_args(AnswerKind), help="what kind of answer the questions have")
    made.add_argument("--problem-field", action="append", default=[], metavar="OURS=THEIRS", help="as in import")
    made.add_argument("--arm", help="of a run: the chains selected for this arm (default: all of the teacher's)")
    made.add_argument(
        "--what", choices=("chains", "examples"), default="chains", help="examples: what the arm's student is trained on"
    )
    made.add_argument("--bare", action="store_true", help="rows without metadata; what they lose is counted")
    made.add_argument("--no-terms", action="store_true", help="export although terms or licence are not known")
    made.add_argument("--json", action="store_true", help="the report as JSON")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.runs.export import export_corpus

    report = export_corpus(
        arguments.source,
        to=arguments.to,
        format=arguments.format,
        problems=arguments.problems,
        kind=arguments.kind,
        problem_fields=pairs(arguments.problem_field, "--problem-field"),
        arm=arguments.arm,
        what=arguments.what,
        bare=arguments.bare,
        no_terms=arguments.no_terms,
    )
    tell(f"export: {arguments.to}", report, as_json=arguments.json)
    return DONE
