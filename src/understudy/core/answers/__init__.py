"""Find answers in a reply, bring them to canonical form and compare them, in the same way for checks and for evaluation.

    found = extract("She has 2 + 3 = 5. So the answer is: 5", "number")     # FoundAnswer('5', 'marker', 19, 'ok')
    compare(found.value, ["5"], "number")                                    # Outcome.CORRECT

`docs/answers.md` says how answers are read and how often that agrees with the labels of real corpora. Derived results are stored
under `VERSION`, which changes whenever a reply may be read differently.
"""

from understudy.core.answers.compare import compare, normalise
from understudy.core.answers.expression import numbers_used
from understudy.core.answers.layers import STATED, FoundAnswer, extract
from understudy.core.answers.spans import answer_key

VERSION = "answers-7"

__all__ = ["STATED", "VERSION", "FoundAnswer", "answer_key", "compare", "extract", "normalise", "numbers_used"]
