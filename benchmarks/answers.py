"""How often the reading of answers agrees with the label that came with real chains.

    python benchmarks/answers.py [--data DIR] [--set NAME] [--classes] [--markdown]

For each chain with a recorded label: verdict = ``compare(extract(text))``; it agrees when "correct" is what the label says.
``stated`` leaves out chains whose text does not contain an answer at all (empty, or only the rationale was published).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.core.answers import compare, extract, normalise
from understudy.core.values import AnswerKind, Outcome

DATA = Path(os.environ.get("UNDERSTUDY_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Row = dict[str, Any]


def rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def kind_of(problem: Row) -> AnswerKind:
    """The kind of answer that a problem row asks for, from its fields and gold alone."""
    gold = str(problem["answer"])
    if "numbers" in problem:
        return "expression"
    if problem.get("choices") or re.fullmatch(r"\([A-Z]\)", gold):
        return "option"
    if gold.lower() in ("yes", "no", "true", "false"):
        return "yes_no"
    return "number" if normalise(gold, "number") is not None else "text"


def golds_of(problem: Row) -> list[str]:
    gold = str(problem["answer"])
    return [f"{gold} from {' '.join(problem['numbers'])}"] if "numbers" in problem else [gold]


@dataclass
class Tally:
    """Counts of one chain file."""

    rows: int = 0
    agree: int = 0
    layers: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="")
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    problems: dict[str, Row] = {}
    for path in sorted(args.data.glob("*/*.jsonl")):
        if not is_chains(path):
            problems.update((row["id"], row) for row in rows(path))
    for path in sorted(args.data.glob("*/*.jsonl")):
        if is_chains(path) and args.set in str(path):
            tally = Tally()
            for row in rows(path):
                if row.get("correct") is None or row["problem_id"] not in problems:
                    tally.classes["skipped"] += 1
                    continue
                problem = problems[row["problem_id"]]
                kind = kind_of(problem)
                choices = problem.get("choices") or ()
                t = time.perf_counter()
                found = extract(row["text"], kind, choices, problem["question"])
                outcome = compare(found.value, golds_of(problem), kind, choices)
                tally.seconds += time.perf_counter() - t
                tally.rows += 1
                tally.layers[found.layer or found.status] += 1
                ok = (outcome == Outcome.CORRECT) == row["correct"]
                tally.agree += ok
                if not ok:
                    c = f"{found.layer or found.status}:{outcome.value}:rec={row['correct']}"
                    tally.classes[c] += 1
                    if args.only in c:
                        tally.examples.setdefault(c, []).append(
                            f"{row['problem_id']} gold={problem['answer']} rec={row['answer']} got={found.value} {str(problem.get('choices') or '')[:150]}\n     ...{row['text'][-450:]!r}"
                        )
            print(
                f"{path.parent.name}/{path.name:40} {tally.rows} {100 * tally.agree / max(1, tally.rows):.2f} {1e6 * tally.seconds / max(1, tally.rows):.0f}us {dict(tally.layers)}"
            )
            for c, n in tally.classes.most_common():
                print("      ", c, n)
                for e in tally.examples.get(c, [])[:: max(1, len(tally.examples.get(c, [1])) // max(1, args.show))][: args.show]:
                    print("          ", e)


def is_chains(path: Path) -> bool:
    return "problem_id" in next(rows(path), {})


if __name__ == "__main__":
    main()
