"""The report as documents: its tables as Markdown, and a page that needs nothing else: pictures inside, no script, and everything
from outside escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from understudy.reports.cells import Table
from understudy.reports.data import ReportData
from understudy.reports.tables import make_tables
from understudy.reports.words import printable

if TYPE_CHECKING:
    from jinja2 import Template


def markdown(data: ReportData) -> str:
    """The notes, and every table."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: ReportData) -> Iterator[str]:
    yield from (_escape(said) for said in (data.supported, data.not_supported))
    yield ""
    yield from (f"- {_escape(note)}" for note in (*data.notes, data.made_on))
    yield f"- Versions: {', '.join(f'{name} {number}' for name, number in data.versions.items())}."
    for table in make_tables(data):
        yield from ("", f"### {_escape(table.title)}", "")
        yield from (line for text in (table.about,) if text for line in (_escape(text), ""))
        yield from _rows(table)
        yield from (line for text in (table.note,) if text for line in ("", _escape(text)))


def _rows(table: Table) -> Iterator[str]:
    yield _row([column.head for column in table.columns])
    yield f"|{'---|' * len(table.columns)}"
    yield from (_row([cell.text for cell in row]) for row in table.rows)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escape, texts))} |"


def _escape(text: str) -> str:
    """Text of anybody's, without what Markdown would take for its own."""
    return "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in printable(text).replace("\n", " "))


def page(data: ReportData) -> str:
    """The HTML of ``data``."""
    from markupsafe import Markup

    from understudy.reports.plots import pictures

    drawn = {p.name: (p.caption, Markup(p.svg)) for p in pictures(data)}  # noqa: S704 - drawn by us, text as outlines
    tables = list(make_tables(data))
    # What was found comes first, then what has to be read with it.
    first = sum(table.title.startswith(("Accuracy on ", "Compared on ")) for table in tables)
    return open_template("page.html").render(data=data, tables=tables, pictures=drawn, first=first)


def open_template(name: str) -> Template:
    """A page of this room: what is put into it is escaped, and it has the house's style."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("understudy.reports", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = (files("understudy.reports") / "style.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(style)  # noqa: S704 - a file of ours
    return environment.get_template(name)
