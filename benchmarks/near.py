"""How many near questions published and random splits have, and how many of altered copies are found.

    python benchmarks/near.py [--data DIR]

Three tables, as Markdown. First, for published splits, how many held-out questions are equal to one of train or near one, by kind,
and the CPU time. Then the same for random splits by seed 0 (a tenth each is dev and test) of sets that have no splits. Last, of the
first 300 questions of a set, how many are found where train has a copy of each that is altered: another word in the middle, a
word before it, a sentence after it, or an invisible character in its longest word.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from answers import DATA, problem_of

from understudy.core.values import Problem
from understudy.corpus.tables import read_objects
from understudy.tasks.overlap import KINDS, check_overlap, find_near
from understudy.tasks.splits import split

PUBLISHED = {
    "gsm8k": ("test",),
    "arc-easy": ("test",),
    "openbookqa": ("dev", "test"),
    "quarel": ("dev", "test"),
    "strategyqa": ("dev",),
    "commonsenseqa": ("dev",),
}
"""Set -> its held-out splits."""
WITHOUT_SPLITS = ("svamp", "addsub", "asdiv", "singleeq")
ALTERED = {"svamp": "all", "gsm8k": "test", "strategyqa": "train", "commonsenseqa": "dev", "quarel": "test", "openbookqa": "test"}
"""Set -> the file whose first 300 questions are altered."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    print_header("published splits", "train", "held out", "equal", *KINDS, "CPU µs each")
    for name, held_out in PUBLISHED.items():
        print_near(name, [p for part in ("train", *held_out) for p in read(data, name, part, part)], held_out)
    print_header("random splits", "train", "held out", "equal", *KINDS, "CPU µs each")
    for name in WITHOUT_SPLITS:
        print_near(name, split(read(data, name, "all", "train"), {"dev": 0.1, "test": 0.1}, seed=0), ("dev", "test"))
    print_header("copies found, percent", "questions", *ALTERATIONS)
    for name, part in ALTERED.items():
        problems = read(data, name, part, "test")[:300]
        found = (f"{100 * count_found(problems, alter) / len(problems):.0f}" for alter in ALTERATIONS.values())
        print(f"| {name} | {len(problems)} | {' | '.join(found)} |")


def print_header(*columns: str) -> None:
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")


def read(data: Path, name: str, part: str, into: str) -> list[Problem]:
    return [replace(problem_of(row), split=into) for _, row in read_objects(data / name / f"{part}.jsonl")]


def print_near(name: str, problems: Sequence[Problem], held_out: Sequence[str]) -> None:
    left, equal = check_overlap(problems, held_out=held_out, rule="drop")
    started = time.process_time()
    near, _ = find_near(left, held_out=held_out)
    each = 1e6 * (time.process_time() - started) / len(left)
    counts, held = Counter(pair.kind for pair in near), sum(problem.split in held_out for problem in left)
    columns = (len(left) - held, held, len(equal), *(counts[kind] for kind in KINDS), round(each))
    print(f"| {name} | {' | '.join(map(str, columns))} |", flush=True)


def count_found(problems: Sequence[Problem], alter: Callable[[str], str]) -> int:
    copies = [replace(problem, id=f"copy of {problem.id}", question=alter(problem.question), split="train") for problem in problems]
    same, left = check_overlap([*problems, *copies], held_out=("test",), rule="drop")[::-1]
    return len(same) + len({pair.held_out for pair in find_near(left, held_out=("test",))[0]})


def replace_word(question: str) -> str:
    words = question.split()
    words[len(words) // 2] = "zebra"
    return " ".join(words)


def add_invisible(question: str) -> str:
    longest = max(question.split(), key=len)
    return question.replace(longest, f"{longest[:2]}\u200b{longest[2:]}", 1)


ALTERATIONS: dict[str, Callable[[str], str]] = {
    "another word": replace_word,
    "a word added": lambda question: f"Now {question}",
    "a sentence added": lambda question: f"{question} Please explain.",
    "an invisible character": add_invisible,
}

if __name__ == "__main__":
    main()
