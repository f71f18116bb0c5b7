"""How long selection takes, and how much memory, by the number of chains: time should be linear and memory should not grow with it.

    python benchmarks/selection.py [--chains 100000 1000000] [--choose random diverse ...] [--each 30]

Chains of about 80 words for each of N / 30 problems are written as the stages before would have written them, then the selection
stage of a study (or, for "verdicts", the stage that checks the chains by their answers; for "import", the one that reads them from
JSON Lines) runs on them, in a process of its own for each row. Memory is the most that the process held, less what it held before
the stage began (about 100 MB, Python with pyarrow).
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.core.values import Chain, Outcome, Problem, Verdict
from understudy.corpus.store import write_rows
from understudy.engines.recorded import Recorded
from understudy.pipeline.stage import Context, Stage
from understudy.pipeline.stages.chains import ChainsSummary, RecordedChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.pipeline.stages.selection import SelectionStage
from understudy.pipeline.stages.verdicts import VerdictsStage, VerdictsSummary
from understudy.selection.choose import CHOICES
from understudy.selection.select import Selection
from understudy.studies.options import Exemplars

_RNG = random.Random(1)
RECORDED = "recorded.jsonl"
WORDS = ["".join(_RNG.choices("etaoinshrdlu", k=_RNG.randrange(2, 9))) for _ in range(3_000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--choose", nargs="+", default=[*CHOICES, "near", "across", "equal"], help="choices, copies, verdicts, import"
    )
    parser.add_argument("--each", type=int, default=30, help="chains of a problem")
    parser.add_argument("--out", type=Path, help="directory for the chains (default: a temporary one)")
    arguments = parser.parse_args()
    print("| chains | selection | CPU seconds | chains a CPU second | memory, MB | kept |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        for n in arguments.chains:
            run = Path(folder) / str(n)
            prepare(run, n, arguments.each)
            for name in arguments.choose:
                command = [sys.executable, __file__, "stage", str(run), name]
                row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                rate, held = f"{n / row['seconds']:,.0f}", f"{row['bytes'] / 1e6:,.0f}"
                print(f"| {n:,} | {name} | {row['seconds']:,.1f} | {rate} | {held} | {row['kept']:,} |", flush=True)


def stages_for(options: Selection, recorded: Path) -> SelectionStage:
    problems = ProblemsStage(
        name="files", task=None, files={}, exemplars=Exemplars(), seed=0, overlap="error", held_out=("test",), used=("dev",)
    )
    chains = RecordedChainsStage(problems=problems, files={}, engine=Recorded(chains=(str(recorded),)))
    verdicts = VerdictsStage(problems=problems, chains=chains, checks=("answer",), relabels={})
    return SelectionStage(
        problems=problems, chains=chains, verdicts=verdicts, select=options, fraction=1.0, taker=None, method=None, seed=0
    )


def prepare(run: Path, n: int, each: int) -> None:
    """Write ``n`` chains with their problems and verdicts into the run directory ``run``."""
    stage = stages_for(Selection(), run / RECORDED)
    for before in (stage.problems, stage.chains, stage.verdicts):
        before.directory(run).mkdir(parents=True)
    ids = [f"q{i}" for i in range(n // each)]
    problems = (Problem(name, f"How many pears has {name}?", "number", "7", split="train") for name in ids)
    write_rows(stage.problems.directory(run) / "problems.parquet", Problem, problems)
    write_rows(stage.chains.directory(run) / "chains.parquet", Chain, make_chains(ids, each))
    with (run / RECORDED).open("w") as file:
        for chain in make_chains(ids, each):
            row = {name: getattr(chain, name) for name in ("path", "text", "teacher", "tokens", "sampling")}
            file.write(json.dumps({"problem_id": chain.problem, **row}) + "\n")
    verdicts = (Verdict(chain.id, Outcome.CORRECT, "answer '7' (marker), gold '7'", "answer") for chain in make_chains(ids, each))
    write_rows(stage.verdicts.directory(run) / "verdicts.parquet", Verdict, verdicts)


def make_chains(ids: list[str], each: int) -> Iterator[Chain]:
    """A tenth of the chains are copies of the chain before."""
    rng, text = random.Random(0), ""
    for name in ids:
        for path in range(each):
            if path == 0 or rng.random() > 0.1:
                n = rng.randrange(2, 40)
                words = " ".join(rng.choices(WORDS, k=rng.randrange(50, 110)))
                text = f"{words}. So {n} + {n} = {2 * n}. Then {words[::-1][:60]}, and {n} - 1 = {n - 1}."
            yield Chain(
                name,
                path,
                f"{text} The answer is 7.",
                text,
                "7",
                "marker",
                "teacher",
                tokens=120,
                logprob=-rng.random(),
                sampling={"temperature": 0.7, "seed": path},
            )


def measure(run: Path, name: str) -> dict[str, float]:
    """What the selection called ``name`` takes."""
    copies: Any = name if name in ("near", "across") else name == "equal"
    chosen: Any = name if name in CHOICES else "first"
    options = Selection(choose=chosen, per_problem=5 if name in CHOICES else None, dedup=copies)
    selection = stages_for(options, run / RECORDED)
    others: dict[str, Stage[Any]] = {"verdicts": selection.verdicts, "import": selection.chains}
    stage = others.get(name, selection)
    stage.directory(run).mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    summary = stage.run(Context(run))
    seconds = time.process_time() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if isinstance(summary, VerdictsSummary):
        kept = sum(summary.outcomes["answer"].values())
    else:
        kept = summary.chains if isinstance(summary, ChainsSummary) else summary.kept
    return {"seconds": seconds, "bytes": 1024 * (most - before), "kept": kept}


if __name__ == "__main__":
    if sys.argv[1:2] == ["stage"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3])))
    else:
        main()
