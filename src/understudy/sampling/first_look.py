"""Looks at the first replies of a teacher before many are bought: what they are like, and whether to continue."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from understudy.core.answers import answer_key
from understudy.core.errors import EngineError, StudyError
from understudy.core.values import Chain, Outcome, Problem, Verdict, grouped

Judge = Callable[[Problem, Chain], Verdict]
"""Gives the verdict on a chain."""

ENOUGH = 10
"""Replies that are enough to judge the others by."""
_EMPTY_LINES = 'Thoughts have empty lines, and a raw prompt\'s reply ends at one: use format = { style = "messages" }. '
_HIDDEN = (
    "A model that hides its thoughts gives nothing to train on: ask it to reason in its reply, or have the thoughts sent along. "
)
_WITHOUT = (Outcome.UNPARSED, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.ONLY_THOUGHT, Outcome.ABSTAINED)
"""Outcomes that are counted already, so their chains do not also count as without a rationale."""


def first_look(
    chains: Sequence[Chain], failed: Sequence[str], problems: Mapping[str, Problem], judge: Judge, *, drawn: bool, rationales: bool
) -> str:
    """Describe the first replies in one line: the ``chains`` that came, by their verdicts, and the errors of those that ``failed``.
    ``drawn``: at a temperature, so that equal prompts may get different replies. ``rationales``: whether they are needed.

    It counts accuracy against gold, unparsed, cut off, refused, failed, without a rationale, and disagreement. Raises StudyError,
    saying what to look at, if over 90 % of at least `ENOUGH` are useless, EngineError if all failed.
    """
    if not chains:
        raise EngineError(f"the teacher wrote no chain at all; its first error: {failed[0]}")
    outcomes = [judge(problems[chain.problem], chain).outcome for chain in chains]
    counts = Counter(outcomes)
    n = len(chains) + len(failed)
    decided = counts[Outcome.CORRECT] + counts[Outcome.WRONG]
    agreement = f"{counts[Outcome.CORRECT]} of {decided} agree with the gold answer, " if decided else ""
    thoughts = counts[Outcome.ONLY_THOUGHT]
    useless = {"unparsed": counts[Outcome.UNPARSED], "cut off": counts[Outcome.TRUNCATED], "refused": counts[Outcome.REFUSED]}
    pairs = zip(chains, outcomes, strict=True)
    bare = sum(rationales and outcome not in _WITHOUT and not chain.rationale.strip() for chain, outcome in pairs)
    rare = {"only thought": thoughts, "abstained": counts[Outcome.ABSTAINED], "failed": len(failed), "without a rationale": bare}
    useless |= {name: count for name, count in rare.items() if count}
    report = f"first {n} replies: {agreement}" + ", ".join(f"{count} {name}" for name, count in useless.items())
    if n >= ENOUGH and sum(useless.values()) > 0.9 * n:
        first_error = f"The first error: {failed[0]} " if failed else ""
        raise StudyError(
            f"{report}: hardly any can be used, so sampling stopped; the ledger keeps the replies. {first_error}"
            "Look at some with `understudy try`: check that the prompt suits this model (teacher.api, teacher.options.format, "
            "exemplars), that teacher.options.max_tokens is large enough and that task.kind is right. "
            f"{_EMPTY_LINES if thoughts else ''}{_HIDDEN if bare else ''}To continue anyway, set teacher.first_look = 0"
        )
    if drawn and (copies := _count_copies(chains)):
        report += f"; all {copies} replies to the same prompt are word for word alike: does the endpoint honour the temperature?"
    if (disagreement := _measure_disagreement(chains)) is not None:
        report += f"; where a question has several answers, {disagreement:.0%} of them are not its most frequent one"
    return report


def _count_copies(chains: Sequence[Chain]) -> int:
    """Count the replies to prompts that have several, if those of each prompt are all alike and there are enough; else 0. Some
    servers answer 200 and draw nothing (``transformers serve`` without ``do_sample``)."""
    groups = _find_groups(((chain.problem, chain.prompt), chain.text) for chain in chains)
    total = sum(map(len, groups))
    return total if total >= ENOUGH and all(len(set(texts)) == 1 for texts in groups) else 0


def _measure_disagreement(chains: Sequence[Chain]) -> float | None:
    """Return the share of answers that are not their question's most frequent one, over questions with several answers."""
    groups = _find_groups((chain.problem, answer_key(chain.answer)) for chain in chains if chain.answer is not None)
    total = sum(map(len, groups))
    return None if not total else 1 - sum(max(Counter(answers).values()) for answers in groups) / total


def _find_groups(texts: Iterable[tuple[Any, str]]) -> list[list[str]]:
    """List the texts of each key that has more than one."""
    return [group for group in grouped(texts).values() if len(group) > 1]
