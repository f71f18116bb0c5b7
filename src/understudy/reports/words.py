"""How numbers and texts are written in every report."""

import re
from collections.abc import Sequence


def percent(share: float) -> str:
    """Write a share in percent: ``0.9364`` -> ``93.6``. Tables leave out the percent sign."""
    return f"{100 * share:.1f}"


def signed(difference: float) -> str:
    """Write a difference in points, with its sign: ``-0.031`` -> ``-3.1``."""
    return f"{100 * difference:+.1f}"


def say_detectable(difference: float) -> str:
    """Say what difference of accuracies a test would have found."""
    limit = f"only a difference of {100 * difference:.1f}" if difference < 1 else "not even a difference of 100"
    return f"{limit} points would have shown"


def join_names(names: Sequence[str], last: str = ", ") -> str:
    """Join names: ``a, b and c`` with ``last`` = " and ". A name that contains a comma is quoted."""
    quoted = [f'"{name}"' if "," in name else name for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}{last}{quoted[-1]}"


def natural(name: str) -> tuple[list[str | int], str]:
    """Return the key by which names are sorted: numbers in them by their size."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def short_p(p: float) -> str:
    return "< .0001" if p < 0.0001 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


def printable(text: str) -> str:
    """Return ``text`` with each control character that a terminal would obey, except line breaks and tabs, as U+FFFD."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() or c == "\u00ad" else "\ufffd" for c in text)


def file_name(name: str) -> str:
    """Turn a name into part of a file name: letters, digits, dots and underscores, separated by single hyphens."""
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in name).split()).strip(".")
