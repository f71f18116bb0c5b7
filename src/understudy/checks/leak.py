"""The check ``leak``: a chain does not state its answer before it has reasoned, as one does that was written to a known answer."""

from understudy.core.answers import compare, extract
from understudy.core.subquestions import split_sentences
from understudy.core.values import Chain, Outcome, Problem, Verdict

_STATED = ("marker", "boxed", "hashes", "arrow", "label", "opening", "conclusion")


def leak(problem: Problem, chain: Chain) -> Verdict:
    """WRONG where a step of the first half states the gold answer as the answer, CORRECT where none does, UNDECIDABLE where there
    is no gold answer or fewer than two steps."""
    steps = split_sentences(chain.rationale)
    if problem.answer is None or len(steps) < 2:
        return Verdict(chain.id, Outcome.UNDECIDABLE, "no gold answer" if problem.answer is None else "fewer than two steps")
    for number, step in enumerate(steps[: len(steps) // 2], 1):
        found = extract(step, problem.kind, problem.choices, problem.question, problem.form)
        stated = found.value is not None and found.layer in _STATED
        if stated and compare(found.value or "", problem.golds, problem.kind, problem.choices) is Outcome.CORRECT:
            return Verdict(chain.id, Outcome.WRONG, f"step {number} of {len(steps)} states the answer: {step[:200]}")
    return Verdict(chain.id, Outcome.CORRECT)
