"""answer: one question to a trained student, by the method, format and stop rules of its card."""

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from understudy.cli.arguments import add_json, add_plugins
from understudy.cli.guard import DONE, FAILED
from understudy.cli.table import Screen, print_json


def main(parser: ArgumentParser, argv: Sequence[str]) -> int:
    parser.add_argument("student", metavar="STUDENT", type=Path, help="a student's directory (runs/NAME/students/ARM)")
    parser.add_argument("question", metavar="QUESTION", help="the question, as the training questions were written")
    partner = "the student of another role"
    parser.add_argument("--with", dest="partners", action="append", default=[], type=Path, metavar="STUDENT", help=partner)
    choices = "an answer option, once per option, in order"
    parser.add_argument("--choice", dest="choices", action="append", default=[], metavar="TEXT", help=choices)
    how = "sampled chains whose majority answers (default: as the arm, like all that follow)"
    parser.add_argument("--votes", type=int, help=how)
    parser.add_argument("--temperature", type=float, help="of the sampled chains")
    parser.add_argument("--beams", type=int, help="of a beam search (1: none)")
    marks = "fill in the values of GSM8K's marks while it writes"
    parser.add_argument("--calculator", action=BooleanOptionalAction, help=marks)
    parser.add_argument("--seed", type=int, help="of the sampled chains")
    add_plugins(parser, "the student's method")
    add_json(parser, "the solutions and the answer as JSON")
    wanted = vars(parser.parse_args(argv))
    as_json = wanted.pop("json")

    from understudy.runs.ask import ask_student

    result = ask_student(**wanted)
    if as_json:
        print_json(result)
    else:
        console = Screen()
        for solution in result.solutions:
            said = solution.text.strip() or "(nothing)"
            console.print(Text.assemble((said, ""), ("  (cut off)" if solution.finish == "length" else "", "yellow")))
        votes = len(result.solutions)
        share = f"  ({result.share:.0%} of {votes} votes)" if votes > 1 else ""
        answer = result.answer or "none found"
        console.print(Text.assemble(("answer: ", "bold"), (answer, "bold green"), (share, "dim")))
    return DONE if result.answer is not None else FAILED
