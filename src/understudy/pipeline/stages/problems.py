"""problems: the task's questions, split, with the overlap rule applied (DESIGN section 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.errors import StudyError, nearest
from understudy.core.protocols import Progress
from understudy.core.registry import find
from understudy.core.values import Problem
from understudy.corpus.store import write_rows
from understudy.pipeline.cache import write_json
from understudy.pipeline.exemplars import mark_exemplars
from understudy.studies.options import Exemplars
from understudy.studies.schema import build
from understudy.tasks.overlap import Overlap, check_overlap


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write ``problems.parquet``, ``splits.json`` (split -> ids, which `tasks.files` reads) and ``overlap.json``.

    Says how many problems each split has, and which of the splits that are scored have no gold answers: their teacher can be
    sampled, nothing can be evaluated.
    """
    assert not needs
    task = build(find("task", arguments["task"]), dict(arguments["options"]), "task")
    exemplars = build(Exemplars, arguments["exemplars"], "exemplars")
    given = task.problems(seed=arguments["seed"])
    problems = mark_exemplars(given, exemplars, seed=arguments["seed"])
    sizes = Counter(problem.split for problem in problems)
    for split in ["train", *arguments["used"], *arguments["held_out"]]:
        if not sizes[split]:
            raise StudyError(
                f"evaluation: the task {arguments['task']!r} has no problems in split {split!r}"
                f"{nearest(split, list(sizes))} (it has: {', '.join(f'{s} {n}' for s, n in sizes.items())})"
            )
    problems, overlap = check_overlap(problems, held_out=arguments["held_out"], rule=arguments["overlap"])
    # Training questions among those from which checkpoints are chosen: the held-out splits are not concerned.
    others = [p for p in problems if p.split not in arguments["held_out"]]
    _, on_dev = check_overlap(others, held_out=arguments["used"], rule=arguments["overlap"])
    problems = [p for p in problems if p.id not in on_dev.dropped]
    overlap = Overlap(overlap.dropped + on_dev.dropped, overlap.near)
    write_rows(directory / "problems.parquet", Problem, problems)
    write_json(directory / "overlap.json", overlap.to_json())
    kept = {problem.id for problem in problems}
    own = {split: [p.id for p in given if p.split == split and p.id in kept] for split in dict.fromkeys(p.split for p in given)}
    write_json(directory / "splits.json", own)  # exemplars are of train, which a study that names this file draws them from again
    scored = {split: [p for p in problems if p.split == split] for split in [*arguments["used"], *arguments["held_out"]]}
    without = [split for split, those in scored.items() if all(p.answer is None for p in those)]
    progress("problems", len(problems), len(problems))
    sizes = Counter(problem.split for problem in problems)
    says = {"problems": len(problems), **{f"in {split}": n for split, n in sizes.items()}, "overlap": overlap.to_json()}
    return says | ({"without gold answers": without} if without else {})
