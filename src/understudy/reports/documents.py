"""The report as documents: Markdown, and an HTML page that needs no other file. The page has its pictures inside, no script, and
all text from outside escaped.
"""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from understudy.core.prompt_format import write_question
from understudy.reports.data import ReportData
from understudy.reports.tables import make_tables
from understudy.reports.words import printable


def render_markdown(data: ReportData) -> str:
    """Render the notes and every table as Markdown."""
    return open_template("report.txt").render(data=data, tables=list(make_tables(data)))


def _escape(text: str) -> str:
    """Escape the characters of ``text`` that Markdown would interpret."""
    return "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in printable(text).replace("\n", " "))


def render_page(data: ReportData) -> str:
    """Render ``data`` as HTML."""
    from understudy.reports.plots import draw_pictures

    images = {p.name: (p.caption, Markup(p.svg)) for p in draw_pictures(data)}  # noqa: S704 - drawn by us, text as outlines
    tables = list(make_tables(data))
    # The results come first, then the notes to read with them.
    first = sum(table.title.startswith(("Accuracy on ", "Compared on ")) for table in tables)
    return open_template("page.html").render(data=data, tables=tables, pictures=images, first=first)


def open_template(name: str) -> Template:
    """Open a template of this room. A page (``.html``) escapes what is put into it; a text escapes with the filter ``md``."""
    loader = PackageLoader("understudy.reports", "")
    layout: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]), undefined=StrictUndefined, **layout)
    environment.filters |= {"md": _escape, "question": write_question}
    return environment.get_template(name)
