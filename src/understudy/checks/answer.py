"""The check of a chain's answer against the gold: SCoTD's reward (exact match), on canonical answers."""

from __future__ import annotations

from understudy.core.answers import compare
from understudy.core.values import Chain, Outcome, Problem, Verdict


def check(problem: Problem, chain: Chain) -> Verdict:
    """What the gold of ``problem`` says of ``chain``. A cut-off or refused chain is never correct, whatever it contains."""
    golds = [problem.answer, *problem.accepted] if problem.answer is not None else []
    if chain.finish == "length":
        outcome = Outcome.TRUNCATED
    elif chain.finish == "refused":
        outcome = Outcome.REFUSED
    else:
        outcome = compare(chain.answer, golds, problem.kind, problem.choices)
    stated = f"answer {chain.answer!r} ({chain.layer})" if chain.answer is not None else "no answer"
    detail = f"{stated}, gold {' or '.join(map(repr, golds)) or 'unknown'}"
    return Verdict(chain.id, "answer", outcome, detail)
