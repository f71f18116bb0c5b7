"""The report as one HTML file that needs nothing else: pictures inside, no script, everything from outside escaped."""

from importlib.resources import files

from understudy.reports.data import ReportData
from understudy.reports.plots import pictures
from understudy.reports.tables import make_tables


def page(data: ReportData) -> str:
    """The HTML of ``data``."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("understudy.reports") / "page.html").read_text(encoding="utf-8"))
    drawn = {p.name: (p.caption, Markup(p.svg)) for p in pictures(data)}  # noqa: S704 - drawn by us, text as outlines
    return template.render(data=data, tables=list(make_tables(data)), pictures=drawn)
