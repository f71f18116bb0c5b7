"""Every answer of a run as one table, so that anyone can compute its numbers again with other tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from understudy.core.errors import UserError
from understudy.corpus.store import write_whole
from understudy.evaluation.metrics import outcome_of
from understudy.runs.run import Run, score


def list_answers(run: Run) -> Iterator[dict[str, Any]]:
    """One row for each reply of every arm, split and seed; a problem that has only errors, or no gold answer, has none.

    ``verdict`` is the reply's own; ``outcome`` is that of the arm's answer to the problem, a vote's where it votes. The fields that
    [evaluation] names (``by``, ``cluster``, ``contrast``) are columns under their own names, beside ``choices``.
    """
    fields = sorted({run.study.evaluation.by, *run.study.evaluation.fields.values()})
    for split in run.study.evaluation.splits:
        problems = run.problems_of(split)
        for arm in run.arms:
            for one in score(run, arm, split):
                for solution in one.replies:
                    problem = problems[solution.problem]
                    yield {
                        "arm": arm,
                        "split": split,
                        "seed": one.seed,
                        "problem": problem.id,
                        "question": problem.question,
                        "context": problem.context,
                        "choices": " | ".join(problem.choices),
                        "gold": " | ".join(problem.golds),
                        "outcome": one.outcomes[problem.id].value,
                        "path": solution.path,
                        "answer": solution.answer,
                        "verdict": outcome_of(problem, solution, run.check).value,
                        "text": solution.text,
                        "finish": solution.finish,
                        "tokens": solution.tokens,
                        "prompt_tokens": solution.prompt_tokens,
                        "logprob": solution.logprob,
                        **{f"problem.{name}": str(problem.meta.get(name, "")) for name in fields},
                    }


def write_answers(run: Run, path: Path) -> int:
    """Write them to ``path``, Parquet or CSV by its ending; their number."""
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"--answers {path}: the name must end with .parquet or .csv")
    table = pa.Table.from_pylist(list(list_answers(run)))
    with write_whole(path) as file:
        if path.suffix == ".csv":
            pa_csv.write_csv(table, file)
        else:
            pq.write_table(table, file, compression="zstd")
    return int(table.num_rows)
