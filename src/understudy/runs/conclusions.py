"""Say what the data support and what they do not, in a sentence each."""

from collections.abc import Iterable, Sequence

from understudy.core.errors import counted
from understudy.core.values import grouped
from understudy.evaluation.statistics import LEVEL
from understudy.reports.data import ArmSummary, Comparison
from understudy.reports.words import join_names, say_detectable

LISTED = 2
"""How many findings that an arm is better than others are spelled out, those of the best arm first."""


def conclude(arms: Iterable[ArmSummary], pairs: Sequence[Comparison]) -> tuple[str, str]:
    """Write the two sentences about the ``arms`` of one split, from the ``pairs`` that were tested on it."""
    ranked = sorted(arms, key=lambda s: -s.accuracy)
    if all(s.says for s in ranked):
        return "The data support no conclusion: no arm does better than guessing or a constant answer.", ""
    return _say_supported(ranked, pairs), _say_not_supported(ranked, pairs)


def _say_supported(ranked: Sequence[ArmSummary], pairs: Sequence[Comparison]) -> str:
    n, single = ranked[0].n // ranked[0].seeds, {s.arm for s in ranked if s.seeds == 1}
    significant = [pair for pair in pairs if pair.p_holm < LEVEL and not pair.at_chance]
    sides = [(p.arm, p.other) if p.difference > 0 else (p.other, p.arm) for p in significant]
    # One seed shows that answers differ, not that methods do.
    beaten = grouped(((a, "answered more questions correctly than" if {a, b} <= single else "is better than"), b) for a, b in sides)
    winners = [(arm, verb, losers) for s in ranked for (arm, verb), losers in beaten.items() if arm == s.arm]
    if not winners:
        return f"The data do not show that any arm is better than another ({n:,} questions)."
    seeds = max(s.seeds for s in ranked)
    seeds_text = f" over {seeds} training seeds" if seeds > 1 else " with one seed"
    listed = "; ".join(f"{join_names([arm])} {verb} {join_names(losers, ' and ')}" for arm, verb, losers in winners[:LISTED])
    remaining = sum(len(losers) for *_, losers in winners[LISTED:])
    further = f"; also shown: {counted(remaining, 'other difference')}" if remaining else ""
    return f"The data support, on {n:,} questions{seeds_text}: {listed}{further}."


def _say_not_supported(ranked: Sequence[ArmSummary], pairs: Sequence[Comparison]) -> str:
    unclear = [pair for pair in pairs if pair.p_holm >= LEVEL and not pair.at_chance]
    first = next((s.arm for s in ranked if any(s.arm in (pair.arm, pair.other) for pair in unclear)), "")
    if not first:
        return "They do not show that the same holds for other kinds of questions, for other students or for another teacher."
    its_pairs = [pair for pair in unclear if first in (pair.arm, pair.other)]
    other_arms = [pair.other if pair.arm == first else pair.arm for pair in its_pairs]
    detectable = say_detectable(max(pair.detectable for pair in its_pairs))
    sentence = f"They do not tell {join_names([first])} from {join_names(other_arms, ' and ')} ({detectable})"
    costs = {s.arm: s.tokens_per_answer for s in ranked}
    cheapest = min([first, *other_arms], key=lambda name: costs[name])
    if costs[cheapest] >= costs[first]:
        return f"{sentence}."
    fewest = f"{costs[cheapest]:,.0f} ({join_names([first])}: {costs[first]:,.0f})"
    return f"{sentence}; of these, {join_names([cheapest])} writes the fewest tokens per answer, {fewest}."
