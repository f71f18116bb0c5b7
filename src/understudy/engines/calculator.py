"""The calculator of GSM8K's marks, while a reply is being written: ``48/2 = <<48/2=`` becomes ``48/2 = <<48/2=24>>``.

As in Cobbe et al. 2021 (arXiv 2110.14168; openai/grade-school-math, calculator.py), where it is an ``eval``; here it is the
evaluator that also reads answers, so the text of a model is never run. What has no value is left to the model.
"""

from __future__ import annotations

from understudy.core.answers.arithmetic import evaluate, plain


def filled(text: str, new: int = 0) -> str | None:
    """``text`` up to its first ``<<expression=``, the value of that, and ``>>``; None where there is none that has a value.

    Only marks whose "=" is at ``new`` or later count.
    """
    at = text.find("=", new)
    while at >= 0:
        start = text.rfind("<<", 0, at)
        value = evaluate(text[start + 2 : at]) if start >= 0 else None
        if value is not None:
            return f"{text[: at + 1]}{plain(value)}>>"
        at = text.find("=", at + 1)
    return None


def corrected(text: str, new: int = 0) -> str | None:
    """As `filled`, for a text that was written without the calculator: marks with the right value, however written, may stay."""
    whole = filled(text, new)
    while whole is not None:
        begin = whole.rindex("=") + 1
        said, closed, _ = text[begin:].partition(">>")
        if not closed or evaluate(said) != evaluate(whole[begin:-2]):
            return whole
        whole = filled(text, begin)
    return None
