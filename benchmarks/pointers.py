"""Numbers as pointers: how many real chains can be written so and why not the rest, and what the evaluator alone is worth.

    python benchmarks/pointers.py [--data DIR]           # chains by set, as a table
    python benchmarks/pointers.py --split DIR            # the one equation that answers most of train.jsonl, on test.jsonl

DIR of --split is what studies/prepare_arithmetic.py wrote.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

from understudy.core.answers import compare, extract, normalise
from understudy.core.pointers import to_pointers, to_text
from understudy.core.values import Outcome

DATA = Path(os.environ.get("UNDERSTUDY_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SETS = ("asdiv", "svamp", "singleeq", "addsub", "gsm8k", "gsm8k-fewshot")
REASONS = ("no equation", "an equation does not hold", "a number from nowhere", "the answer is not a result")
Row = dict[str, Any]


def read(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def written(data: Path, name: str) -> Counter[str]:
    """Counts of the chains of a set with an answer: "written", or the reason why not. Raises AssertionError where the way back
    does not state the same answer."""
    questions = {
        row["id"]: row["question"] for path in (data / name.partition("-")[0]).glob("*.jsonl") for row in read(path) if "id" in row
    }
    counts: Counter[str] = Counter()
    for path in sorted((data / name).glob("chains*.jsonl")):
        for row in read(path):
            question = questions[row["problem_id"]]
            found = extract(row["text"], "number", (), question)
            answer = found.value if row["answer"] is None else normalise(str(row["answer"]), "number")
            if answer is None:
                continue
            pointed = to_pointers(question, row["text"][: found.start], answer)
            counts[pointed.reason or "written"] += 1
            if not pointed.reason:
                filled = to_text(question, f" {pointed.rationale} So the answer is: {pointed.answer}")
                assert not filled.reason, (filled, row)
                assert extract(filled.text, "number", (), question).value == answer, (filled, row)
                again = to_pointers(question, filled.text, answer)
                assert (again.rationale, again.answer) == (pointed.rationale, pointed.answer), (filled, row)
    return counts


def share_right(equation: str, rows: list[Row]) -> float:
    """How many of ``rows`` one equation for all answers."""
    right = 0
    for row in rows:
        filled = to_text(row["question"], f"{equation} = #0. So the answer is: #0")
        value = None if filled.reason else extract(filled.text, "number").value
        right += compare(value, [str(row["answer"])], "number") is Outcome.CORRECT
    return right / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", type=Path)
    arguments = parser.parse_args()
    if arguments.split:
        train, test = (list(read(arguments.split / f"{name}.jsonl")) for name in ("train", "test"))
        pairs = [f"@{a} {sign} @{b}" for a, b in permutations(range(3), 2) for sign in "+-*/"]
        best = max([*pairs, "@0 + @1 + @2", "@0 - @1 - @2", "@0 + @1 - @2", "@0 * @1 * @2"], key=lambda e: share_right(e, train))
        print(f"{best}: train {share_right(best, train):.3f} of {len(train)}, test {share_right(best, test):.3f} of {len(test)}")
        return
    print(f"| set | chains with an answer | written % | {' | '.join(f'{reason} %' for reason in REASONS)} |\n|{'---|' * 7}")
    for name in SETS:
        counts = written(arguments.data, name)
        shares = (f"{100 * counts[what] / counts.total():.1f}" for what in ("written", *REASONS))
        print(f"| {name} | {counts.total():,} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
