"""try: a few questions to the teacher, before many are asked."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from understudy.cli.arguments import add_place, add_study, positive
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.run import show_requests
from understudy.cli.table import Screen
from understudy.pipeline.preview import Trial, TrialQuestion, try_teacher
from understudy.sampling.budget import Price, amount
from understudy.studies.load import load_study


def main(parser: ArgumentParser, argv: Sequence[str]) -> int:
    add_study(parser)
    parser.add_argument("-n", type=positive, default=3, metavar="N", help="questions to try (default 3)")
    add_place(parser)
    options = parser.parse_args(argv)

    study = load_study(options.study, options.overrides, options.profile)
    directory = options.out or Path("runs") / study.name
    trial = try_teacher(study, directory, options.n)
    console = Screen()
    for i, one in enumerate(trial.tried, 1):
        _show(i, one, study.teacher.price, console)
    _summary(trial, study.teacher.price, console)
    show_requests(trial.plan, directory, console)
    return WITH_ERRORS if any(one.error for one in trial.tried) else DONE


def _show(i: int, one: TrialQuestion, price: Price | None, console: Console) -> None:
    chain, verdict = one.chain, one.verdict
    console.print(Text(f"{i}. {one.problem.id}", style="bold"))
    if chain is None or verdict is None:
        console.print(Text(f"failed: {one.error}\n", style="yellow"))
        return
    prompt = chain.prompt if chain.prompt is not None else f"(recorded without a prompt)\n{one.problem.question}"
    console.print(Panel(Text(prompt), title="prompt", title_align="left", border_style="dim"))
    console.print(Panel(Text(chain.text), title="raw reply", title_align="left", border_style="dim"))
    console.print(Text.assemble(("rationale: ", "dim"), chain.rationale or "(none)"))
    answer = chain.answer if chain.answer is not None else "none found"
    console.print(Text.assemble(("answer:    ", "dim"), (answer, "bold"), (f"  read by: {chain.layer or 'nothing'}", "dim")))
    style = "green" if verdict.outcome.value == "correct" else "yellow"
    console.print(Text.assemble(("verdict:   ", "dim"), (verdict.outcome.value, style), (f"  {verdict.detail}", "dim")))
    count = "unknown" if chain.tokens is None else str(chain.tokens)
    if chain.tokens is not None and chain.prompt_tokens is not None:
        count = f"{chain.prompt_tokens} read, {chain.tokens} written"
        count += "" if price is None else f", cost {amount(price.of(chain.prompt_tokens, chain.tokens))}"
    cut = "  (cut off at the limit: raise options.max_tokens)" if chain.finish == "length" else ""
    console.print(Text.assemble(("tokens:    ", "dim"), count, (cut, "yellow"), "\n"))


def _summary(trial: Trial, price: Price | None, console: Console) -> None:
    outcomes = Counter(one.verdict.outcome.value for one in trial.tried if one.verdict)
    failed = sum(bool(one.error) for one in trial.tried)
    counts = [f"{name} {n}" for name, n in outcomes.most_common()] + ([f"failed {failed}"] if failed else [])
    tokens = [(one.chain.prompt_tokens, one.chain.tokens) for one in trial.tried if one.chain]
    spent = [price.of(read, written) for read, written in tokens if price and read is not None and written is not None]
    cost = f"; cost {amount(sum(spent))}" if spent else ""
    console.print(f"{len(trial.tried)} tried: {', '.join(counts)}{cost}")
    for url, facts in trial.endpoints.items():
        console.print(Text(f"{url}: " + ", ".join(f"{name} {value}" for name, value in facts.items())))
