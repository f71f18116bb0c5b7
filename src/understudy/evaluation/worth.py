"""What a corpus of chains is worth to a student: how often its teacher is right, how many different chains it has, and what in it a
person should look at first.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from understudy.core.answers import answer_key
from understudy.core.values import Chain, Outcome, Problem
from understudy.evaluation.metrics import SUBSETS, pass_at_k

QUANTILES = (5, 25, 50, 75, 95, 100)
_SHARE = 0.05
"""From this share of the chains on, a way to teach nothing is named."""
_NAMED = 3
"""So many problems are named of each thing to look at."""


@dataclass(frozen=True, kw_only=True)
class CorpusWorth:
    """The measures of a corpus. ``accuracy`` is of the chains whose problem has gold, None where none has. ``at_k``: (k, problems
    with so many chains, maj@k, pass@k). ``distinct`` and ``different``: chains of a problem that are no copies, and no near copies
    (equal but for case, blanks and punctuation), on the average. ``lengths``: the `QUANTILES` in ``unit``. ``look``: what a person
    should look at first."""

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

    def describe(self) -> dict[str, str]:
        """The measures under readable names, as texts."""
        shown = [row for row in self.at_k if row[0] in (*range(1, 9), 16, 32, 64, 128, 256, self.at_k[-1][0])]
        rates = {f"maj@{k}, pass@{k}": f"{maj:.1%}, {some:.1%} of {n:,} problems" for k, n, maj, some in shown}
        lengths = (f"{n:,} ({q} %)" for q, n in zip(QUANTILES, self.lengths, strict=True))
        return {
            "accuracy of the chains": "no gold" if self.accuracy is None else f"{self.accuracy:.1%}",
            **rates,
            "effective chains per problem": f"{self.distinct:.1f} without copies, {self.different:.1f} without near copies, "
            f"of {self.chains / max(1, self.problems):.1f}",
            "without a rationale": f"{self.without_rationale:,} of {self.chains:,}",
            f"length in {self.unit}": ", ".join(lengths),
            "look first at": "; ".join(self.look) or "nothing stands out",
        }


def measure_corpus(chains: Sequence[Chain], problems: Mapping[str, Problem], outcomes: Mapping[str, Outcome]) -> CorpusWorth:
    """The worth of ``chains``; ``outcomes``: chain id -> what a check says of it.

    pass@k is the unbiased estimate of Chen et al. 2021 (arXiv 2107.03374), maj@k the mean over all subsets of k chains, or over
    the first k of random orders where there are many; both over the problems with gold and at least k chains.
    """
    by_problem: dict[str, list[Chain]] = defaultdict(list)
    for chain in chains:
        by_problem[chain.problem].append(chain)
    graded = {name: own for name, own in by_problem.items() if problems[name].answer is not None}
    right = {chain.id for chain in chains if outcomes[chain.id] is Outcome.CORRECT}
    known = all(chain.tokens is not None for chain in chains)
    lengths = sorted(chain.tokens if known and chain.tokens is not None else len(chain.text.split()) for chain in chains)
    n = sum(map(len, graded.values()))
    return CorpusWorth(
        chains=len(chains),
        problems=len(by_problem),
        outcomes=dict(Counter(outcomes[chain.id].value for chain in chains).most_common()),
        accuracy=sum(chain.id in right for own in graded.values() for chain in own) / n if n else None,
        at_k=tuple(_rates(graded, right)),
        distinct=fmean(len({chain.text for chain in own}) for own in by_problem.values()) if chains else 0.0,
        different=fmean(len({_plain(chain.text) for chain in own}) for own in by_problem.values()) if chains else 0.0,
        without_rationale=sum(not chain.rationale.strip() for chain in chains),
        lengths=tuple(lengths[(len(lengths) - 1) * q // 100] for q in QUANTILES) if lengths else (0,) * len(QUANTILES),
        unit="tokens" if known else "words",
        look=(*_look_at_shares(chains, outcomes), *_look(by_problem, graded, problems, right)),
    )


def _look_at_shares(chains: Sequence[Chain], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """The ways in which so many chains teach nothing that the questions alone may not show it."""
    counts = Counter(outcomes[chain.id].value for chain in chains)
    counts["without a rationale"] = sum(not chain.rationale.strip() for chain in chains)
    for why, n in counts.most_common():
        if n and n >= _SHARE * len(chains) and why not in (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_GOLD):
            yield f"{n:,} of {len(chains):,} chains are {why}"


def _plain(text: str) -> str:
    """``text`` without what near copies differ by."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _rates(graded: Mapping[str, Sequence[Chain]], right: set[str]) -> Iterator[tuple[int, int, float, float]]:
    """(k, problems, maj@k, pass@k) for every k up to the most chains that a problem has."""
    votes = {name: [(_voice(chain), chain.id in right) for chain in own] for name, own in graded.items()}
    wins = {name: _wins_by_k(own, random.Random(f"maj@k\x1f0\x1f{name}")) for name, own in votes.items()}
    for k in range(1, max(map(len, votes.values()), default=0) + 1):
        drawn = {name: sum(is_right for _, is_right in own) for name, own in votes.items() if len(own) >= k}
        some = fmean(pass_at_k(len(votes[name]), correct, k) for name, correct in drawn.items())
        yield k, len(drawn), fmean(wins[name][k - 1] for name in drawn), some


Vote = tuple[str | None, bool]
"""What a chain says, None where it gives no answer, and whether it is right."""


def _voice(chain: Chain) -> str | None:
    return answer_key(chain.answer) if chain.answer is not None and chain.finish == "stop" else None


def _wins_by_k(votes: Sequence[Vote], rng: random.Random) -> list[float]:
    """maj@k for every k: over all subsets of k, or over the first k of `SUBSETS` random orders where there are more."""
    n = len(votes)
    if math.comb(n, n // 2) <= SUBSETS:
        return [fmean(_wins(subset)[-1] for subset in combinations(votes, k)) for k in range(1, n + 1)]
    orders = [_wins(rng.sample(votes, n)) for _ in range(SUBSETS)]
    return [fmean(of_k) for of_k in zip(*orders, strict=True)]


def _wins(votes: Sequence[Vote]) -> list[float]:
    """How much of the most frequent answer is right after each vote: of equally frequent ones each counts its share, because the
    order of a corpus means nothing."""
    counts: dict[str, int] = {}
    rights: set[str | None] = set()
    most, wins = 0, []
    for answer, is_right in votes:
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
            most = max(most, counts[answer])
        if is_right:
            rights.add(answer)
        first = [said in rights for said, n in counts.items() if n == most]
        wins.append(sum(first) / len(first) if first else 0.0)
    return wins


def _look(
    by_problem: Mapping[str, Sequence[Chain]],
    graded: Mapping[str, Sequence[Chain]],
    problems: Mapping[str, Problem],
    right: set[str],
) -> Iterator[str]:
    """The problems that a person should look at first, by reason: the gold may be wrong, or the answers misread."""
    agreed = {name: {chain.answer for chain in own} for name, own in graded.items() if len(own) > 2}
    wrong = [name for name, own in graded.items() if not any(chain.id in right for chain in own)]
    doubted = [name for name in wrong if len(agreed.get(name, ())) == 1 and None not in agreed[name]]
    says = {name: f"{name} (all say {next(iter(agreed[name]))!r:.40}, gold {problems[name].answer!r:.40})" for name in doubted}
    found = {
        "gold that every chain contradicts": [says[name] for name in doubted],
        "problems without a right chain": [name for name in wrong if name not in says],
        "problems whose chains have no answer": [name for name, own in by_problem.items() if all(c.answer is None for c in own)],
        "problems whose chains have no rationale": [
            name for name, own in by_problem.items() if not any(chain.rationale.strip() for chain in own)
        ],
        "problems whose chains are all near copies": [
            name for name, own in by_problem.items() if len(own) > 1 and len({_plain(chain.text) for chain in own}) == 1
        ],
    }
    for why, names in found.items():
        if names:
            yield f"{len(names):,} {why}: {', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)}"
