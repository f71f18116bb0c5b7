"""The report as one HTML file that needs nothing else: pictures inside, no script, everything from outside escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from understudy.reports.data import ReportData
from understudy.reports.plots import pictures
from understudy.reports.tables import make_tables


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files("understudy.reports") / "page.html").read_text(encoding="utf-8"))


def page(data: ReportData) -> str:
    """The HTML of ``data``."""
    from markupsafe import Markup

    drawn = {p.name: (p.caption, Markup(p.svg)) for p in pictures(data)}  # noqa: S704 - drawn by us, text as outlines
    text: str = _template().render(data=data, tables=list(make_tables(data)), pictures=drawn)
    return text
