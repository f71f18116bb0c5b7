"""The report in the terminal: the arms on each split, the paired tests, and the notes to read with them."""

from collections.abc import Iterable, Sequence

from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from understudy.reports import tables
from understudy.reports.cells import Table
from understudy.reports.data import ALL_VERSIONS, ReportData, RunComparison
from understudy.reports.words import printable

STYLES = {"plain": "", "name": "bold", "good": "bold green", "bad": "yellow", "dim": "dim"}


def show(data: ReportData, console: Console) -> None:
    """Print ``data`` to ``console``."""
    console.print(Text(f"\n{printable(data.title)}", style="bold"))
    for sentence in (data.supported, data.not_supported):
        console.print(Text(printable(sentence)))
    splits = tables.splits_of(data)
    shown = [tables.tabulate_accuracy(data, split) for split in splits]
    shown += [tables.tabulate_comparisons(data, split) for split in splits]
    shown += [tables.tabulate_consistency(data.consistency), tables.tabulate_comparisons(data, ALL_VERSIONS)]
    shown.append(tables.tabulate_faithfulness(data.faithfulness))
    show_tables(shown if splits else [tables.tabulate_judged(data.judged)], console)
    console.print()
    for note in (*data.notes, data.made_on):
        console.print(Text(printable(note), style="dim"))


def show_comparison(compared: RunComparison, console: Console) -> None:
    """Print which arm is the best of several runs, and what the data support."""
    show_tables(tables.tabulate_runs(compared), console)
    console.print()
    for note in compared.notes:
        console.print(Text(printable(note), style="dim"))
    for sentence in (compared.supported, compared.not_supported):
        console.print(Text(printable(sentence), style="bold"))


def show_tables(shown: Iterable[Table], console: Console) -> None:
    """Print those of ``shown`` that have rows."""
    for table in shown:
        if table.rows:
            drawn, left_out = _draw(table, range(len(table.columns))), ""
            as_wide = console.measure(drawn, options=console.options.update_width(10_000)).maximum
            if as_wide > console.width and (wide := [column.head for column in table.columns if column.wide]):
                drawn = _draw(table, [place for place, column in enumerate(table.columns) if not column.wide])
                left_out = f"A wider window also shows: {', '.join(wide)}."
            console.print()
            console.print(drawn)
            for line in filter(None, (" ".join(filter(None, (table.about, table.note))), left_out)):
                console.print(Text(printable(line), style="dim"))  # wrapped to the screen, even below a wider table


def _draw(table: Table, places: Sequence[int]) -> rich_table.Table:
    drawn = rich_table.Table(title=Text(table.title), title_justify="left", title_style="bold", box=None)
    drawn.header_style, drawn.pad_edge, drawn.padding = "dim", False, (0, 1)
    for place in places:
        head, number = Text(printable(table.columns[place].head)), table.columns[place].number
        width = 8 if table.rows[0][place].role == "name" else None
        drawn.add_column(head, justify="right" if number else "left", no_wrap=number, overflow="fold", min_width=width)
    for row in table.rows:
        drawn.add_row(*(Text(printable(row[place].text), style=STYLES[row[place].role]) for place in places))
    return drawn
