"""--dry-run: the plan, what is there already, how many requests the teacher would get, the first prompt of each kind."""

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from understudy.pipeline.plan import Plan, make_plan
from understudy.pipeline.preview import count_requests, estimate_memory, first_prompts
from understudy.pipeline.stage import Kind
from understudy.pipeline.stages.student import StudentStage
from understudy.reports.words import printable
from understudy.sampling.budget import BYTES_PER_TOKEN, amount
from understudy.studies.study import Study
from understudy.training.memory import size


def show(study: Study, directory: Path, until: Kind, console: Console) -> None:
    """Print what running ``study`` in ``directory`` would do. Nothing is written, no model is asked."""
    plan = make_plan(study)
    stages = plan.until(until)
    title = f"{study.name} -> {directory}"
    table = Table("stage", "of", "", "memory", box=None, header_style="bold", title=title, title_justify="left")
    for stage in stages:
        memory = _memory(plan, stage) if isinstance(stage, StudentStage) else ""
        table.add_row(stage.kind, Text(stage.label), "[green]there already[/green]" if stage.done(directory) else "to do", memory)
    console.print(table)
    to_do = sum(not stage.done(directory) for stage in stages)
    console.print(f"\n{to_do} of {len(stages)} stages to do")
    _requests(plan, directory, console)
    for title, prompt in first_prompts(plan):
        console.print(Panel(Text(printable(prompt)), title=Text(f"first prompt: {title}"), title_align="left"))


def _memory(plan: Plan, stage: StudentStage) -> str:
    memory, examples, context = estimate_memory(plan, stage)
    return f"{size(memory.total(examples))} at {context} tokens, {examples} at once"


def _requests(plan: Plan, directory: Path, console: Console) -> None:
    counted = count_requests(plan, directory)
    if counted is None:
        console.print("teacher: recorded chains, nothing is asked")
        return
    left = f"{counted.left:,} to ask for"
    if counted.paid or counted.requests != counted.left:
        shared = f", up to {counted.n} replies in each" if counted.n > 1 else ""
        left += f" in {counted.requests:,} requests{shared}"
    console.print(f"teacher: {counted.total:,} chains, {counted.bought:,} already in the ledger, {left}")
    if not counted.paid:
        return
    teacher, (read, written) = plan.study.teacher, counted.expected
    how = "as its replies so far" if counted.means else f"at {BYTES_PER_TOKEN} bytes a token"
    likely = "" if written is None else f"about {written:,.0f} to write, "
    console.print(f"  tokens: about {read:,.0f} to read ({how}), {likely}at most {counted.most.written:,} to write (max_tokens)")
    if teacher.price is not None:
        likely = "" if written is None else f"about {amount(teacher.price.of(read, written))}, "
        console.print(f"  money: {likely}at most {amount(counted.most.money)}")
    if not counted.known and counted.requests < counted.replies:
        money = f", {amount(counted.alone.money)}" if teacher.price else ""
        console.print(
            f"  if the endpoint gives one reply to a request (it was not probed yet): {counted.replies:,} requests, at most "
            f"{counted.alone.tokens:,} tokens{money}"
        )
    if teacher.budget is not None:
        console.print(f"  budget: {teacher.budget.describe(counted.spent)} are spent")
