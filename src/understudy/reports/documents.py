"""The report as documents: its tables as Markdown, and a page that needs nothing else: pictures inside, no script, and everything
from outside escaped.
"""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from understudy.reports.data import ReportData
from understudy.reports.tables import make_tables
from understudy.reports.words import printable


def markdown(data: ReportData) -> str:
    """The notes, and every table."""
    return open_template("report.txt").render(data=data, tables=list(make_tables(data)))


def _escape(text: str) -> str:
    """Text of anybody's, without what Markdown would take for its own."""
    return "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in printable(text).replace("\n", " "))


def page(data: ReportData) -> str:
    """The HTML of ``data``."""
    from understudy.reports.plots import pictures

    drawn = {p.name: (p.caption, Markup(p.svg)) for p in pictures(data)}  # noqa: S704 - drawn by us, text as outlines
    tables = list(make_tables(data))
    # What was found comes first, then what has to be read with it.
    first = sum(table.title.startswith(("Accuracy on ", "Compared on ")) for table in tables)
    return open_template("page.html").render(data=data, tables=tables, pictures=drawn, first=first)


def open_template(name: str) -> Template:
    """A page or a text of this room: what is put into a page is escaped, and it has the house's style; a text escapes by its
    filter ``md``."""
    loader = PackageLoader("understudy.reports", "")
    layout: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]), undefined=StrictUndefined, **layout)
    environment.filters["md"] = _escape
    style = files("understudy.reports") / "style.css"
    environment.globals["style"] = Markup(style.read_text(encoding="utf-8"))  # noqa: S704 - a file of ours
    return environment.get_template(name)
