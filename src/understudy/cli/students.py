"""The verbs `answer` (ask a trained student one question, by the method, format and stop rules of its card) and `serve` (run
students as an OpenAI-compatible server)."""

import os
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from understudy.cli.arguments import add_address, add_json, add_plugins, positive
from understudy.cli.guard import DONE, FAILED
from understudy.cli.table import Screen, print_json, say
from understudy.core.errors import UserError


def answer(parser: ArgumentParser, argv: Sequence[str]) -> int:
    parser.add_argument("student", metavar="STUDENT", type=Path, help="a student's directory (runs/NAME/students/ARM)")
    parser.add_argument("question", metavar="QUESTION", help="the question, as the training questions were written")
    partner = "the student of another role"
    parser.add_argument("--with", dest="partners", action="append", default=[], type=Path, metavar="STUDENT", help=partner)
    choices = "an answer option; repeat for each one, in order"
    parser.add_argument("--choice", dest="choices", action="append", default=[], metavar="TEXT", help=choices)
    votes = "how many sampled chains vote on the answer (this and the next four: as the student's arm, if not given)"
    parser.add_argument("--votes", type=int, help=votes)
    parser.add_argument("--temperature", type=float, help="temperature of the sampled chains")
    parser.add_argument("--beams", type=int, help="beams of a beam search (1: no beam search)")
    parser.add_argument("--calculator", action=BooleanOptionalAction, help="fill in the values of GSM8K's marks while it writes")
    parser.add_argument("--seed", type=int, help="seed of the sampled chains")
    add_plugins(parser, "the student's method")
    add_json(parser, "print the solutions and the answer as JSON")
    options = vars(parser.parse_args(argv))
    as_json = options.pop("json")

    from understudy.runs.ask import ask_student

    result = ask_student(**options)
    if as_json:
        print_json(result)
    else:
        console = Screen()
        for solution in result.solutions:
            text = solution.text.strip() or "(nothing)"
            console.print(Text.assemble((text, ""), ("  (cut off)" if solution.finish == "length" else "", "yellow")))
        n = len(result.solutions)
        share = f"  ({result.share:.0%} of {n} votes)" if n > 1 else ""
        console.print(Text.assemble(("answer: ", "bold"), (result.answer or "none found", "bold green"), (share, "dim")))
    return DONE if result.answer is not None else FAILED


def share(text: str) -> float:
    """Parse ``text`` as a share: above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"{text}: must be above 0 and at most 1")
    return value


def serve(parser: ArgumentParser, argv: Sequence[str]) -> None:
    student = "a student's directory (runs/NAME/students/ARM); its last part names the model"
    parser.add_argument("students", metavar="STUDENT", nargs="+", type=Path, help=student)
    add_address(parser, port=8000)
    parser.add_argument("--key-env", metavar="NAME", help="the environment variable with the key that clients must send")
    parser.add_argument("--max-requests", type=positive, default=1024, metavar="N", help="requests at once (default: 1024)")
    parser.add_argument("--timeout", type=positive, default=600, metavar="SECONDS", help="most time for a request (default: 600)")
    teacher = "a TOML file with a [teacher] table: under NAME-cascade, it answers if the student's votes do not agree"
    parser.add_argument("--teacher", metavar="FILE", type=Path, help=teacher)
    agree = "the share of a student's votes that must agree for its answer to count in a cascade (default: 0.75)"
    parser.add_argument("--agreement", type=share, default=0.75, metavar="SHARE", help=agree)
    add_plugins(parser, "the students' method")
    wanted = parser.parse_args(argv)
    key = os.environ.get(wanted.key_env, "") if wanted.key_env else ""
    if wanted.key_env and not key:
        raise UserError(f"--key-env {wanted.key_env}: that environment variable has no value; set it to the key")

    from understudy.serving import server
    from understudy.serving.students import open_students

    students = open_students(wanted.students)
    options = server.ServerOptions(wanted.host, wanted.port, key, wanted.max_requests, wanted.timeout, wanted.agreement)
    server.serve(students, options, lambda url: say(f"serving {', '.join(students)} at {url}; Ctrl-C stops it"), wanted.teacher)
