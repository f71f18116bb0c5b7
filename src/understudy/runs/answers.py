"""Every answer of a run as one table, so that anyone can compute its numbers again with other tools."""

import json
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from understudy.core.errors import UserError
from understudy.core.values import Solution
from understudy.corpus.store import write_whole
from understudy.evaluation.metrics import outcome_of
from understudy.pipeline.stage import ERRORS
from understudy.runs.run import ArmOutcomes, Run, score


def list_answers(run: Run) -> Iterator[dict[str, Any]]:
    """Yield one row for each reply of every arm, split and seed, and for each request that failed: its ``verdict`` is "error",
    which no accuracy counts, and ``error`` says why. A problem without a gold answer has no row.

    ``students``: the stages whose students answered; arms may share them. ``changed``: what was changed for a second answer, "gold
    PART" (gold in place of that part) or "probe HOW" (the rationale altered in that way). ``verdict``: the reply's own.
    ``outcome``: that of the arm's answer to the problem, or of the vote if the arm votes. The fields that [evaluation] names
    (``by``, ``cluster``, ``contrast``) are columns of their own, ``problem.FIELD``.
    """
    fields = sorted({run.study.evaluation.by, *run.study.evaluation.fields.values()})
    for changed, stage, one in _answered(run):
        problems, students = run.problems_of(one.split), run.students(one.arm).get(one.seed, {})
        replies = ((solution, "") for solution in one.replies)
        asks = [ask for ask in json.loads((stage / ERRORS).read_text(encoding="utf-8")) if ask["problem"] in problems]
        failed = ((Solution(ask["problem"], ask["path"], "", None, "none", "error"), ask["error"]) for ask in asks)
        for solution, error in chain(replies, failed):
            problem = problems[solution.problem]
            yield {
                "arm": one.arm,
                "decoding": run.arms[one.arm].decode.label,
                "students": " ".join(stage.name for stage in students.values()),
                "split": one.split,
                "seed": one.seed,
                "changed": changed,
                "problem": problem.id,
                "kind": problem.kind,
                "question": problem.question,
                "context": problem.context,
                "choices": " | ".join(problem.choices),
                "gold": " | ".join(problem.golds),
                "outcome": one.outcomes[problem.id].value if problem.id in one.outcomes else "error",
                "path": solution.path,
                "answer": solution.answer,
                "verdict": "error" if error else outcome_of(problem, solution, run.check).value,
                "text": solution.text,
                "error": error,
                "finish": solution.finish,
                "calls": len(solution.turns),
                "tokens": solution.tokens,
                "prompt_tokens": solution.prompt_tokens,
                "logprob": solution.logprob,
                **{f"problem.{name}": problem.read_text(name) or "" for name in fields},
            }


def _answered(run: Run) -> Iterator[tuple[str, Path, ArmOutcomes]]:
    """Yield what was changed, the stage, and the answers there."""
    for split, arm in product(run.study.evaluation.splits, run.arms):
        stages = run.answers(arm, split)
        yield from (("", stages[one.seed], one) for one in score(run, arm, split))
    split = run.study.evaluation.splits[0]
    kinds: tuple[Literal["gold", "probe"], ...] = ("gold", "probe")
    for arm, what in product(run.arms, kinds):
        for how, stages in run.reanswered(arm, what).items():
            yield from ((f"{what} {how}", stages[one.seed], one) for one in score(run, arm, split, stages))


def write_answers(run: Run, path: Path) -> int:
    """Write all answers to ``path``, Parquet or CSV by its ending, and return their number."""
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"--answers {path}: the name must end with .parquet or .csv")
    table = pa.Table.from_pylist(list(list_answers(run)))
    with write_whole(path) as file:
        if path.suffix == ".csv":
            pa_csv.write_csv(table, file)
        else:
            pq.write_table(table, file, compression="zstd")
    return int(table.num_rows)
