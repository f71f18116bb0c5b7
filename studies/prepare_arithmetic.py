"""Word problems of several sets as train.jsonl, dev.jsonl and test.jsonl, with near-duplicates on one side of the split.

    python studies/prepare_arithmetic.py ../shared/data ../word-problems          # for studies/real/

DATA has a directory with an all.jsonl for each set. Questions whose answer is no number (ASDiv's numeric = false) are left out, and
a question that is there twice counts once. Near-duplicates lie on one side of the split: two questions that, with numbers and
names masked, are equal or share a sentence of 8 words or more are in one group (SVAMP's are variants of ASDiv's), and a group
goes to one split as a whole.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SETS = ("asdiv", "svamp", "singleeq", "addsub")
WORDS = 8

Row = dict[str, Any]


def read(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def rows(data: Path, sets: Sequence[str]) -> list[Row]:
    """Every question with a number for an answer, once; of equal ones that of the first set."""
    found: dict[tuple[str, ...], Row] = {}
    for name in sets:
        for row in read(data / name / "all.jsonl"):
            if row.get("numeric", True):
                found.setdefault(tuple(re.findall(r"\w+", row["question"].casefold())), row | {"set": name})
    return list(found.values())


def masked(text: str) -> list[str]:
    """The words of ``text``, a number as 0 and a name (a capital that begins no sentence) as N."""
    words = re.findall(r"[A-Za-z']+|[0-9][0-9.,/]*", text)
    return ["0" if w[0].isdigit() else "N" if i and w[0].isupper() else w.casefold() for i, w in enumerate(words)]


def keys(question: str) -> Iterator[str]:
    """What a question shares with its near-duplicates."""
    yield " ".join(masked(question))
    for sentence in re.split(r"(?<=[.?!])\s+|,\s+(?=how|what)", question):
        if len(words := masked(sentence)) >= WORDS:
            yield " ".join(words)


def groups(found: list[Row]) -> list[list[Row]]:
    """``found`` in groups of near-duplicates, in the order of their first."""
    parent = list(range(len(found)))

    def top(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, row in enumerate(found):
        for key in keys(row["question"]):
            a, b = top(first.setdefault(key, i)), top(i)
            parent[max(a, b)] = min(a, b)
    made: dict[int, list[Row]] = defaultdict(list)
    for i, row in enumerate(found):
        made[top(i)].append(row)
    return list(made.values())


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["asdiv", "svamp"])
    parser.add_argument("--dev", type=float, default=0.1, help="its share of the questions")
    parser.add_argument("--test", type=float, default=0.2, help="its share of the questions")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args(words)
    shares = {"dev": arguments.dev, "test": arguments.test}
    found = rows(arguments.data, arguments.sets)
    made = groups(found)
    random.Random(arguments.seed).shuffle(made)
    splits: dict[str, list[Row]] = {name: [] for name in ("train", *shares)}
    for group in made:
        short = (name for name, share in shares.items() if len(splits[name]) + len(group) <= share * len(found))
        splits[next(short, "train")] += group
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name, chosen in splits.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(chosen, key=lambda row: row["id"]))
        (arguments.to / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(name, len(chosen), dict(Counter(row["set"] for row in chosen)))
    print(f"{len(found)} questions, {len(made)} groups, {sum(len(g) for g in made if len(g) > 1)} questions with a near-duplicate")


if __name__ == "__main__":
    main()
