"""How many near copies published chains have across questions, and how many of them `dedup = "across"` finds.

    python benchmarks/copies.py [--data DIR]

A chain is a near copy where an earlier chain of the file has the same numbers and signs in the same order and the cosine of their
sets of runs of three characters is 0.95 or more; here every pair is compared, which takes the square of a file's chains. The last
columns: the chains that are dropped although no earlier one is that near, and the CPU time of a chain on this machine.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from answers import DATA
from scipy import sparse

from understudy.selection.choose import NEAR, find_words
from understudy.selection.near import NearTexts

FILES = (
    *("quarel/chains-gpt3-mario-train", "strategyqa/chains-gpt3-mario-train", "gsm8k-subq/chains-chatgpt"),
    *("asdiv/chains-fewshot-cot", "commonsenseqa/chains-palm540b-train"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    print("| chains | number | near copies | found, percent | others dropped | CPU µs each |\n|---|---|---|---|---|---|")
    for name in FILES:
        with (data / f"{name}.jsonl").open() as file:
            texts = [text for line in file if (text := json.loads(line)["text"])]
        started, kept = time.process_time(), NearTexts()
        dropped = np.array([not kept.add(text) for text in texts])
        each = 1e6 * (time.process_time() - started) / len(texts)
        copies = find_copies(texts)
        found = f"{100 * (dropped & copies).sum() / copies.sum():.0f}"
        print(f"| {name} | {len(texts):,} | {copies.sum():,} | {found} | {(dropped & ~copies).sum()} | {each:.0f} |", flush=True)


def find_copies(texts: Sequence[str]) -> np.ndarray:
    """Whether each text is a near copy of an earlier one, by all pairs."""
    places: dict[str, int] = {}
    rows, columns, numbers = [], [], []
    for i, words in enumerate(map(find_words, texts)):
        plain = f" {' '.join(words)} "
        own = {plain[j : j + 3] for j in range(max(1, len(plain) - 2))}
        rows += [i] * len(own)
        columns += [places.setdefault(run, len(places)) for run in own]
        numbers.append(" ".join(word for word in words if not word.isalpha()))
    grams = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)))
    unit = sparse.diags(1 / np.sqrt(grams.getnnz(axis=1))) @ grams
    same, copies = np.array(numbers), np.zeros(len(texts), bool)
    for begin in range(0, len(texts), 500):
        alike = (unit[begin : begin + 500] @ unit.T).toarray()
        for i, row in enumerate(alike, begin):
            copies[i] = bool((row[:i][same[:i] == same[i]] >= NEAR - 1e-9).any())
    return copies


if __name__ == "__main__":
    main()
