"""try: a few questions to the teacher, before many are asked."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from understudy.cli.arguments import add_place, add_study, make_parser, positive
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.table import Screen
from understudy.pipeline.preview import Trial, TrialQuestion, try_teacher
from understudy.sampling.budget import Price, amount
from understudy.studies.load import load_study


def main(verb: str, argv: Sequence[str]) -> int:
    parser = make_parser(verb)
    add_study(parser)
    parser.add_argument("-n", type=positive, default=3, metavar="N", help="questions to try (default 3)")
    add_place(parser)
    options = parser.parse_args(argv)

    study = load_study(options.study, options.overrides, options.profile)
    trial = try_teacher(study, options.out or Path("runs") / study.name, options.n)
    console = Screen()
    for i, one in enumerate(trial.tried, 1):
        _show(i, one, trial.price, console)
    _summary(trial, console)
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


def _summary(trial: Trial, console: Console) -> None:
    outcomes = Counter(one.verdict.outcome.value for one in trial.tried if one.verdict)
    failed = sum(bool(one.error) for one in trial.tried)
    counts = [f"{name} {n}" for name, n in outcomes.most_common()] + ([f"failed {failed}"] if failed else [])
    spent, projected = trial.cost(len(trial.counted)), trial.cost(trial.requests)
    cost = "" if spent is None else f"; cost {amount(spent)}"
    console.print(f"{len(trial.tried)} tried: {', '.join(counts)}{cost}")
    for url, facts in trial.endpoints.items():
        console.print(Text(f"{url}: " + ", ".join(f"{name} {value}" for name, value in facts.items())))
    if not trial.requests:
        return
    line = f"the run asks for {trial.requests:,} chains"
    if trial.tokens is not None:
        read, written = trial.tokens
        line += f": about {trial.requests * read:,.0f} tokens to read and {trial.requests * written:,.0f} to write"
    if projected is not None:
        line += f", {amount(projected)} at the study's price"
    console.print(line)
