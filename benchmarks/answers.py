"""How often the verdict on real chains agrees with the label that came with them, per set, and every class of disagreement.

    python benchmarks/answers.py [--data DIR] [--set NAME] [--show N] [--markdown]

For each chain with a recorded label: its answer is settled as an import does (`corpus.importing.settle`), the verdict is
``compare(answer, gold)``, and it agrees when "correct" is what the label says. ``from text``: the same for the chains whose
text states an answer outright, by the text alone; the rest of the verdicts follow the recorded answer, where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.core.answers import compare, extract, normalise
from understudy.core.values import AnswerKind, Outcome
from understudy.corpus.importing import STATED, settle

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
    """Counts of one set."""

    rows: int = 0
    agree: int = 0
    stated: int = 0
    stated_agree: int = 0
    seconds: float = 0.0
    classes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: Row, problem: Row) -> None:
        kind, choices = kind_of(problem), problem.get("choices") or ()
        golds, correct = golds_of(problem), bool(row["correct"])
        raw = row.get("answer")
        recorded = None if raw is None else normalise(str(raw), kind, choices)
        started = time.perf_counter()
        found = extract(row["text"], kind, choices, problem["question"])
        self.seconds += time.perf_counter() - started
        answer, layer = settle(found, recorded, prefer="text")
        outcome = compare(answer, golds, kind, choices)
        self.rows += 1
        agrees = (outcome is Outcome.CORRECT) == correct
        self.agree += agrees
        if found.layer in STATED:
            self.stated += 1
            self.stated_agree += (compare(found.value, golds, kind, choices) is Outcome.CORRECT) == correct
        if not agrees:
            label = "correct" if correct else "not correct"
            name = (
                f"{layer or found.status}: {outcome.value}, label says {label}, recorded {'none' if raw is None else 'an answer'}"
            )
            self.classes[name] += 1
            options = f" of {choices}" if choices else ""
            text = row["text"] if len(row["text"]) < 400 else "..." + row["text"][-400:]
            self.examples[name].append(f"{row['problem_id']}: gold {golds[0]}{options}, recorded {raw}, read {answer}: {text!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="", help="only sets whose name contains this")
    parser.add_argument("--show", type=int, default=0, help="examples of each class of disagreement")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    tallies = measure(arguments.data, arguments.set)
    if arguments.markdown:
        print_markdown(tallies)
        return
    for name, tally in tallies.items():
        print(
            f"{name:24} n {tally.rows:6,}  agree {share(tally.agree, tally.rows)}  from text {tally.stated:6,}: "
            f"{share(tally.stated_agree, tally.stated)}  {1e6 * tally.seconds / tally.rows:.0f} us a chain"
        )
        for kind, n in tally.classes.most_common():
            print(f"    {n:5}  {kind}")
            step = max(1, len(tally.examples[kind]) // max(1, arguments.show))
            for example in tally.examples[kind][::step][: arguments.show]:
                print(f"           {example}")


def measure(data: Path, only: str) -> dict[str, Tally]:
    """Set name -> its tally, over every file of chains that has labels."""
    problems: dict[str, Row] = {}
    chains: list[Path] = []
    for path in sorted(data.glob("*/*.jsonl")):
        if "problem_id" in next(rows(path), {}):
            chains.append(path)
        else:
            problems.update((row["id"], row) for row in rows(path))
    tallies: dict[str, Tally] = {}
    for path in chains:
        if only in path.parent.name:
            for row in rows(path):
                if row.get("correct") is not None and row["problem_id"] in problems:
                    tallies.setdefault(path.parent.name, Tally()).add(row, problems[row["problem_id"]])
    return tallies


def print_markdown(tallies: dict[str, Tally]) -> None:
    print("| set | chains with a label | agreement % | answer stated in the text | agreement of these, by text alone % |")
    print("|---|---|---|---|---|")
    for name, t in tallies.items():
        print(f"| {name} | {t.rows:,} | {share(t.agree, t.rows)} | {t.stated:,} | {share(t.stated_agree, t.stated)} |")
    print("\n| set | class of disagreement | chains |\n|---|---|---|")
    for name, t in tallies.items():
        for kind, n in t.classes.most_common():
            print(f"| {name} | {kind} | {n} |")


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "-"


if __name__ == "__main__":
    main()
