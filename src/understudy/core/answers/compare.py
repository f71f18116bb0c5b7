"""The canonical form of answers, and the comparison of two answers."""

import re
from collections.abc import Sequence
from fractions import Fraction

from understudy.core.answers import choice, date, expression, number, yes_no
from understudy.core.answers.arithmetic import evaluate
from understudy.core.answers.markup import simplify, unwrap
from understudy.core.answers.spans import to_canonical, to_point, to_written
from understudy.core.values import AnswerKind, Outcome


def normalise(value: str, kind: AnswerKind, choices: Sequence[str] = (), form: str = "") -> str | None:
    """Return the canonical form of a gold or recorded answer written in ``form`` (`Problem.form`), None if it is not an answer of
    this kind. A canonical answer stays as it is without ``form``.

    ``(A)``, ``a``, ``1``, ``A) show`` and the option's text become ``A``; ``True`` becomes ``yes``; ``$1,650.50`` becomes
    ``1650.5``; dates become ISO dates; a text loses the signs around it; an expression keeps its form with single spaces (a gold
    may name its numbers, see `expression`).
    """
    if kind == "option":
        return choice.read(value, choices, strict=True).value
    if kind == "text":
        return to_written(unwrap(value)) if to_canonical(value) else None
    if kind == "number" and _DATED.fullmatch(value):
        return None
    if kind == "date":
        return date.read(value, strict=True, form=form).value
    return _READERS[kind](to_point(value, form), strict=True).value


_READERS = {"yes_no": yes_no.read, "number": number.read, "expression": expression.read}
_DATED = re.compile(r"\s*\d{1,4}([/.-])\d{1,2}\1\d{2,4}\s*|\s*\d{4}-\d{2}-\d{2}\s*")
"""A date in digits, which is not arithmetic."""


def compare(value: str | None, golds: Sequence[str], kind: AnswerKind, choices: Sequence[str] = ()) -> Outcome:
    """Compare ``value`` with ``golds``: CORRECT if it is the same answer as one of them, WRONG if not, UNPARSED for None, NO_GOLD
    without golds, and UNDECIDABLE if ``value`` or every gold is not an answer of this kind.

    Numbers are equal if their exact values are (``0.5`` and ``1/2``), or if the gold has three or more decimals and is the rounded
    value. Texts are equal if their words are, or as numbers, or, for a gold of one word, without their blanks. Expressions are
    equal if their values are.
    """
    if not golds:
        return Outcome.NO_GOLD
    if value is None:
        return Outcome.UNPARSED
    canonical = normalise(value, kind, choices)
    if canonical is None:
        return Outcome.UNDECIDABLE
    agreed = [_is_same(canonical, gold, kind) for raw in golds if (gold := normalise(raw, kind, choices)) is not None]
    if True in agreed:
        return Outcome.CORRECT
    return Outcome.WRONG if False in agreed else Outcome.UNDECIDABLE


def _is_same(value: str, gold: str, kind: AnswerKind) -> bool | None:
    if kind == "expression":
        return expression.is_equal(value, gold)
    if value == gold or kind in ("option", "yes_no", "date"):
        return value == gold
    if kind == "number":
        return _is_rounded(value, gold)
    plain_value, plain_gold = to_canonical(value), to_canonical(gold)
    if len({"".join(_BRACKETS.findall(text)) for text in (value, gold)} - {""}) > 1:
        return False  # [1, 2) is not (1, 2)
    ignores_blanks = " " not in plain_gold and ("," not in value or plain_gold.isalpha())
    if plain_value == plain_gold or (ignores_blanks and plain_value.replace(" ", "") == plain_gold):
        return True
    result = _to_number(value)
    return result is not None and result == _to_number(gold)


_BRACKETS = re.compile(r"[][()]|\\[{}]")


def _to_number(text: str) -> Fraction | None:
    """Return the number that is the whole of a text, as in ``1,\\!500`` and ``\\dfrac34``."""
    return evaluate(simplify(text).strip(" $") if "\\" in text else to_canonical(text))


def _is_rounded(value: str, gold: str) -> bool:
    """Return whether ``gold`` has three or more decimals and is ``value`` rounded to them."""
    decimals = len(gold.partition(".")[2])
    number, exact = evaluate(value), evaluate(gold)
    if decimals < 3 or "/" in gold or number is None or exact is None:
        return False
    return bool(abs(number - exact) * 2 * 10**decimals <= 1)
