"""What each check of a chain says of real chains, beside the recorded label, and what two checks say together.

    python benchmarks/checks.py [--data DIR] [--set NAME]

For each set of chains with recorded labels: how many are right by the label; for ``arithmetic``, ``leak`` and ``form`` how many
they keep (say nothing against), and how many of those kept and of those not kept are right. So a check that knows nothing of
right and wrong keeps as many of both. The last column: chains
that `arithmetic` and `leak` both speak against.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from answers import DATA, labelled, problem_of, share

from understudy.checks.judge import judge
from understudy.core.answers import extract
from understudy.core.registry import find
from understudy.core.values import Chain, Outcome

CHECKS = ("arithmetic", "leak", "form")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", default="", help="only sets whose name contains this")
    arguments = parser.parse_args()
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for path, row, asked in labelled(arguments.data, arguments.set):
        problem = problem_of(asked)
        found = extract(row["text"], problem.kind, problem.choices, problem.question)
        rationale = row["text"][: found.start].strip() or row["text"]
        chain = Chain(
            problem=problem.id, path=0, text=row["text"], rationale=rationale, answer=found.value, layer=found.layer, teacher=""
        )
        verdicts = {name: judge(problem, chain, find("check", name), name).outcome for name in CHECKS}
        counts[path.parent.name][("right" if row["correct"] else "wrong", *(verdicts[name].value for name in CHECKS))] += 1
    columns = [f"{name}: {what}" for name in CHECKS for what in ("undecided", "against", "right of kept", "right of the rest")]
    print(f"| set | chains | right | {' | '.join(columns)} | arithmetic and leak both against |\n|{'---|' * (len(columns) + 4)}")
    for name, counted in counts.items():
        n, right = counted.total(), sum(k for said, k in counted.items() if said[0] == "right")
        cells = [name, f"{n:,}", share(right, n)]
        for place in range(1, len(CHECKS) + 1):
            against = sum(k for said, k in counted.items() if said[place] == Outcome.WRONG.value)
            undecided = sum(k for said, k in counted.items() if said[place] not in (Outcome.WRONG.value, Outcome.CORRECT.value))
            good = sum(k for said, k in counted.items() if said[place] == Outcome.WRONG.value and said[0] == "right")
            cells += [share(undecided, n), share(against, n), share(right - good, n - against), share(good, against)]
        both = sum(k for said, k in counted.items() if said[1] == said[2] == Outcome.WRONG.value)
        print(f"| {' | '.join([*cells, share(both, n)])} |", flush=True)


if __name__ == "__main__":
    main()
