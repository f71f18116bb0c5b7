"""What a verb prints: lines, tables or JSON. Text from outside is printed, never obeyed as markup or terminal commands."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from understudy.reports.words import printable


class Screen(Console):
    """The console of every verb. It shows what a terminal would obey as visible characters, and takes no text for markup."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False)

    def render(self, *renderable: Any, **options: Any) -> Iterable[Segment]:
        for segment in super().render(*renderable, **options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line for people, with what a terminal would obey made visible."""
    print(printable(line), file=file, flush=True)  # stdout may be a pipe, and a server runs for hours


def print_json(value: object) -> None:
    """Print ``value`` as JSON for other programs; dataclasses in it as objects."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=asdict))


def show_facts(title: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print what a verb did: as JSON, or as a table."""
    if as_json:
        print_json(facts)
    else:
        show_table(title, facts, Screen())


def show_table(title: str, facts: Mapping[str, object], console: Console) -> None:
    """Print a title and one line per name and value."""
    table = Table(box=None, show_header=False, title=Text(title), title_justify="left", title_style="bold")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(str(name)), Text(_shorten(value)))
    console.print(table)


def _shorten(value: object) -> str:
    if isinstance(value, dict):
        nested = {k: isinstance(v, dict | list | tuple) for k, v in value.items()}
        rows = [f"{k}{':' * nested[k]} {_shorten(v)}" for k, v in value.items()]
        return ("; " if any(nested.values()) else ", ").join(rows) or "none"
    if isinstance(value, list | tuple):
        items = ", ".join(_shorten(v) for v in value[:5])
        return f"{items}, ... ({len(value)} in all)" if len(value) > 5 else items or "none"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
