"""demo: the packaged study on the embedded world, written to runs/demo."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files

from understudy.cli import VERBS
from understudy.cli.run import add_options, start
from understudy.studies.study import load_study


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog="understudy demo", description=VERBS[verb][1], allow_abbrev=False)
    add_options(made)
    arguments = made.parse_args(argv)
    with as_file(files("understudy.studies") / "presets" / "demo.toml") as path:
        study = replace(load_study(path, arguments.overrides), file="")
    return start("run", study, arguments)
