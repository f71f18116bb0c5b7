"""serve: students as an OpenAI-compatible server."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from understudy.cli.arguments import add_address, add_plugins, positive
from understudy.cli.guard import DONE
from understudy.cli.table import say
from understudy.core.errors import UserError


def share(text: str) -> float:
    """The share in ``text``."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most 1")
    return value


def main(parser: argparse.ArgumentParser, argv: Sequence[str]) -> int:
    student = "a student's directory (runs/NAME/students/ARM); its last part is the name of the model"
    parser.add_argument("students", metavar="STUDENT", nargs="+", type=Path, help=student)
    add_address(parser, port=8000)
    parser.add_argument("--key-env", metavar="NAME", help="the environment variable with the key that clients must send")
    parser.add_argument("--max-requests", type=positive, default=1024, metavar="N", help="requests at once (default: 1024)")
    parser.add_argument("--timeout", type=positive, default=600, metavar="SECONDS", help="how long one may take (default: 600)")
    teacher = "a TOML file with a [teacher] table: it answers, as NAME-cascade, where the student's votes do not agree"
    parser.add_argument("--teacher", metavar="FILE", type=Path, help=teacher)
    agree = "the share of a student's votes that makes its answer good enough in a cascade (default: 0.75)"
    parser.add_argument("--agreement", type=share, default=0.75, metavar="SHARE", help=agree)
    add_plugins(parser, "the students' method")
    wanted = parser.parse_args(argv)
    key = os.environ.get(wanted.key_env, "") if wanted.key_env else ""
    if wanted.key_env and not key:
        raise UserError(f"--key-env {wanted.key_env}: that environment variable has no value; set it to the key")

    from understudy.serving.server import ServerOptions, serve
    from understudy.serving.students import open_students

    students = open_students(wanted.students)
    options = ServerOptions(wanted.host, wanted.port, key, wanted.max_requests, wanted.timeout, wanted.agreement)
    serve(students, options, lambda url: say(f"serving {', '.join(students)} at {url}, until Ctrl-C"), wanted.teacher)
    return DONE
