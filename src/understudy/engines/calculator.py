"""The calculator for GSM8K's marks while a reply is being written: ``48/2 = <<48/2=`` becomes ``48/2 = <<48/2=24>>``.

The paper's calculator (Cobbe et al. 2021, arXiv 2110.14168; openai/grade-school-math, calculator.py) is an ``eval``. This one is
the evaluator that also reads answers, so a model's text is never run. The model itself completes a mark that has no value.
"""

from understudy.core.answers.arithmetic import evaluate, write_number


def fill_value(text: str, start: int = 0) -> str | None:
    """Return ``text`` up to its first ``<<expression=``, then the expression's value and ``>>``; None if no expression has a value.

    Only marks whose "=" is at ``start`` or later count.
    """
    equals_index = text.find("=", start)
    while equals_index >= 0:
        mark = text.rfind("<<", 0, equals_index)
        if mark >= 0 and (value := evaluate(text[mark + 2 : equals_index])) is not None:
            return f"{text[: equals_index + 1]}{write_number(value)}>>"
        equals_index = text.find("=", equals_index + 1)
    return None
