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
from understudy.evaluation.metrics import judge_solution
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
    for changed, stage, answers in _iter_answers(run):
        problems, students = run.problems_of(answers.split), run.students(answers.arm).get(answers.seed, {})
        replies = ((solution, "") for solution in answers.replies)
        rows = [row for row in json.loads((stage / ERRORS).read_text(encoding="utf-8")) if row["problem"] in problems]
        failed = ((Solution(row["problem"], row["path"], "", None, "none", "error"), row["error"]) for row in rows)
        for solution, error in chain(replies, failed):
            problem = problems[solution.problem]
            yield {
                "arm": answers.arm,
                "decoding": run.arms[answers.arm].decode.label,
                "students": " ".join(stage.name for stage in students.values()),
                "split": answers.split,
                "seed": answers.seed,
                "changed": changed,
                "problem": problem.id,
                "kind": problem.kind,
                "question": problem.question,
                "context": problem.context,
                "choices": " | ".join(problem.choices),
                "gold": " | ".join(problem.golds),
                "outcome": answers.outcomes[problem.id].value if problem.id in answers.outcomes else "error",
                "path": solution.path,
                "answer": solution.answer,
                "verdict": "error" if error else judge_solution(problem, solution, run.check).value,
                "text": solution.text,
                "error": error,
                "finish": solution.finish,
                "calls": len(solution.turns),
                "tokens": solution.tokens,
                "prompt_tokens": solution.prompt_tokens,
                "logprob": solution.logprob,
                **{f"problem.{name}": problem.read_text(name) or "" for name in fields},
            }


def _iter_answers(run: Run) -> Iterator[tuple[str, Path, ArmOutcomes]]:
    """Yield what was changed, the stage, and the answers there."""
    for split, arm in product(run.study.evaluation.splits, run.arms):
        stages = run.answers(arm, split)
        yield from (("", stages[answers.seed], answers) for answers in score(run, arm, split))
    split = run.study.evaluation.splits[0]
    kinds: tuple[Literal["gold", "probe"], ...] = ("gold", "probe")
    for arm, kind in product(run.arms, kinds):
        for change, stages in run.reanswered(arm, kind).items():
            yield from ((f"{kind} {change}", stages[answers.seed], answers) for answers in score(run, arm, split, stages))


def write_answers(run: Run, path: Path) -> int:
    """Write all answers to ``path``, Parquet or CSV by its ending, and return their number."""
    if path.suffix not in (".parquet", ".csv") or path.exists():
        raise UserError(f"--answers {path}: must be a new file's name that ends with .parquet or .csv")
    table = pa.Table.from_pylist(list(list_answers(run)))
    with write_whole(path) as file:
        if path.suffix == ".csv":
            pa_csv.write_csv(table, file)
        else:
            pq.write_table(table, file, compression="zstd")
    return int(table.num_rows)
