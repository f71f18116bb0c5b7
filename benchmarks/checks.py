"""What each check of a chain says of real chains, beside the recorded label, and what two checks say together.

    python benchmarks/checks.py [--data DIR] [--set NAME]
    understudy results RUN --answers FILE.parquet && python benchmarks/checks.py --answers FILE.parquet

Three tables of the sets of chains with recorded labels. First, for ``arithmetic``, ``leak`` and ``form``: how many are right by the
label, how many they keep (say nothing against), and how many of those kept and of those not kept are right; so a check that knows
nothing of right and wrong keeps as many of both. Then ``majority``, among all chains of a set that answer one question: how many
agree with it, and how many of those that agree, that do not, and of which it says nothing are right. Last, over all sets where both
speak: the chains that two checks find correct, that one of them, and that both speak against.

The second command measures ``likelihood``, since no published chains have log-probabilities: the samples that a run's students
wrote for votes, as if each student were a teacher.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from answers import DATA, labelled, problem_of, share

from understudy.checks.judge import judge_all
from understudy.core.registry import find
from understudy.core.values import Chain, Problem
from understudy.corpus.formats.record import Record
from understudy.corpus.import_ import Report, make_chain

CHECKS = ("arithmetic", "leak", "form", "majority")
WRONG, CORRECT = "wrong", "correct"
Counted = Counter[tuple[str, ...]]
"""(the label, what each of `CHECKS` says) -> chains."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="", help="only sets whose name contains this")
    parser.add_argument("--answers", type=Path, help="answers of a run's students, for likelihood alone")
    arguments = parser.parse_args()
    if arguments.answers:
        print_likelihood(arguments.answers)
        return
    counts = measure(arguments.data, arguments.set)
    print_each(counts)
    print_majority(counts)
    print_pairs(counts)


def measure(data: Path, only: str) -> dict[str, Counted]:
    """Set -> how many of its chains have which label and verdicts."""
    groups: dict[tuple[str, str], list[tuple[Chain, str]]] = defaultdict(list)
    problems: dict[str, Problem] = {}
    for path, row, asked in labelled(data, only):
        problem = problems.setdefault(asked["id"], problem_of(asked))
        own = groups[path.parent.name, problem.id]
        said = row.get("answer")
        record = Record("", row["text"], answer=None if said is None else str(said), path=len(own))
        own.append((make_chain(record, problem, "text", Report()), "right" if row["correct"] else "wrong"))
    counts: dict[str, Counted] = defaultdict(Counter)
    for (name, problem_id), own in groups.items():
        chains = [chain for chain, _ in own]
        verdicts = [judge_all(problems[problem_id], chains, find("check", check), check) for check in CHECKS]
        for (_, label), *said in zip(own, *verdicts, strict=True):
            counts[name][(label, *(verdict.outcome.value for verdict in said))] += 1
    return counts


def select(counted: Counted, chosen: Callable[[tuple[str, ...]], bool]) -> tuple[int, int]:
    """The chains whose verdicts are ``chosen``, and how many of them are right."""
    return (
        sum(n for said, n in counted.items() if chosen(said)),
        sum(n for said, n in counted.items() if chosen(said) and said[0] == "right"),
    )


def print_table(head: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def print_each(counts: dict[str, Counted]) -> None:
    columns = [f"{name}: {what}" for name in CHECKS[:3] for what in ("undecided", "against", "right of kept", "right of the rest")]
    rows = []
    for name, counted in counts.items():
        n, right = select(counted, lambda _: True)
        rows.append([name, f"{n:,}", share(right, n)])
        for place in (1, 2, 3):
            against, good = select(counted, lambda said: said[place] == WRONG)  # noqa: B023 - called at once
            undecided, _ = select(counted, lambda said: said[place] not in (WRONG, CORRECT))  # noqa: B023
            rows[-1] += [share(undecided, n), share(against, n), share(right - good, n - against), share(good, against)]
    print_table(["set", "chains", "right", *columns], rows)


def print_majority(counts: dict[str, Counted]) -> None:
    rows = []
    for name, counted in counts.items():
        n, right = select(counted, lambda _: True)
        agree, good = select(counted, lambda said: said[4] == CORRECT)
        against, good_against = select(counted, lambda said: said[4] == WRONG)
        rest, good_rest = n - agree - against, right - good - good_against
        shares = [share(agree, n), share(against, n), share(rest, n), share(good, right)]
        rows.append(
            [name, f"{n:,}", share(right, n), *shares, share(good, agree), share(good_against, against), share(good_rest, rest)]
        )
    head = ["agree", "against", "undecided", "agree, of the right", "right of agreeing", "right of against", "right of undecided"]
    print_table(["set", "chains", "right", *head], rows)


def print_pairs(counts: dict[str, Counted]) -> None:
    whole: Counted = sum(counts.values(), Counter())
    rows = []
    for (i, one), (j, other) in combinations(enumerate(CHECKS, 1), 2):
        rows.append([f"{one}, {other}"])
        for first, second in ((CORRECT, CORRECT), (WRONG, CORRECT), (CORRECT, WRONG), (WRONG, WRONG)):
            n, right = select(whole, lambda said: (said[i], said[j]) == (first, second))  # noqa: B023 - called at once
            rows[-1].append(f"{share(right, n)} of {n:,}")
    print_table(["two checks: right of", "both for", "the first against", "the second against", "both against"], rows)


def print_likelihood(answers: Path) -> None:
    """How many of the samples of each arm that votes it keeps, and how many of those and of the rest are right."""
    groups: dict[str, dict[tuple[int, str, str], list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in pq.read_table(answers).to_pylist():
        if row["logprob"] is not None and not row["changed"]:
            groups[row["arm"]][row["seed"], row["split"], row["problem"]].append(row)
    rows = []
    for arm, questions in groups.items():
        counted: Counter[tuple[str, bool]] = Counter()
        for own in questions.values():
            chains = [Chain("", i, row["text"], "", None, "", arm, logprob=row["logprob"]) for i, row in enumerate(own)]
            said = judge_all(Problem("", "", "text"), chains, find("check", "likelihood"), "likelihood")
            counted.update((verdict.outcome.value, row["verdict"] == CORRECT) for verdict, row in zip(said, own, strict=True))
        kept, rest = (counted[name, True] + counted[name, False] for name in (CORRECT, WRONG))
        if kept + rest:
            shares = share(counted[CORRECT, True], kept), share(counted[WRONG, True], rest)
            rows.append([arm, f"{kept + rest:,}", share(rest, kept + rest), *shares])
    print_table(["arm", "samples", "against", "right of kept", "right of the rest"], rows)


if __name__ == "__main__":
    main()
