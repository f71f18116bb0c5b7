"""The check ``leak``: a chain does not state its answer before its reasoning, as one does that was written for a known answer."""

import re
from collections.abc import Sequence

from understudy.core.answers import STATED, compare, extract
from understudy.core.subquestions import read_steps, split_sentences
from understudy.core.values import Chain, Outcome, Problem, Verdict

_SUB_ANSWER = re.compile(r"[QA]\d|if\b", re.I)
"""The beginning of an answer to a sub-question, or to one case of several."""
_OPENS = re.compile(r"(?!\d+[.):])[^\w-]*(-?\d[\d.,]*?)(?:\W{0,4}(?:$|(?:because|since|as)\b)|[,;] (?=[a-z]))", re.I)
"""A chain that opens with a number: "7, because ...", or "**7**" on a line of its own. "1." begins a list."""
_REASON = re.compile(r"\b(?:because|since)\b", re.I)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def leak(problem: Problem, chain: Chain) -> Verdict:
    """Return WRONG if a step of the first half states the gold answer as the answer, or the chain opens with it and does not go
    through the options one by one, or a sub-question has the number of the gold answer, which stands nowhere before; else CORRECT.
    UNDECIDABLE if there is no gold answer or there are fewer than two steps."""
    steps = split_sentences(chain.rationale)
    if problem.answer is None or len(steps) < 2:
        return Verdict(chain.id, Outcome.UNDECIDABLE, "no gold answer" if problem.answer is None else "fewer than two steps")
    for number, step in enumerate(steps[: len(steps) // 2], 1):
        extraction = extract(step, problem.kind, problem.choices, problem.question, problem.form)
        only_opens = extraction.layer == "opening" and (number > 1 or _goes_through_options(problem, steps))
        stated = extraction.layer in STATED and not only_opens and not _SUB_ANSWER.match(step)
        opens = _OPENS.match(step) if number == 1 and problem.kind == "number" else None
        value = opens[1] if opens else extraction.value if stated else None
        if value and compare(value, problem.golds, problem.kind, problem.choices) is Outcome.CORRECT:
            return Verdict(chain.id, Outcome.WRONG, f"step {number} of {len(steps)} states the answer: {step[:200]}")
    seen = _find_numbers(f"{problem.context} {problem.question}")
    for pair in read_steps(chain.rationale):
        numbers = _find_numbers(pair.question or "")
        if any(compare(candidate, problem.golds, problem.kind, problem.choices) is Outcome.CORRECT for candidate in numbers - seen):
            return Verdict(chain.id, Outcome.WRONG, f"a sub-question states the answer, which nothing gave before: {pair.question}")
        seen |= numbers | _find_numbers(pair.text)
    return Verdict(chain.id, Outcome.CORRECT)


def _goes_through_options(problem: Problem, steps: Sequence[str]) -> bool:
    """Tell whether a chain looks at one option after the other: its steps open with several, in order, and the first gives no
    reason."""
    answers = (extract(step, problem.kind, problem.choices, problem.question, problem.form) for step in steps)
    opened = list(dict.fromkeys(extraction.value for extraction in answers if extraction.value and extraction.layer == "opening"))
    return bool(problem.choices) and len(opened) > 1 and opened == sorted(opened) and not _REASON.search(steps[0])


def _find_numbers(text: str) -> set[str]:
    return {number.replace(",", "") for number in _NUMBER.findall(text)}
