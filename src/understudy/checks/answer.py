"""The check ``answer``: a chain is correct if its answer is the gold answer, or one of the accepted ones."""

from understudy.checks.judge import by_answer
from understudy.core.answers import compare
from understudy.core.values import Outcome, Problem


@by_answer
def same_answer(problem: Problem, answer: str) -> Outcome:
    """Compare two canonical answers: SCoTD's reward, exact match (arXiv 2306.14050)."""
    return compare(answer, problem.golds, problem.kind, problem.choices)
