"""The report in the terminal: one table of the arms, what the paired tests say, what has to be read with it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.reports.data import ReportData, Summary
from understudy.reports.words import percent, printable, short_p


def show(data: ReportData, console: Console) -> None:
    """Print ``data`` to ``console``."""
    for split in dict.fromkeys(s.split for s in data.summaries):
        console.print()
        console.print(_arms(data, split))
    headline = data.summaries[0].split
    if data.comparisons:
        console.print()
        console.print(_comparisons(data, headline))
    console.print()
    for note in data.notes:
        console.print(Text(printable(note), style="dim"))


def _arms(data: ReportData, split: str) -> Table:
    summaries = [s for s in data.summaries if s.split == split]
    groups = list(dict.fromkeys(g.value for g in data.groups if g.split == split))
    several = any(s.seeds > 1 for s in summaries)
    untrained = {g.value for g in data.groups if g.split == split and not g.trained}
    title = f"{data.title} · {split}, n = {summaries[0].n // summaries[0].seeds:,}" + (
        f", {summaries[0].seeds} training seeds" if several else ""
    )
    table = Table(title=Text(printable(title)), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1))
    table.header_style = "dim"
    table.add_column("arm", style="bold", overflow="fold", min_width=8)
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="center", no_wrap=True)
    if several:
        table.add_column("each seed", justify="left")
    for value in groups:
        table.add_column(f"{value}{'*' if value in untrained else ''}", justify="right", no_wrap=True)
    table.add_column("stops", justify="right")
    table.add_column("tokens", justify="right")
    if calls := any(s.calls_per_answer > 1 for s in summaries):
        table.add_column("calls", justify="right")
    table.add_column("", no_wrap=True)
    best = max(s.accuracy for s in summaries)
    for s in summaries:
        by = {g.value: g.accuracy for g in data.groups if g.split == split and g.arm == s.arm}
        cells = [Text(printable(s.arm)), Text(percent(s.accuracy), style="bold green" if s.accuracy == best and not s.says else "")]
        cells.append(Text(f"{percent(s.low)} to {percent(s.high)}"))
        if several:
            cells.append(Text(" ".join(percent(a) for a in s.spread), style="dim"))
        cells += [Text(percent(by[value]) if value in by else "") for value in groups]
        cells += [
            Text(percent(s.stop_rate)),
            Text(f"{s.tokens_per_answer:.0f}"),
            *([Text(f"{s.calls_per_answer:.1f}")] if calls else []),
            _remark(s),
        ]
        table.add_row(*cells)
    rates = f"chance {percent(summaries[0].chance)}, " if summaries[0].chance else ""
    columns = f" · {groups[0]} to {groups[-1]}: by {data.by}{', * not trained on' if untrained else ''}" if groups else ""
    lost = " · at chance: nothing can be said of these arms" if any(s.says for s in summaries) else ""
    table.caption = Text(f"{rates}best constant answer {percent(summaries[0].majority)}{columns}{lost}", style="dim")
    table.caption_justify = "left"
    return table


def _remark(s: Summary) -> Text:
    remarks = ["at chance"] if s.says else []
    remarks += [f"{s.errors} errors"] if s.errors else []
    return Text("; ".join(remarks), style="yellow")


def _comparisons(data: ReportData, split: str) -> Table:
    table = Table(
        title=Text(f"compared on {split}, paired; p after Holm's correction"),
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column("arms", overflow="fold")
    table.add_column("difference", justify="right")
    table.add_column("95 % interval", justify="center", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("")
    for c in data.comparisons:
        if c.split == split:
            style = "green" if c.p_holm < 0.05 and "chance" not in c.says else "dim"
            table.add_row(
                Text(printable(f"{c.arm} - {c.other}")),
                Text(f"{100 * c.difference:+.1f}"),
                Text(f"{100 * c.low:+.1f} to {100 * c.high:+.1f}"),
                Text(short_p(c.p_holm)),
                Text(printable(c.says.removeprefix(f"{c.arm} is ")), style=style),
            )
    return table
