"""Which k chains of a problem are taken, and which of its chains are copies.

    CHOICES["diverse"](chains, 5, random.Random(0))      one of each of five clusters
    drop_copies(chains, "near")                          those that resemble no earlier one

Each is a function of the chains of one problem, by their paths, and of a generator. Beware: near copies take the square of a
problem's chains, and ``diverse`` the cube.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

from understudy.core.answers.equations import find_equations
from understudy.core.errors import DataError
from understudy.core.values import Chain

NEAR = 0.95
"""Near copies are at least so alike."""
_WORD = re.compile(r"\w+|[-+*/=<>×÷^]")


def first(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    return chains[:k]


def draw(chains: Sequence[Chain], k: int, rng: random.Random) -> Sequence[Chain]:
    mixed = list(chains)
    rng.shuffle(mixed)
    return mixed[:k]


def likeliest(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    return sorted(chains, key=lambda chain: -_logprob(chain))[:k]  # equal ones stay in the order of their paths


def _logprob(chain: Chain) -> float:
    if chain.logprob is None:
        which = f"the chain of problem {chain.problem!r}, path {chain.path}, by {chain.teacher!r}"
        raise DataError(f'select.choose = "likeliest": {which} has no log-probability; take another teacher, or choose = "random"')
    return chain.logprob


def shortest(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    return sorted(chains, key=lambda chain: len(chain.rationale))[:k]


def by_equations(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    """The first of each sequence of equations; then, where these are too few, the first of the others."""
    different = {chain.path for chain in drop_copies(chains, "equations")}
    return sorted(chains, key=lambda chain: chain.path not in different)[:k]


def farthest(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    """The first, then each time the text whose edit distance to the nearest chosen one is largest (Gonzalez 1985)."""
    from rapidfuzz.distance import Levenshtein

    chosen, nearest = [0], [math.inf] * len(chains)
    while len(chosen) < min(k, len(chains)):
        last = chains[chosen[-1]].text
        nearest = [min(least, Levenshtein.distance(last, chain.text)) for least, chain in zip(nearest, chains, strict=True)]
        chosen.append(max((i for i in range(len(chains)) if i not in chosen), key=lambda i: nearest[i]))
    return [chains[i] for i in chosen]


def diverse(chains: Sequence[Chain], k: int, rng: random.Random) -> Sequence[Chain]:
    """One at random of each of ``k`` clusters: those are joined whose texts are most alike on average."""
    if len(chains) <= k:
        return chains
    members = {i: [i] for i in range(len(chains))}
    alike = compare([chain.text for chain in chains])  # of two clusters: the sum over all pairs
    while len(members) > k:
        one, other = max(alike, key=lambda pair: alike[pair] / (len(members[pair[0]]) * len(members[pair[1]])))
        members[one] += members.pop(other)
        del alike[one, other]
        for third in members:
            if third != one:
                alike[_pair(one, third)] += alike.pop(_pair(other, third))
    return [chains[rng.choice(cluster)] for cluster in members.values()]


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


CHOICES: dict[str, Callable[[Sequence[Chain], int, random.Random], Sequence[Chain]]] = {
    "first": first,
    "random": draw,
    "likeliest": likeliest,
    "diverse": diverse,
    "open-ended": draw,
    "farthest": farthest,
    "equations": by_equations,
    "shortest": shortest,
}
"""``select.choose`` -> what chooses k chains of a problem."""


def drop_copies(chains: Sequence[Chain], copies: Literal["equal", "near", "equations"]) -> list[Chain]:
    """``chains`` without those that have the text of an earlier one, nearly its text, or its sequence of equations (a chain without
    equations: its text)."""
    if copies != "near":
        firsts: dict[object, Chain] = {}
        for chain in chains:
            equations = copies == "equations" and tuple(equation.text for equation in find_equations(chain.rationale))
            firsts.setdefault(equations or chain.text, chain)
        return list(firsts.values())
    alike = compare([chain.text for chain in chains])
    kept: list[int] = []
    for i in range(len(chains)):
        if all(alike[earlier, i] < NEAR for earlier in kept):
            kept.append(i)
    return [chains[i] for i in kept]


def compare(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """How alike every two of ``texts`` are, 0 to 1: the cosine of their sets of runs of three characters, whatever the case, blanks
    and punctuation. Signs of calculations count."""
    grams = []
    for text in texts:
        plain = f" {' '.join(_WORD.findall(text.casefold()))} "
        grams.append({plain[i : i + 3] for i in range(max(1, len(plain) - 2))})
    bits = {gram: 1 << i for i, gram in enumerate(set().union(*grams))}
    sets = [sum(map(bits.__getitem__, own)) for own in grams]  # the intersection of whole numbers is 50 times as fast
    sizes = list(map(len, grams))
    return {(i, j): (sets[i] & sets[j]).bit_count() / math.sqrt(sizes[i] * sizes[j]) for i, j in combinations(range(len(texts)), 2)}
