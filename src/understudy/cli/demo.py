"""demo: the packaged study on the embedded world, written to runs/demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files

from understudy.cli.arguments import make_parser
from understudy.cli.run import add_options, start
from understudy.studies.load import load_study


def main(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    add_options(parser)
    options = parser.parse_args(argv)
    with as_file(files("understudy.studies") / "presets" / "demo.toml") as path:
        study = replace(load_study(path, options.overrides), file="")
    return start("run", study, options)
