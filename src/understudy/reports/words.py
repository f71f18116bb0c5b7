"""How numbers and texts are written in every report."""


def percent(share: float) -> str:
    """``0.9364`` -> ``93.6``: percent are written without their sign in tables."""
    return f"{100 * share:.1f}"


def signed(difference: float) -> str:
    """``-0.031`` -> ``-3.1``"""
    return f"{100 * difference:+.1f}"


def short_p(p: float) -> str:
    return "< .0001" if p < 0.0001 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: control characters (line breaks and tabs apart) are shown as U+FFFD."""
    return "".join(c if c in "\n\t" or c.isprintable() or c == "\u00ad" else "\ufffd" for c in text)


def slug(text: str) -> str:
    """``text`` as part of a file's name: letters and digits, parted by hyphens."""
    return "-".join("".join(c if c.isalnum() else " " for c in text).split())
