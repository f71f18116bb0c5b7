"""Questions that are in a held-out split and outside it: equal ones, which a rule stops or drops, and near ones.

    Ann has 3 pears. How many?     Ann has 12 pears; how many?        other numbers
    Ann has 3 pears. How many?     Bob Lee has 12 pears. How many?    other names
    Which is red, a rose or grass? Which is red, grass or a rose?     same words

All of it takes linear time. Beware: it reads every word of every question.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from understudy.core.errors import DataError
from understudy.core.values import Problem

GRAM = 13
"""A run of so many words that two questions share is no accident (GPT-3, arXiv 2005.14165, appendix C)."""
_LEAST = 4
"""A template of fewer words that are no names and numbers ("is X in X") says nothing."""
_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)+|\w+")
"""A word, or a number with its marks: "1,000" is one as "900" is."""
_WORD_OR_SIGN = re.compile(rf"{_WORD.pattern}|[-+*/=<>×÷^]")


def check_overlap(problems: Sequence[Problem], *, held_out: Sequence[str], rule: str) -> tuple[list[Problem], tuple[str, ...]]:
    """``problems`` without those outside the ``held_out`` splits that share question and choices with a held-out problem, and the
    ids of these. With the ``rule`` "error" they raise a DataError that names them."""
    held = {exact_key(p): p.id for p in reversed(problems) if p.split in held_out}
    same = {p.id: held[exact_key(p)] for p in problems if p.split not in held_out and exact_key(p) in held}
    if same and rule == "error":
        pairs = ", ".join(f"{a} = {b}" for a, b in list(same.items())[:5])
        raise DataError(
            f"{len(same)} problems outside {', '.join(held_out)} have the question and choices of a problem in it: {pairs}"
            f'{", ..." if len(same) > 5 else ""}; set study.overlap = "drop" to drop them from training'
        )
    return [p for p in problems if p.id not in same], tuple(same)


@dataclass(frozen=True)
class NearPair:
    """The question ``held_out`` (an id) is near the question ``outside`` the held-out splits. ``kind``: how, one of `KINDS`."""

    held_out: str
    outside: str
    kind: str


def find_near(problems: Sequence[Problem], *, held_out: Sequence[str]) -> tuple[list[NearPair], set[str]]:
    """Every ``held_out`` question that is near one outside, with the first such one by the first of `KINDS`; and the ids of all
    that are near outside."""
    pairs: dict[str, NearPair] = {}
    outside: set[str] = set()
    for kind, keys_of in KINDS.items():
        held: dict[Hashable, list[str]] = defaultdict(list)
        for problem in problems:
            if problem.split in held_out:
                for key in keys_of(problem):
                    held[key].append(problem.id)
        for problem in problems:
            for key in keys_of(problem) if problem.split not in held_out else ():
                if key in held:
                    outside.add(problem.id)
                    for name in held[key]:
                        pairs.setdefault(name, NearPair(name, problem.id, kind))
                    held[key] = []  # they have their pair: the time stays linear where all questions have one template
    return sorted(pairs.values(), key=lambda pair: list(KINDS).index(pair.kind)), outside


def exact_key(problem: Problem) -> tuple[str, str, tuple[str, ...]]:
    """A key that is equal for the same question with the same choices in any order."""
    return " ".join(problem.context.split()), " ".join(problem.question.split()), tuple(sorted(problem.choices))


def near_key(problem: Problem) -> tuple[str, ...]:
    """A key that is equal for questions that differ only by case, blanks, punctuation or numbers."""
    text = " ".join([problem.context, problem.question, *sorted(problem.choices)])
    return tuple("0" if word[0].isdigit() else word for word in _WORD.findall(text.casefold()))


def _words(problem: Problem) -> Iterator[Hashable]:
    yield tuple(sorted(_WORD_OR_SIGN.findall(" ".join([problem.context, problem.question, *problem.choices]).casefold())))


def _template(problem: Problem) -> Iterator[Hashable]:
    """The question without what stands in the place of numbers and names: words with a capital, several of which are one name."""
    parts = [[_mask(word) for word in _WORD.findall(text)] for text in (problem.context, problem.question, *problem.choices)]
    asked, choices = parts[0] + parts[1], sorted(parts[2:])
    words = [word for word, _ in groupby([*asked, *(word for choice in choices for word in choice)])]
    if sum(word not in ("0", "X") for word in words) >= _LEAST:
        yield tuple(words)


def _mask(word: str) -> str:
    return "0" if word[0].isdigit() else "X" if word[0].isupper() else word


def _grams(problem: Problem) -> Iterator[Hashable]:
    words = _WORD.findall(f"{problem.context} {problem.question}".casefold())
    for i in range(len(words) - GRAM + 1):
        yield tuple(words[i : i + GRAM])


KINDS: Mapping[str, Callable[[Problem], Iterable[Hashable]]] = {
    "same words": _words,
    "other numbers": lambda problem: [near_key(problem)],
    "other names": _template,
    f"{GRAM} words in a row": _grams,
}
"""How two questions are near -> the keys of a question; near ones share a key. The words may come in any order; with other numbers
case and punctuation may differ, and with other names the numbers, too."""
