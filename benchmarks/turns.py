"""Answers of students that take turns, with the beginnings that prompts share read once and with every prompt read whole.

    python benchmarks/turns.py STUDENT [PARTNER ...] --questions FILE.jsonl [--problems 32] [--repeats 3] [--precision bfloat16]

STUDENT: a student of Socratic CoT, e.g. runs/NAME/students/ARM, or the students of its roles one by one. FILE: rows with a
question, e.g. the test split of studies/prepare_arithmetic.py. Both ways in turn, in one process, with engines of their own each
time. Seconds are of CPU time, for the answers alone; the models are loaded before. Columns include padding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

import torch

from understudy.core.values import Problem
from understudy.engines.local import prompts
from understudy.engines.local.forward import Network
from understudy.evaluation.run import answer
from understudy.runs.ask import open_bundle

SHORTEST = {"whole": 10**9, "shared": prompts.SHORTEST}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", nargs="+", type=Path)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns, read = [0], Network._read_prompts

    def counted(self: Network, texts, starts):  # type: ignore[no-untyped-def]
        columns[0] += len(texts) * max(
            len(text) - (start.columns if start else 0) for text, start in zip(texts, starts, strict=True)
        )
        return read(self, texts, starts)

    Network._read_prompts = counted  # type: ignore[method-assign]
    seconds: dict[str, list[float]] = {way: [] for way in SHORTEST}
    texts: dict[str, list[str]] = {}
    first, *partners = arguments.student
    for repeat in range(arguments.repeats):
        for way in list(SHORTEST)[:: -1 if repeat % 2 else 1]:
            bundle = open_bundle(first, partners)
            with arguments.questions.open() as lines:
                rows = [json.loads(line) for line in islice(lines, arguments.problems)]
            problems = [Problem(str(i), row["question"], bundle.card.kind, form=bundle.card.form) for i, row in enumerate(rows)]
            for engine in bundle.engines.values():
                engine.dtype = arguments.precision
                engine.score((1, 2, 3))  # loads the model
            prompts.SHORTEST, columns[0] = SHORTEST[way], 0
            started = time.process_time()
            found = answer(problems, bundle.method, bundle.engines)
            seconds[way].append(time.process_time() - started)
            texts[way] = [solution.text for solution in found.solutions]
            turns, tokens = sum(len(s.turns) for s in found.solutions), sum(s.tokens for s in found.solutions)
            print(
                f"{way:6}  {seconds[way][-1]:7.1f} s  {columns[0]:8,} columns read, {tokens:,} tokens, {turns:,} turns", flush=True
            )
    equal = sum(whole == shared for whole, shared in zip(texts["whole"], texts["shared"], strict=True))
    print(f"{len(problems)} problems, {arguments.precision}, {arguments.threads} thread(s); {equal} dialogues are equal")
    ratios = [whole / shared for whole, shared in zip(seconds["whole"], seconds["shared"], strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"shared: {statistics.median(ratios):.2f} times as fast (median of {len(ratios)} pairs; {spread})")


if __name__ == "__main__":
    main()
