"""The report as one HTML file that needs nothing else: pictures inside, no script, everything from outside escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from understudy.reports.data import ReportData
from understudy.reports.plots import pictures
from understudy.reports.words import percent, short_p, steps


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "p": short_p, "signed": lambda x: f"{100 * x:+.1f}"}
    return environment.from_string((files("understudy.reports") / "page.html").read_text(encoding="utf-8"))


def page(data: ReportData) -> str:
    """The HTML of ``data``."""
    from markupsafe import Markup

    drawn = [(p.name, p.caption, Markup(p.svg)) for p in pictures(data)]  # noqa: S704 - drawn by us, text as outlines
    splits = list(dict.fromkeys(s.split for s in data.summaries))
    groups = {split: list(dict.fromkeys(g.value for g in data.groups if g.split == split)) for split in splits}
    untrained = {(g.split, g.value) for g in data.groups if not g.trained}
    heads = {
        (split, value): steps(data.by, value, untrained=(split, value) in untrained) for split in splits for value in groups[split]
    }
    cells = {(g.arm, g.split, g.value): g for g in data.groups}
    text: str = _template().render(
        data=data,
        pictures={name: (caption, svg) for name, caption, svg in drawn},
        splits=splits,
        groups=groups,
        heads=heads,
        cells=cells,
    )
    return text
