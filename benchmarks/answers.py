"""How often the verdict on real chains agrees with the label that came with them, per set, and every class of disagreement.

    python benchmarks/answers.py [--data DIR] [--set NAME] [--show N] [--markdown] [--files]
    python benchmarks/answers.py --sample 50 --set addsub/chains-zeroshot-cot      # disagreements of a file, to be read
    python benchmarks/answers.py --strict --set gsm8k-fewshot      # what a reader of "The answer is" alone would see, by teacher

For each chain with a recorded label: its answer is settled as an import does (`corpus.import_.takes_recorded`), the verdict is
``compare(answer, gold)``, and it agrees when "correct" is what the label says. ``from text``: the same for the chains whose
text states an answer outright, by the text alone; the rest of the verdicts follow the recorded answer, where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from understudy.core.answers import compare, extract, normalise
from understudy.core.values import AnswerKind, Outcome, Problem
from understudy.corpus.import_ import RECORDED, STATED, takes_recorded

DATA = Path(os.environ.get("UNDERSTUDY_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Row = dict[str, Any]
ASKED_BY_ANOTHER = {
    "gsm8k-fewshot": "gsm8k",
    "gsm8k-subq": "gsm8k",
    "gsm8k-student-outputs": "gsm8k",
    "strategyqa-fewshot": "strategyqa",
}
"""Sets of chains -> the set whose problems they solve, where that is not their own."""


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


def sets(data: Path) -> Iterator[tuple[str, list[Path], dict[str, Problem]]]:
    """(name, its files of chains, its problems) of every set that has chains."""
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        chains = [file for file in sorted(folder.glob("*.jsonl")) if "problem_id" in next(rows(file))]
        asked = data / ASKED_BY_ANOTHER.get(folder.name, folder.name)
        found = [row for file in asked.glob("*.jsonl") for row in rows(file) if "question" in row and "id" in row]
        if chains:
            yield folder.name, chains, {row["id"]: problem_of(row) for row in found}


def problem_of(row: Row) -> Problem:
    kind, choices = kind_of(row), tuple(row.get("choices") or ())
    return Problem(row["id"], row["question"], kind, normalise(str(row["answer"]), kind, choices), choices=choices)


@dataclass
class Tally:
    """Counts of one set."""

    rows: int = 0
    agree: int = 0
    stated: int = 0
    stated_agree: int = 0
    text_agree: int = 0
    """By the text alone, whether it states an answer outright or not."""
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
        by_row = takes_recorded(found.value, found.layer, recorded, prefer="text")
        answer, layer = (recorded, RECORDED) if by_row else (found.value, found.layer)
        outcome = compare(answer, golds, kind, choices)
        self.rows += 1
        agrees = (outcome is Outcome.CORRECT) == correct
        self.agree += agrees
        by_text = (compare(found.value, golds, kind, choices) is Outcome.CORRECT) == correct
        self.text_agree += by_text
        if found.layer in STATED:
            self.stated += 1
            self.stated_agree += by_text
        if not agrees:
            label = "correct" if correct else "not correct"
            name = (
                f"{layer or found.status}: {outcome.value}, label says {label}, recorded {'none' if raw is None else 'an answer'}"
            )
            self.classes[name] += 1
            options = f" of {choices}" if choices else ""
            text = row["text"] if len(row["text"]) < 1000 else "..." + row["text"][-1000:]
            about = f"gold {golds[0]}{options}, recorded {raw}, read {answer}"
            self.examples[name].append(f"{row['problem_id']}: {about}: {problem['question']!r} {text!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="", help="only sets, or files as SET/FILE, whose name contains this")
    parser.add_argument("--files", action="store_true", help="for each file on its own")
    parser.add_argument("--sample", type=int, default=0, help="this many disagreements of each file, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="examples of each class of disagreement")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--strict", action="store_true")
    arguments = parser.parse_args()
    if arguments.strict:
        print_strict(arguments.data, arguments.set)
        return
    tallies = measure(arguments.data, arguments.set, by_file=arguments.files or arguments.sample > 0)
    if arguments.sample:
        print_sample(tallies, arguments.sample, arguments.seed)
        return
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


def labelled(data: Path, only: str) -> Iterator[tuple[Path, Row, Row]]:
    """(file, chain, its problem) of every chain with a label."""
    problems: dict[str, Row] = {}
    chains: list[Path] = []
    for path in sorted(data.glob("*/*.jsonl")):
        if "problem_id" in next(rows(path), {}):
            chains.append(path)
        else:
            problems.update((row["id"], row) for row in rows(path))
    for path in chains:
        if only in f"{path.parent.name}/{path.stem}":
            for row in rows(path):
                if row.get("correct") is not None and row["problem_id"] in problems:
                    yield path, row, problems[row["problem_id"]]


def measure(data: Path, only: str, *, by_file: bool = False, step: int = 1) -> dict[str, Tally]:
    """Name of a set, or SET/FILE, -> its tally, over every file of chains that has labels; over each ``step``-th chain."""
    tallies: dict[str, Tally] = {}
    for path, row, problem in islice(labelled(data, only), 0, None, step):
        name = f"{path.parent.name}/{path.stem}" if by_file else path.parent.name
        tallies.setdefault(name, Tally()).add(row, problem)
    return tallies


def print_sample(tallies: dict[str, Tally], n: int, seed: int) -> None:
    """A person reads these and says who is right, the label or Understudy."""
    for name, tally in tallies.items():
        found = [f"{kind}\n  {example}" for kind, examples in tally.examples.items() for example in examples]
        print(f"{name}: {min(n, len(found))} of {len(found)} disagreements")
        for i, example in enumerate(random.Random(seed).sample(found, min(n, len(found))), 1):
            print(f"{i}. {example}")


def print_strict(data: Path, only: str) -> None:
    """Share of right chains by all layers, by the marker alone, and by the label; texts only, no recorded answers."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path, row, problem in labelled(data, only):
        kind, choices = kind_of(problem), problem.get("choices") or ()
        found = extract(row["text"], kind, choices, problem["question"])
        right = compare(found.value, golds_of(problem), kind, choices) is Outcome.CORRECT
        seen = (1, right, right and found.layer == "marker", bool(row["correct"]))
        counts[path.name, row["teacher"]] = [a + b for a, b in zip(counts[path.name, row["teacher"]], seen, strict=True)]
    print("| file | teacher | chains | right by all layers % | by the marker alone % | by the label % |\n|---|---|---|---|---|---|")
    for (name, teacher), (n, layers, strict, label) in counts.items():
        print(f"| {name} | {teacher} | {n:,} | {share(layers, n)} | {share(strict, n)} | {share(label, n)} |")


def print_markdown(tallies: dict[str, Tally]) -> None:
    print(
        "| set | chains with a label | agreement % | answer stated in the text | of these, by text alone % | all, by text alone % |"
    )
    print("|---|---|---|---|---|---|")
    for name, t in tallies.items():
        counts_of = f"{t.rows:,} | {share(t.agree, t.rows)} | {t.stated:,} | {share(t.stated_agree, t.stated)}"
        print(f"| {name} | {counts_of} | {share(t.text_agree, t.rows)} |")
    print("\n| set | class of disagreement | chains |\n|---|---|---|")
    for name, t in tallies.items():
        for kind, n in t.classes.most_common():
            print(f"| {name} | {kind} | {n} |")


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "-"


if __name__ == "__main__":
    main()
