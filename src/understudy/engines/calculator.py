"""The calculator for GSM8K's marks while a reply is being written: ``48/2 = <<48/2=`` becomes ``48/2 = <<48/2=24>>``.

The paper's calculator (Cobbe et al. 2021, arXiv 2110.14168; openai/grade-school-math, calculator.py) is an ``eval``. This one is
the evaluator that also reads answers, so a model's text is never run. The model itself completes a mark that has no value.
"""

from understudy.core.answers.arithmetic import evaluate, write_number


def fill_value(text: str, new: int = 0) -> str | None:
    """Return ``text`` up to its first ``<<expression=``, then the expression's value and ``>>``; None if no expression has a value.

    Only marks whose "=" is at ``new`` or later count.
    """
    at = text.find("=", new)
    while at >= 0:
        start = text.rfind("<<", 0, at)
        if start >= 0 and (value := evaluate(text[start + 2 : at])) is not None:
            return f"{text[: at + 1]}{write_number(value)}>>"
        at = text.find("=", at + 1)
    return None
