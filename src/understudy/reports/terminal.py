"""The report in the terminal: the arms on each split, the paired tests, and the notes to read with them."""

from collections.abc import Iterable, Sequence

from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from understudy.reports.cells import Table
from understudy.reports.data import ReportData, RunComparison
from understudy.reports.tables import make_tables, tabulate_runs
from understudy.reports.words import printable

STYLES = {"plain": "", "name": "bold", "good": "bold green", "bad": "yellow", "dim": "dim"}


def show(data: ReportData, console: Console) -> None:
    """Print ``data`` to ``console``."""
    _print_lines([f"\n{data.title}"], "bold", console)
    _print_lines([data.supported, data.not_supported], "", console)
    titles = ("Accuracy on ", "Compared on ", "Contrast sets", "Faithfulness") if data.summaries else ("Answers side by side",)
    show_tables((table for table in make_tables(data) if table.title.startswith(titles)), console)
    console.print()
    _print_lines([*data.notes, data.made_on], "dim", console)


def show_comparison(compared: RunComparison, console: Console) -> None:
    """Print which arm is the best of several runs, and what the data support."""
    show_tables(tabulate_runs(compared), console)
    console.print()
    _print_lines(compared.notes, "dim", console)
    _print_lines([compared.supported, compared.not_supported], "bold", console)


def show_tables(selected: Iterable[Table], console: Console) -> None:
    """Print those of ``selected`` that have rows."""
    for table in selected:
        if table.rows:
            rendered, hidden = _render(table, range(len(table.columns))), ""
            width = console.measure(rendered, options=console.options.update_width(10_000)).maximum
            if width > console.width and (wide := [column.head for column in table.columns if column.wide]):
                rendered = _render(table, [index for index, column in enumerate(table.columns) if not column.wide])
                hidden = f"A wider window also shows: {', '.join(wide)}."
            least = sum((column.min_width or 0) + 2 for column in rendered.columns) - 2
            rendered.width = least if least > console.width else None  # too wide, but no number is cut
            console.print()
            console.print(rendered, crop=False)
            about = " ".join(filter(None, (table.about, table.note)))
            _print_lines(filter(None, (about, hidden)), "dim", console)  # wrapped to the screen, even below a wider table


def _print_lines(lines: Iterable[str], style: str, console: Console) -> None:
    for line in lines:
        console.print(Text(printable(line), style=style))


def _render(table: Table, indices: Sequence[int]) -> rich_table.Table:
    rendered = rich_table.Table(title=Text(table.title), title_justify="left", title_style="bold", box=None)
    rendered.header_style, rendered.pad_edge, rendered.padding = "dim", False, (0, 1)
    for index in indices:
        head, number = printable(table.columns[index].head), table.columns[index].number
        whole = [*head.split(), *(row[index].text for row in table.rows if number)]
        width = max([8 if table.rows[0][index].role == "name" else 1, *map(len, whole)])
        rendered.add_column(Text(head), justify="right" if number else "left", overflow="fold", min_width=width)
    for row in table.rows:
        rendered.add_row(*(Text(printable(row[index].text), style=STYLES[row[index].role]) for index in indices))
    return rendered
