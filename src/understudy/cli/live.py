"""The progress of a run in the terminal: stage, done / total, rate, time left. Without a terminal, plain lines."""

import threading
import time
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from understudy.core.errors import counted
from understudy.pipeline.executor import Event
from understudy.pipeline.run import Watcher
from understudy.pipeline.stage import Stage, StageSummary
from understudy.pipeline.stages import answers, chains, problems, selection, student, verdicts

_UNITS = {"chains": "chains", "student": "steps", "answers": "answers"}


class Live(Watcher):
    """A `Watcher` that reports to a console. Enter its ``progress`` to show live bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._tasks: dict[str, tuple[TaskID, str]] = {}
        self._planned, self._finished, self._spoken = 0, 0, time.monotonic()
        self.progress = Progress(
            TextColumn("{task.fields[kind]:<9}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=Column(ratio=3, no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )

    def planned(self, stages: list[Stage[Any]], cached: int) -> None:
        self._planned, self._finished = len(stages), 0
        cached_note = f", {cached} already done" if cached else ""
        self._console.print(f"{counted(len(stages), 'stage')} to do{cached_note}", style="dim", highlight=False)

    def damaged(self, reason: str) -> None:
        self._console.print(Text(reason, style="yellow"), soft_wrap=True)

    def started(self, stage: Stage[Any]) -> None:
        with self._lock:
            self._tasks[stage.label] = self.progress.add_task(stage.label, total=None, kind=stage.kind, note=""), stage.kind

    def event(self, event: Event) -> None:
        label, done, total, note = event
        with self._lock:
            if total == 0 and note:
                self._console.print(Padding(Text(note, style="yellow"), (0, 0, 0, 8)))
            if total == 0 or label not in self._tasks:
                return
            task, kind = self._tasks[label]
            self.progress.update(task, completed=done, total=total, note=note)
            if not self._console.is_terminal and time.monotonic() - self._spoken > 10:
                self._spoken = time.monotonic()
                line = f"  {kind} {label}: {done}/{total} {_UNITS.get(kind, '')}{', ' if note else ''}{note}"
                self._console.print(line, markup=False, highlight=False)

    def finished(self, stage: Stage[Any], summary: StageSummary, seconds: float) -> None:
        with self._lock:
            self._finished += 1
            self.progress.remove_task(self._tasks.pop(stage.label)[0])
            done, took = f"[{self._finished}/{self._planned}]", f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
            head = (f"{done:>7} ", "dim"), (f"{stage.kind:<9} ", "bold"), stage.label
            self._console.print(Text.assemble(*head, (f"  {summarise_stage(summary)}", "cyan"), (f"  {took}", "dim")))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s", style="dim")


def summarise_stage(summary: StageSummary) -> str:
    """Summarise a finished stage in one line."""
    match summary:
        case problems.ProblemsSummary():
            return ", ".join(f"{split} {n:,}" for split, n in summary.sizes.items())
        case chains.ChainsSummary():
            failed = f", {counted(summary.errors, 'request')} FAILED" if summary.errors else ""
            failed += f", {summary.unasked:,} NOT ASKED" if summary.unasked else ""
            made = f"{counted(summary.chains, 'chain')} for {counted(summary.problems, 'problem')}"
            return f"{made} by {', '.join(summary.teachers)}{failed}" if summary.chains else "none: no arm learns from chains"
        case verdicts.VerdictsSummary():
            lines = {check: ", ".join(f"{name} {n:,}" for name, n in counts.items()) for check, counts in summary.outcomes.items()}
            people = f"; {summary.relabelled:,} changed by people" if summary.relabelled else ""
            outcomes = lines.popitem()[1] if len(lines) == 1 else "; ".join(f"{check}: {line}" for check, line in lines.items())
            return outcomes + people
        case selection.SelectionSummary():
            return f"{counted(summary.kept, 'chain')} kept"
        case student.StudentSummary():
            return f"{counted(summary.examples, 'example')} of {counted(summary.problems, 'problem')}"
        case answers.AnswersSummary():
            flag = f", {counted(summary.errors, 'error')}" if summary.errors else ""
            return f"{counted(summary.solutions, 'answer')}, {summary.tokens / max(summary.solutions, 1):.0f} tokens each{flag}"
    raise AssertionError(f"not the summary of a stage: {summary}")
