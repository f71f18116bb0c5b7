"""The verbs that run a study: `demo` (a packaged one), `run`, `sample`, `check`, `select`, `train` and `evaluate`, each up to its
stage; and `try`, which asks the teacher a few questions first. --dry-run shows the plan, what is done already, how many requests
the teacher would get, and the first prompt of each kind.
"""

import re
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from understudy.cli.arguments import add_location, add_study, positive
from understudy.cli.guard import DONE, WITH_ERRORS
from understudy.cli.live import Live
from understudy.cli.table import Screen, say, show_table
from understudy.core.errors import counted
from understudy.core.values import grouped
from understudy.pipeline import preview
from understudy.pipeline.plan import Plan, make_plan
from understudy.pipeline.run import run_study
from understudy.pipeline.stage import Kind
from understudy.pipeline.stages.student import StudentStage
from understudy.pipeline.stages.verdicts import VerdictsStage
from understudy.sampling.budget import BYTES_PER_TOKEN, Price, amount
from understudy.studies.load import load_study
from understudy.studies.presets import PACKAGED
from understudy.studies.study import Study

UNTIL: dict[str, Kind] = {"sample": "chains", "check": "verdicts", "select": "selection", "train": "student"}
"""verb -> the last kind of stage it runs; the other verbs run everything."""
LABELS = {
    "best": "step of the kept checkpoint",
    "chosen": "checkpoint chosen on dev",
    "saw": "evaluated questions seen before",
    "scratch": "from scratch",
    "spelled": "words spelled in letters",
}
"""field of a stage's summary -> what the screen calls it; where it is 0, it is left out."""


def main(parser: ArgumentParser, argv: Sequence[str]) -> int:
    verb = parser.prog.removeprefix("understudy ")
    if verb != "demo":
        add_study(parser)
    add_location(parser)
    parser.add_argument("--seeds", type=positive, help="number of training seeds (study.seeds)")
    parser.add_argument("--workers", type=positive, default=0, help="how many stages to run at once, which share the cores")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, what is done already and the prompts; run nothing")
    options = parser.parse_args(argv)
    if verb == "demo":
        study = replace(load_study(PACKAGED / "demo.toml", options.overrides), file="")
    else:
        study = load_study(options.study, options.overrides, options.profile)
    if options.seeds is not None:
        study = replace(study, seeds=options.seeds)
    directory, until = options.out or Path("runs") / study.name, UNTIL.get(verb, "answers")
    console = Screen()
    if options.dry_run:
        dry_run(study, directory, until, console)
        return DONE
    console.print(Text.assemble((study.title or study.name, "bold"), f"  ->  {directory}"))
    live = Live(console)
    with live.progress:
        try:
            plan = run_study(study, directory, until=until, watcher=live, workers=options.workers)
        except KeyboardInterrupt:
            report_batches(verb, directory)
            raise
    if until != "answers":
        show_stages(plan, directory, until, console)
    else:
        finish(directory, console, page=verb != "evaluate")
    failures = list(list_failures(plan, directory, until))
    for line in failures:
        say(f"understudy {verb}: {line}", file=sys.stderr)
    return WITH_ERRORS if failures else DONE


def list_failures(plan: Plan, directory: Path, until: Kind) -> Iterator[str]:
    """Yield why chains or answers are missing: one line for requests that failed, with the most common reason, and one for a
    sampling that stopped."""
    if errors := [error for stage in plan.list_until(until) for error in stage.read_errors(directory)]:
        # Numbers and quoted pieces of prompts differ from request to request: without them, equal reasons read alike.
        groups = grouped((re.sub(r"""\d+|(?<!\w)(['"]).*?\1(?!\w)""", "", error), error) for error in errors)
        largest = max(groups.values(), key=len)
        yield f"{counted(len(errors), 'request')} failed; the most common reason ({len(largest):,}): {largest[0]}"
    if stopped := plan.chains.read_summary(directory).stopped:
        yield stopped


def report_batches(verb: str, directory: Path) -> None:
    """Report the batches that keep running at the server after an interruption."""
    from understudy.sampling.status import status

    if (directory / "ledger.sqlite").is_file() and (running := sum(batch.requests for batch in status(directory).batches)):
        message = f"{running:,} requests are in batches that keep running at the server; the same command collects their replies"
        say(f"understudy {verb}: {message}, and `understudy status {directory}` lists them", file=sys.stderr)


def finish(directory: Path, console: Console, *, page: bool) -> None:
    """Score, show the table, bundle the students and (``page``) write the report."""
    from understudy.reports.terminal import show
    from understudy.runs.bundle import bundle_students
    from understudy.runs.looks import record_look
    from understudy.runs.report import open_run, write_page

    bundle_students(directory)
    data = open_run(directory)
    show(data, console)
    record_look(directory)
    if page:
        console.print(f"\nreport: {write_page(data, directory)}", soft_wrap=True)


def show_stages(plan: Plan, run: Path, kind: Kind, console: Console) -> None:
    """Print the summary of each stage of ``kind``."""
    for stage in plan.list_until(kind):
        if stage.kind == kind:
            summary = stage.read_summary(run)
            fields = {LABELS.get(k, k.replace("_", " ")): v for k, v in asdict(summary).items() if k != "worth"}.items()
            facts = {k: "yes" if v is True else v for k, v in fields if v or (v == 0 and k not in LABELS.values())}
            if isinstance(stage, VerdictsStage):
                facts |= summary.worth.describe() | {"overlap": stage.problems.read_summary(run).describe_near()}
            show_table(f"{kind}: {stage.label}", {**facts, "in": str(stage.directory(run))}, console)


def dry_run(study: Study, directory: Path, until: Kind, console: Console) -> None:
    """Print what running ``study`` in ``directory`` would do, without writing anything or asking a model."""
    plan = make_plan(study, until=until, fetch=False)
    stages, absent = plan.list_until(until), plan.absent or {}
    title = f"{study.name} -> {directory}"
    table = Table("stage", "of", "", "memory", box=None, header_style="bold", title=title, title_justify="left")
    for stage in stages:
        memory, state = "", Text("done", style="green") if stage.done(directory) else "to do"
        if isinstance(stage, StudentStage) and stage.student.checkpoint not in absent:
            memory = preview.estimate_memory(plan, stage)
        table.add_row(stage.kind, Text(stage.label), state, memory)
    console.print(table)
    for error in absent.values():
        console.print(Text(f"\nnot on this machine, so its memory is not estimated: {error}"))
    console.print(f"\n{sum(not stage.done(directory) for stage in stages)} of {len(stages)} stages to do")
    show_requests(plan, directory, console)
    if until == "answers":
        show_asking_arms(plan, directory, console)
    for title, prompt in preview.list_first_prompts(plan):
        console.print(Panel(Text(prompt), title=Text(f"first prompt: {title}"), title_align="left"))


def show_requests(plan: Plan, directory: Path, console: Console) -> None:
    """Print what is still to be asked of the teacher, and what that costs."""
    if (requests := preview.count_requests(plan, directory)) is None:
        console.print("teacher: nothing to ask for: the chains are recorded, or no arm learns from chains")
        return
    remaining = f"{requests.remaining:,} to ask for"
    if requests.paid or requests.maximum.requests != requests.remaining:
        shared = f", up to {requests.n} replies in each" if requests.n > 1 else ""
        remaining += f" in {requests.maximum.requests:,} requests{shared}"
    held = f"{requests.in_batches:,} under way in a batch, " if requests.in_batches else ""
    console.print(f"teacher: {requests.total:,} chains, {requests.in_ledger:,} already in the ledger, {held}{remaining}")
    if not requests.paid:
        return
    teacher, (read, written) = plan.study.teacher, requests.expected
    how = "going by its replies so far" if requests.means else f"at {BYTES_PER_TOKEN} bytes a token"
    about = "" if written is None else f"about {written:,.0f} to write, "
    console.print(f"  tokens: about {read:,.0f} to read ({how}), {about}at most {requests.maximum.written:,} to write (max_tokens)")
    if teacher.price is not None:
        about = "" if written is None else f"about {amount(teacher.price.of(read, written))}, "
        console.print(f"  money: {about}at most {amount(requests.maximum.money)}")
    single = requests.maximum_if_single
    if not requests.probed and requests.maximum.requests < single.requests:
        money = f", {amount(single.money)}" if teacher.price else ""
        single_cost = f"{single.requests:,} requests, at most {single.tokens:,} tokens{money}"
        console.print(f"  if the endpoint gives only one reply per request (it has not been probed yet): {single_cost}")
    for identity, count in requests.under_other_engines.most_common(1):
        if count:
            console.print(Text(f"  {count:,} of these are in the ledger under {identity!r}: if that is the same model, set"))
            console.print("  teacher.identity to it, and they are not asked for again")
    if teacher.budget is not None:
        console.print(f"  budget: {teacher.budget.describe(requests.spent)} are spent")


def show_asking_arms(plan: Plan, directory: Path, console: Console) -> None:
    """Print what the arms themselves will still ask of the teacher."""
    if limit := preview.count_answers(plan, directory):
        cost = f"at most {limit.tokens:,} tokens" + (f", {amount(limit.money)}" if plan.study.teacher.price else "")
        console.print(f"  plus {limit.requests:,} first requests by arms that ask the teacher: {cost}; later turns are not counted")


def try_(parser: ArgumentParser, argv: Sequence[str]) -> int:
    add_study(parser)
    parser.add_argument("-n", type=positive, default=3, metavar="N", help="questions to try (default 3)")
    add_location(parser)
    options = parser.parse_args(argv)

    study = load_study(options.study, options.overrides, options.profile)
    directory = options.out or Path("runs") / study.name
    trial = preview.try_teacher(study, directory, options.n)
    console = Screen()
    for i, question in enumerate(trial.tried, 1):
        _show_try(i, question, study.teacher.price, console)
    _sum_up_try(trial, study.teacher.price, console)
    show_requests(trial.plan, directory, console)
    show_asking_arms(trial.plan, directory, console)
    return WITH_ERRORS if any(question.error for question in trial.tried) else DONE


def _show_try(i: int, question: preview.TrialQuestion, price: Price | None, console: Console) -> None:
    chain, verdict = question.chain, question.verdict
    console.print(Text(f"{i}. {question.problem.id}", style="bold"))
    if chain is None or verdict is None:
        console.print(Text(f"failed: {question.error}\n", style="yellow"))
        return
    prompt = chain.prompt if chain.prompt is not None else f"(recorded without a prompt)\n{question.problem.question}"
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


def _sum_up_try(trial: preview.Trial, price: Price | None, console: Console) -> None:
    outcomes = Counter(question.verdict.outcome.value for question in trial.tried if question.verdict)
    failed = sum(bool(question.error) for question in trial.tried)
    counts = [f"{name} {n}" for name, n in outcomes.most_common()] + ([f"failed {failed}"] if failed else [])
    tokens = [(question.chain.prompt_tokens, question.chain.tokens) for question in trial.tried if question.chain]
    spent = [price.of(read, written) for read, written in tokens if price and read is not None and written is not None]
    console.print(f"{len(trial.tried)} tried: {', '.join(counts)}" + (f"; cost {amount(sum(spent))}" if spent else ""))
    for url, facts in trial.endpoints.items():
        console.print(Text(f"{url}: " + ", ".join(f"{name} {value}" for name, value in facts.items())))
