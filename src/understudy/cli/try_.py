"""try: a few questions to the teacher, before many are asked."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from understudy.cli import VERBS
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.core.errors import StudyError
from understudy.reports.words import printable
from understudy.studies.study import Study, load_study
from understudy.studies.trial import Tried, try_teacher


def main(verb: str, argv: Sequence[str]) -> int:
    made = argparse.ArgumentParser(prog=f"understudy {verb}", description=VERBS[verb][1], allow_abbrev=False)
    made.add_argument("study", metavar="STUDY.toml", help="the study file")
    made.add_argument("-n", type=int, default=3, metavar="N", help="questions to try (default 3)")
    made.add_argument("--out", type=Path, help="the run directory (default: runs/ and the study's name)")
    made.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="set a key of the study")
    made.add_argument("--debug", action="store_true", help="add the traceback to an error message")
    arguments = made.parse_args(argv)
    if arguments.n < 1:
        raise StudyError(f"-n {arguments.n}: at least 1")

    study = load_study(arguments.study, arguments.overrides)
    tried = try_teacher(study, arguments.out or Path("runs") / study.name, arguments.n)
    console = Console(highlight=False)
    for i, one in enumerate(tried, 1):
        _show(i, one, console)
    _summary(study, tried, console)
    return WITH_ERRORS if any(one.error for one in tried) else DONE


def _show(i: int, one: Tried, console: Console) -> None:
    chain, verdict = one.chain, one.verdict
    console.print(Text(f"{i}. {one.problem.id}", style="bold"))
    if chain is None or verdict is None:
        console.print(Text(f"failed: {printable(one.error)}\n", style="yellow"))
        return
    prompt = chain.prompt if chain.prompt is not None else f"(recorded without a prompt)\n{one.problem.question}"
    console.print(Panel(Text(printable(prompt)), title="prompt", title_align="left", border_style="dim"))
    console.print(Panel(Text(printable(chain.text)), title="raw reply", title_align="left", border_style="dim"))
    console.print(Text.assemble(("rationale: ", "dim"), printable(chain.rationale) or "(none)"))
    answer = printable(chain.answer) if chain.answer is not None else "none found"
    console.print(Text.assemble(("answer:    ", "dim"), (answer, "bold"), (f"  read by: {chain.layer or 'nothing'}", "dim")))
    style = "green" if verdict.outcome.value == "correct" else "yellow"
    console.print(Text.assemble(("verdict:   ", "dim"), (verdict.outcome.value, style), (f"  {printable(verdict.detail)}", "dim")))
    said = "unknown" if chain.tokens is None else str(chain.tokens)
    cut = "  (cut off at the limit: raise options.max_tokens)" if chain.finish == "length" else ""
    console.print(Text.assemble(("tokens:    ", "dim"), said, (cut, "yellow"), "\n"))


def _summary(study: Study, tried: Sequence[Tried], console: Console) -> None:
    outcomes = Counter(one.verdict.outcome.value for one in tried if one.verdict)
    failed = sum(bool(one.error) for one in tried)
    counts = [f"{name} {n}" for name, n in outcomes.most_common()] + ([f"failed {failed}"] if failed else [])
    console.print(f"{len(tried)} tried: {', '.join(counts)}")
    tokens = [one.chain.tokens for one in tried if one.chain and one.chain.tokens is not None]
    mean = f", {sum(tokens) / len(tokens):.0f} tokens each so far" if tokens else ""
    if study.teacher.engine != "recorded":
        console.print(f"the run asks for {study.teacher.samples:,} chains of every training question{mean}")
