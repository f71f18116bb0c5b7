"""Measure what a corpus of chains is worth to a student: how often its teacher is right, how many different chains it has, and what
a person should look at first.
"""

import math
import random
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from understudy.core.answers import answer_key
from understudy.core.asks import GREEDY_PATH
from understudy.core.errors import counted
from understudy.core.values import Chain, Outcome, Problem
from understudy.evaluation.metrics import SUBSETS, pass_at_k

QUANTILES = (5, 25, 50, 75, 95, 100)
_NAMED = 3
"""How many problems are named for each thing to look at."""
GOLD = "gold answers that every chain contradicts"
NONE_RIGHT = "problems without a right chain"
NO_ANSWER = "problems whose chains have no answer"
NO_RATIONALE = "problems whose chains have no rationale"
COPIES = "problems whose chains are all near copies"


@dataclass(frozen=True, kw_only=True)
class CorpusWorth:
    """The measures of a corpus. ``accuracy``: of the chains whose problem has gold, None if none has. ``at_k``: (k, problems with
    at least k chains, maj@k, pass@k). ``distinct`` and ``different``: chains per problem, on average, without copies and without
    near copies (equal but for case, blanks and punctuation). ``lengths``: the `QUANTILES` in ``unit``. ``look``: what a person
    should look at first. ``greedy``: the right ones among the greedy chains with gold, and how many these are; nothing else counts
    them."""

    chains: int
    problems: int
    outcomes: Mapping[str, int]
    accuracy: float | None
    at_k: tuple[tuple[int, int, float, float], ...]
    distinct: float
    different: float
    without_rationale: int
    lengths: tuple[int, ...]
    unit: str
    look: tuple[str, ...]
    greedy: tuple[int, int] = (0, 0)

    def describe(self) -> dict[str, str]:
        """Write the measures as texts, under readable names."""
        correct, n = self.greedy
        rows = [row for row in self.at_k if row[0] in (*range(1, 9), 16, 32, 64, 128, 256, self.at_k[-1][0])]
        rates = {f"maj@{k}, pass@{k}": f"{maj:.1%}, {some:.1%} of {counted(count, 'problem')}" for k, count, maj, some in rows}
        lengths = (f"{length:,} ({q} %)" for q, length in zip(QUANTILES, self.lengths, strict=True))
        return {
            "accuracy of the chains": "no gold" if self.accuracy is None else f"{self.accuracy:.1%}",
            **({"accuracy of the greedy chains": f"{correct / n:.1%} of {n:,}"} if n else {}),
            **rates,
            "effective chains per problem": f"{self.distinct:.1f} without copies, {self.different:.1f} without near copies, "
            f"of {self.chains / max(1, self.problems):.1f}",
            "without a rationale": f"{self.without_rationale:,} of {self.chains:,}",
            f"length in {self.unit}": ", ".join(lengths),
            "look first at": "; ".join(self.look) or "nothing stands out",
        }


class CorpusMeter:
    """Measures a corpus problem by problem, so that its chains need not all be in memory.

    pass@k is the unbiased estimate of Chen et al. 2021 (arXiv 2107.03374). maj@k is the mean over all subsets of k chains, or over
    the first k of random orders if there are many subsets. Both are over the problems with gold and at least k chains.
    """

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._tokens, self._words, self._known = array("q"), array("q"), True
        self._distinct, self._different = array("q"), array("q")
        self._without_rationale = 0
        self._graded: list[tuple[int, array[float]]] = []
        """(right chains, maj@k for every k) of each problem with gold."""
        self._greedy: list[bool] = []
        # What a person should look at first: the gold may be wrong, or the answers misread.
        self._faults: dict[str, list[str]] = {kind: [] for kind in (GOLD, NONE_RIGHT, NO_ANSWER, NO_RATIONALE, COPIES)}

    def add(self, problem: Problem, judged: Sequence[tuple[Chain, Outcome]]) -> None:
        """Measure all chains of ``problem``, each with its outcome by a check."""
        if problem.answer is not None:
            self._greedy += [outcome is Outcome.CORRECT for chain, outcome in judged if chain.path == GREEDY_PATH]
        judged = [pair for pair in judged if pair[0].path != GREEDY_PATH]
        if not judged:
            return
        chains = [chain for chain, _ in judged]
        self._outcomes.update(outcome.value for _, outcome in judged)
        self._known &= all(chain.tokens is not None for chain in chains)
        self._tokens.extend(chain.tokens or 0 for chain in chains)
        self._words.extend(len(chain.text.split()) for chain in chains)
        normalised = {tuple(re.findall(r"\w+", chain.text.casefold())) for chain in chains}  # near copies differ in the rest
        self._distinct.append(len({chain.text for chain in chains}))
        self._different.append(len(normalised))
        without = sum(not chain.rationale.strip() for chain in chains)
        self._without_rationale += without
        correct = sum(outcome is Outcome.CORRECT for _, outcome in judged)
        if problem.answer is not None:
            keys = [answer_key(c.answer) if c.answer is not None and c.finish == "stop" else None for c in chains]
            votes = [(key, outcome is Outcome.CORRECT) for key, (_, outcome) in zip(keys, judged, strict=True)]
            self._graded.append((correct, array("d", _wins_by_k(votes, random.Random(f"maj@k\x1f0\x1f{problem.id}")))))
            answers = {chain.answer for chain in chains}
            if not correct and len(chains) > 2 and len(answers) == 1 and None not in answers:
                self._faults[GOLD].append(f"{problem.id} (all say {answers.pop()!r:.40}, gold {problem.answer!r:.40})")
            elif not correct:
                self._faults[NONE_RIGHT].append(problem.id)
        if all(chain.answer is None for chain in chains):
            self._faults[NO_ANSWER].append(problem.id)
        if without == len(chains):
            self._faults[NO_RATIONALE].append(problem.id)
        if len(chains) > 1 and len(normalised) == 1:
            self._faults[COPIES].append(problem.id)

    def read(self) -> CorpusWorth:
        """Return the worth of all that was added."""
        chains, lengths = len(self._tokens), sorted(self._tokens if self._known else self._words)
        graded = sum(len(wins) for _, wins in self._graded)
        return CorpusWorth(
            chains=chains,
            problems=len(self._distinct),
            outcomes=dict(self._outcomes.most_common()),
            accuracy=sum(correct for correct, _ in self._graded) / graded if graded else None,
            at_k=tuple(self._compute_rates()),
            distinct=fmean(self._distinct) if chains else 0.0,
            different=fmean(self._different) if chains else 0.0,
            without_rationale=self._without_rationale,
            lengths=tuple(lengths[(chains - 1) * q // 100] for q in QUANTILES) if chains else (0,) * len(QUANTILES),
            unit="tokens" if self._known else "words",
            look=tuple(self._list_looks()),
            greedy=(sum(self._greedy), len(self._greedy)),
        )

    def _compute_rates(self) -> Iterator[tuple[int, int, float, float]]:
        """Yield (k, problems, maj@k, pass@k) for every k up to the most chains that a problem has."""
        for k in range(1, max((len(wins) for _, wins in self._graded), default=0) + 1):
            graded = [(correct, wins) for correct, wins in self._graded if len(wins) >= k]
            any_right = fmean(pass_at_k(len(wins), correct, k) for correct, wins in graded)
            yield k, len(graded), fmean(wins[k - 1] for _, wins in graded), any_right

    def _list_looks(self) -> Iterator[str]:
        """Yield first the faults that at least 5 % of the chains have, then the problems to look at."""
        shares = Counter(self._outcomes)
        shares["without a rationale"] = self._without_rationale
        for kind, n in shares.most_common():
            if n and n >= 0.05 * len(self._tokens) and kind not in (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_GOLD):
                yield f"{n:,} of {len(self._tokens):,} chains are {kind}"
        for kind, entries in self._faults.items():
            if entries:
                label = kind.replace("problems", "problem", 1) if len(entries) == 1 else kind
                yield f"{len(entries):,} {label}: {'; '.join(entries[:_NAMED])}{'; ...' * (len(entries) > _NAMED)}"


Vote = tuple[str | None, bool]
"""A chain's answer, None if it gives none, and whether it is right."""


def _wins_by_k(votes: Sequence[Vote], rng: random.Random) -> list[float]:
    """Compute maj@k for every k: over all subsets of k, or over the first k of `SUBSETS` random orders if there are more."""
    n = len(votes)
    if math.comb(n, n // 2) <= SUBSETS:
        return [fmean(_wins(subset)[-1] for subset in combinations(votes, k)) for k in range(1, n + 1)]
    return [fmean(rates) for rates in zip(*(_wins(rng.sample(votes, n)) for _ in range(SUBSETS)), strict=True)]


def _wins(votes: Sequence[Vote]) -> list[float]:
    """Compute how much of the most frequent answer is right after each vote. Equally frequent answers share the win, because the
    order of a corpus means nothing."""
    counts: dict[str, int] = {}
    rights: set[str | None] = set()
    maximum, wins = 0, []
    for answer, is_right in votes:
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
            maximum = max(maximum, counts[answer])
        if is_right:
            rights.add(answer)
        winners = [key in rights for key, n in counts.items() if n == maximum]
        wins.append(sum(winners) / len(winners) if winners else 0.0)
    return wins
