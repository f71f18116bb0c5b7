"""The plain form of a statement: without the markup of Markdown and LaTeX, and with typographic numbers as people type them.

simplify("$33\\frac{1}{3}$")     "33 1/3"
simplify("1{,}500 \\text{ cm}^2")  "1,500 cm"
simplify("1.5×10³")              "1.5*10^3"
"""

import math
import re
import unicodedata

from understudy.core.answers.spans import SPAN, fold, to_signs

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf)|boxed|fbox|mbox|operatorname|bf) ?\{([^{}]{0,80})\}")
_TYPOGRAPHIC = re.compile(r"[¼-¾⅐-⅞]|⁻?[⁰¹²³⁴-⁹]+")
_PART = r"(?:\{([^{}]{1,40})\}|([0-9]))"
_FRACTION = re.compile(rf"(?P<whole>[0-9] ?)?\\[cdt]?frac ?{_PART} ?{_PART}")
_ROOT = re.compile(r"(?<![0-9)])(?:\\?\bsqrt ?[({]?|√)([0-9]{1,12})(?![0-9]|[.,][0-9])[)}]?")

_LATEX = [(re.compile(pattern), replacement) for pattern, replacement in (
    (r"\{,\}", ","),  # 1{,}500
    (r"\\(?:left|right|displaystyle|[,!;:])", ""),  # 1,\!500
    (r"\\(?:times|cdot)(?![A-Za-z])", "*"),  # 1.5\times10^3
    (r"\\div(?![A-Za-z])", "/"),
    (r"\\([%$])", r"\1"),
    (r"\\approx\b", "≈"),
    (r"\^\{?\\circ\}?|\\degree\b", ""),  # 90^\circ
    (r"\^\{(-?[0-9]{1,3})\}", r"^\1"),  # 10^{3}
)]  # fmt: skip
_PLAIN = [(re.compile(pattern), replacement) for pattern, replacement in (
    (r"(?<![A-Za-z\\])([A-Za-z]{2,15}|[msh]) ?\^ ?-?[0-9]", r"\1"),  # a unit's exponent: cm^2, m/s^2
    (r"(?<=[0-9]) and (?:a|one) half\b", " 1/2"),
    (r"(?<=[0-9]) and (?:a|one) quarter\b", " 1/4"),
    (r"\b(?:minus|negative|Minus|Negative) (?=[$(]?[0-9])", "-"),
    (r"(?<![0-9)A-Za-z])\*\*|\*\*(?![0-9(-])|\\[()\[\] ]|\$\$|<<[^<>]{0,80}>>", ""),  # bold, formulas, GSM8K's calculator
)]  # fmt: skip


def simplify(span: str) -> str:
    """Return the first 1,200 characters of ``span`` in plain form."""
    span = fold(span[: 3 * SPAN])
    if not span.isascii():
        span = _TYPOGRAPHIC.sub(_write_typed, span)
    if "\\" in span or "{" in span:
        span = to_signs(span)
        for pattern, replacement in _LATEX:
            span = pattern.sub(replacement, span)
        span = unwrap(_FRACTION.sub(_write_fraction, span))
    if "sqrt" in span or "√" in span:
        span = _ROOT.sub(_extract_root, span)
    for pattern, replacement in _PLAIN:
        span = pattern.sub(replacement, span)
    return span


def unwrap(span: str) -> str:
    """Return ``span`` without the LaTeX commands that only say how a text looks: ``\\textbf{B}`` -> ``B``."""
    return _TEXT.sub(r" \1 ", _TEXT.sub(r" \1 ", span)) if "\\" in span else span


def _write_typed(match: re.Match[str]) -> str:
    """Return a typographic number as people type it: ``½`` -> ``1/2`` after a blank, ``³`` -> ``^3``."""
    typed = unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/").replace("\u2212", "-")
    return f" {typed}" if "/" in typed else f"^{typed}"


def _write_fraction(match: re.Match[str]) -> str:
    numerator, denominator = match[2] or match[3], match[4] or match[5]
    if match["whole"] and numerator.isdecimal() and denominator.isdecimal():
        return f"{match['whole'].strip()} {numerator}/{denominator}"
    return f"{match['whole'] or ''}({numerator})/({denominator})"


def _extract_root(match: re.Match[str]) -> str:
    root = math.isqrt(int(match[1]))
    return str(root) if root * root == int(match[1]) else match[0]
