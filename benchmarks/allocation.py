"""What an allocation brings over the same number of chains for every question: recorded chains, replayed through the same rule.

    python benchmarks/allocation.py > docs/allocation.md
    python benchmarks/allocation.py --data DIR --set game24 --seeds 5

Each question's recorded chains are put into a random order by the seed; path i is the i-th of them, so a path is drawn without
replacement and every rule that asks for it gets the same chain. `sampling.allocation.rounds` says who is asked, as in a study.
Differences are to the uniform allocation of the same total, with the same orders; their 95 % intervals take questions and seeds
both as drawn at random (`evaluation.statistics.estimate`).
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from answers import DATA, golds_of, problem_of, rows

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.answers import normalise
from understudy.core.values import Chain, Outcome, Problem
from understudy.core.vote import vote
from understudy.corpus.import_ import import_chains
from understudy.evaluation.statistics import estimate_mean
from understudy.sampling.allocation import Allocation, Draw, plan_rounds


@dataclass(frozen=True)
class Recorded:
    """A file of chains with ``most`` of each question, and the ``budgets`` (chains per question) at which it is replayed."""

    title: str
    problems: str
    chains: str
    most: int
    budgets: Sequence[int]


SETS = (
    Recorded("Game of 24", "game24/all", "game24/chains-gpt4-n100-T0.7", 100, (4, 8, 15, 30, 60)),
    Recorded("QuaRel", "quarel/train", "quarel/chains-gpt3-mario-train", 5, (2, 3, 4)),
    Recorded("StrategyQA", "strategyqa/train", "strategyqa/chains-gpt3-mario-train", 5, (2, 3, 4)),
    Recorded("ASDiv", "asdiv/all", "asdiv/chains-fewshot-cot", 5, (2, 3, 4)),
)
RULES = {"uniform": None, "disagreement": 0, "right = 1": 1, "right = 2": 2}
MEASURES = ("questions with a right chain, %", "right chains", "different ones", "vote right, %", "vote is the mode, %")
PERCENT = (100, 1, 1, 100, 100)


@dataclass(frozen=True)
class Replay:
    """Chains of each question in recorded order, what is right of them, and the answers that most of them give."""

    problems: Mapping[str, Problem]
    chains: Mapping[str, Sequence[Chain]]
    right: Mapping[str, bool]
    modes: Mapping[str, frozenset[str]]


def load(data: Path, wanted: Recorded) -> Replay:
    problems = {}
    for row in rows(data / f"{wanted.problems}.jsonl"):
        problem = problem_of(row)
        if problem.kind == "expression":  # 24 alone would accept any numbers
            problem = replace(problem, answer=normalise(golds_of(row)[0], "expression"))
        problems[problem.id] = problem
    found, _ = import_chains([data / f"{wanted.chains}.jsonl"], problems=problems, fields={}, prefer="text")
    chains: dict[str, list[Chain]] = {}
    for chain in found:
        chains.setdefault(chain.problem, []).append(chain)
    kept = {name: of for name, of in chains.items() if len(of) >= wanted.most}
    right = {c.id: judge(problems[name], c, same_answer).outcome is Outcome.CORRECT for name, of in kept.items() for c in of}
    return Replay(problems, kept, right, {name: modes(of) for name, of in kept.items()})


def modes(chains: Sequence[Chain]) -> frozenset[str]:
    votes = Counter(chain.answer for chain in chains if chain.answer is not None)
    return frozenset(answer for answer, n in votes.items() if n == max(votes.values()))


def allocate(replay: Replay, orders: Mapping[str, Sequence[Chain]], total: int, options: Allocation) -> tuple[dict[str, int], int]:
    """How many paths each question gets, and in how many rounds."""
    paths, asked_for = dict.fromkeys(orders, 0), 0
    asking = plan_rounds(list(orders), total, options)
    asked = next(asking)
    while True:
        asked_for += 1
        came = {}
        for name, wanted in asked.items():
            paths[name] = wanted.stop
            came[name] = [Draw(orders[name][i].answer, replay.right[orders[name][i].id]) for i in wanted]
        try:
            asked = asking.send(came)
        except StopIteration:
            return paths, asked_for


def measure(replay: Replay, chains: Mapping[str, Sequence[Chain]]) -> np.ndarray:
    """`MEASURES` of each question."""
    measured = []
    for name, of in chains.items():
        right = [chain.text for chain in of if replay.right[chain.id]]
        winner = vote(of).answer  # type: ignore[arg-type]
        correct = any(replay.right[chain.id] for chain in of if chain.answer == winner)
        measured.append((bool(right), len(right), len(set(right)), correct, winner in replay.modes[name]))
    return np.array(measured, dtype=float)


def replayed(replay: Replay, wanted: Recorded, budget: int, seeds: int) -> dict[str, tuple[np.ndarray, float]]:
    """Rule -> its measures [seeds, questions, measures], and its rounds on average."""
    found: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
    took: Counter[str] = Counter()
    for seed in range(seeds):
        orders = {name: random.Random(f"{seed} {name}").sample(of, len(of)) for name, of in replay.chains.items()}
        for rule, right in RULES.items():
            first = budget if right is None else first_of(wanted, budget)
            options = Allocation(first=first, most=budget if right is None else wanted.most, right=right or 0)
            paths, asked_for = allocate(replay, orders, budget * len(orders), options)
            assert sum(paths.values()) == budget * len(orders)
            took[rule] += asked_for
            found[rule].append(measure(replay, {name: orders[name][:n] for name, n in paths.items()}))
    return {rule: (np.stack(of), took[rule] / seeds) for rule, of in found.items()}


def first_of(wanted: Recorded, budget: int) -> int:
    """The default, or where few chains are recorded half of the budget."""
    return min(Allocation().first if wanted.most > 10 else 2, max(1, budget // 2))


def table(replay: Replay, wanted: Recorded, seeds: int) -> list[str]:
    whole = measure(replay, replay.chains).mean(axis=0)
    all_of_them = ", ".join(
        f"{name} {value * scale:.{1 if scale > 1 else 2}f}" for name, value, scale in zip(MEASURES, whole, PERCENT, strict=True)
    )
    lines = [
        f"## {wanted.title}\n",
        f"{len(replay.chains):,} questions with {wanted.most} chains each (`{wanted.chains}`). All of them: {all_of_them}.\n",
        f"| chains a question | allocation | {' | '.join(MEASURES)} | rounds |",
        "|---|---|" + "---|" * (len(MEASURES) + 1),
    ]
    for budget in wanted.budgets:
        found = replayed(replay, wanted, budget, seeds)
        uniform = found["uniform"][0]
        for rule, (measures, took) in found.items():
            cells = []
            for i, scale in enumerate(PERCENT):
                places = 1 if scale > 1 else 2
                if rule == "uniform":
                    cells.append(f"{scale * measures[:, :, i].mean():.{places}f}")
                    continue
                by = estimate_mean(measures[:, :, i] - uniform[:, :, i], 0.0, len(uniform) - 1)
                half = by.mean - by.interval(-math.inf)[0]
                said = f"{scale * by.mean:+.{places}f} ± {scale * half:.{places}f}"
                cells.append(f"**{said}**" if abs(by.mean) > half else said)
            first = "" if rule == "uniform" else f", first = {first_of(wanted, budget)}"
            lines.append(f"| {budget} | {rule}{first} | {' | '.join(cells)} | {took:.0f} |")
    return [*lines, ""]


PAGE = """# Allocation: where a fixed number of chains goes

```toml
[teacher]
samples = 30                      # on average: 30 x questions in all, as without the next line
allocation = { first = 4 }        # more where the answers disagree; with right = 1: until a right chain has come
```

By default there is no allocation. With one, every question gets `first` chains. Then the most doubtful questions get
`first` more, and so on, until the total is spent.

- **Doubt** is the chance, given a question's chains, that its second most frequent answer is really the more frequent
  one. This is the criterion of Adaptive-Consistency (arXiv 2305.11860). Adaptive-Consistency stops there; here the
  saved chains go to other questions, as in PETS (arXiv 2602.16745).
- Doubt is measured in steps of a factor of two. Among about equally doubtful questions, those with fewer chains come
  first.
- A question that never got an answer is taken to agree with itself.
- **With `right = n`**, gold answers decide instead. Questions go on until they have n right chains by the study's
  check, those with the fewest chains first (as in DART-Math, arXiv 2407.13690).

## What it brings, and what not

- **Disagreement** does what it says. On every set, as soon as there are enough chains to disagree, the vote over a
  question's chains is more often the answer that all recorded chains would give. Whether that answer is *right* is a
  different matter. The vote becomes right more often where answers are open and errors scatter (ASDiv). It gains
  nothing where wrong chains agree too (QuaRel, StrategyQA), or where hardly any chain is right (Game of 24).
- Disagreement is **no way to more right chains**: it takes chains from easy questions and gives them to hard ones. More
  questions have a right chain on ASDiv and fewer on Game of 24 and StrategyQA; the number hardly changes on QuaRel. Use
  it if you have no gold answers and learn from the vote.
- **`right = 1`** gives more questions a right chain, on every set (on Game of 24 from eight chains a question on).
  Where five chains are recorded, two a question find all the questions that five find. The price is fewer right chains
  in all, since it spends chains on questions that the teacher never gets right. On Game of 24 `right = 2` gains and
  costs less than `right = 1`. On the other sets it changes nothing at two chains a question. At three and four it gives
  as many questions a right chain and costs more right chains (QuaRel at three: -0.23 against -0.18).
- Do not measure a teacher by a corpus drawn with an allocation: hard questions have more chains. With `right`, gold
  answers also decide when a question stops, which alone makes votes right more often (ASDiv, `right = 2`). Compare
  teachers on chains without an allocation.
- We have not measured whether a student learns more from such a corpus.
- A round ends with its slowest reply, and there are many rounds where answers scatter. A larger `first` makes fewer.

Differences compare with the same number of chains for every question, in the same {seeds} random orders of each question's
recorded chains. The 95 % intervals are over questions and orders (bold: the interval excludes 0). The *mode* is any
most frequent answer of all recorded chains. The drawn chains are among these, so where five are recorded, part of that
gain is by construction.

`python benchmarks/allocation.py > docs/allocation.md` writes this page from development data that are not part of this
repository.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="", help="only sets whose title contains this")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    print(PAGE.replace("{seeds}", str(arguments.seeds)))
    for wanted in SETS:
        if arguments.set.lower() in wanted.title.lower():
            print("\n".join(table(load(arguments.data, wanted), wanted, arguments.seeds)))


if __name__ == "__main__":
    main()
