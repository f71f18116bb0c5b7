"""How numbers are written in every report."""

from __future__ import annotations


def percent(share: float) -> str:
    """``0.9364`` -> ``93.6``: percent are written without their sign in tables."""
    return f"{100 * share:.1f}"


def short_p(p: float) -> str:
    return "< .0001" if p < 0.0001 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: control characters (line breaks and tabs apart) are shown as U+FFFD."""
    return "".join(c if c in "\n\t" or c.isprintable() or c == "\u00ad" else "\ufffd" for c in text)


def steps(by: str, value: str, *, untrained: bool) -> str:
    """The head of a column of one group: ``4 steps``, ``5 steps (new)``."""
    name = f"{value} {by[:-1] if value == '1' and by.endswith('s') else by}"
    return f"{name} (new)" if untrained else name
