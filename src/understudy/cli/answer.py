"""answer: one question to a trained student, by the method, format and stop rules of its card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from understudy.cli import VERBS
from understudy.cli.guard import DONE, FAILED


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy answer", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("student", metavar="STUDENT", type=Path, help="a student's directory (runs/NAME/students/ARM)")
    made.add_argument("question", metavar="QUESTION", help="the question, as the training questions were written")
    made.add_argument(
        "--with", dest="partners", action="append", default=[], type=Path, metavar="STUDENT", help="the student of another role"
    )
    made.add_argument("--choice", action="append", default=[], metavar="TEXT", help="an answer option, once per option, in order")
    made.add_argument("--votes", type=int, default=1, help="sampled chains whose majority answers (default: one greedy chain)")
    made.add_argument("--temperature", type=float, help="of the sampled chains (default: 0.7 for several votes)")
    made.add_argument("--beams", type=int, default=1, help="of a beam search (default: 1, greedy)")
    made.add_argument("--calculator", action="store_true", help="fill in the values of GSM8K's marks while it writes")
    made.add_argument("--seed", type=int, default=0, help="of the sampled chains")
    made.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a Python file that adds the student's method")
    made.add_argument("--json", action="store_true", help="the solutions and the answer as JSON")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)

    from understudy.pipeline.student import ask_student
    from understudy.reports.words import printable

    answered = ask_student(
        arguments.student,
        arguments.question,
        partners=arguments.partners,
        choices=arguments.choice,
        votes=arguments.votes,
        temperature=arguments.temperature,
        beams=arguments.beams,
        calculator=arguments.calculator,
        seed=arguments.seed,
        plugins=arguments.plugin,
    )
    if arguments.json:
        print(json.dumps(answered.to_json(), indent=1, ensure_ascii=False))
    else:
        console = Console(highlight=False)
        for solution in answered.solutions:
            said = printable(solution.text).strip() or "(nothing)"
            console.print(Text.assemble((said, ""), ("  (cut off)" if solution.finish == "length" else "", "yellow")))
        share = f"  ({answered.share:.0%} of {arguments.votes} votes)" if arguments.votes > 1 else ""
        answer = printable(answered.answer or "none found")
        console.print(Text.assemble(("answer: ", "bold"), (answer, "bold green"), (share, "dim")))
    return DONE if answered.answer is not None else FAILED
