"""Test whether an answer follows from the rationale before it: what does a student answer after an altered rationale?

A student whose answers stay the same whatever comes before them does not reason by its chain, however good the chain reads (after
Lanham et al. 2023, arXiv 2307.13702; a model wrote their mistakes, here rules make them).
"""

import random
import re
from collections.abc import Callable, Mapping
from typing import Literal

from understudy.core.subquestions import split_sentences

Alteration = Literal["empty", "half", "corrupted", "other"]
Rationales = Mapping[str, tuple[str, str | None]]
"""problem id -> what a student wrote before its answer, and that answer"""

_NUMBER = re.compile(r"\d+")
_LINE = re.compile(r"(?m)^([QA][0-9]+:)?(.*)$")
"""The mark of a turn ("Q1:"), which stays unchanged, and the rest of its line."""


def alter(rationales: Rationales, alteration: Alteration, *, seed: int) -> dict[str, str]:
    """Alter all ``rationales``. ``empty``: to no text. ``half``: to the first half of the sentences, or of the words of a single
    sentence. ``corrupted``: with other numbers, or without numbers, with each line's words in another order. ``other``: to the
    rationale of the next problem in a seeded order that has another answer; if all have the same answer, of the next problem."""
    if alteration == "other":
        order = sorted(rationales)
        random.Random(f"other\x1f{seed}").shuffle(order)

        def find_donor(index: int) -> str:
            candidates = (order[index - offset] for offset in range(1, len(order)))
            return next((name for name in candidates if rationales[name][1] != rationales[order[index]][1]), order[index - 1])

        return {name: rationales[find_donor(index)][0] for index, name in enumerate(order)}
    change: Callable[[str, random.Random], str] = {"empty": lambda *_: "", "half": _halve, "corrupted": _corrupt}[alteration]
    return {name: change(text, random.Random(f"{alteration}\x1f{seed}\x1f{name}")) for name, (text, _) in rationales.items()}


def _halve(text: str, _: random.Random) -> str:
    sentences = split_sentences(text)
    parts = sentences if len(sentences) > 1 else text.split()
    return ("\n" if "\n" in text.strip() else " ").join(parts[: len(parts) // 2])


def _corrupt(text: str, rng: random.Random) -> str:
    numbers = any(_NUMBER.search(line) for _, line in _LINE.findall(text))

    def change(line: str) -> str:
        if numbers:
            return _NUMBER.sub(lambda match: str(int(match[0][:18]) + rng.randint(1, 9)), line)
        words = line.split()
        rng.shuffle(words)
        return " ".join(words)

    return _LINE.sub(lambda match: f"{match[1]} {change(match[2]).strip()}" if match[1] else change(match[2]), text)
