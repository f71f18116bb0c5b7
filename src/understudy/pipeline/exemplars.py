"""The exemplars of a study: chosen from training or given, and out of everything else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError, StudyError
from understudy.core.values import Problem, digest
from understudy.sampling.pool import StudyPool
from understudy.studies.options import Exemplars
from understudy.tasks.files import read_problems
from understudy.tasks.splits import exact_key

SPLIT = "exemplars"


def mark_exemplars(problems: Sequence[Problem], options: Exemplars, *, seed: int) -> list[Problem]:
    """``problems`` with the exemplars in a split of their own; ``options.file`` is a path that can be opened. A training problem
    with the question of a given exemplar leaves; one of another split is left to the overlap rule.

    Raises StudyError where there are too few to choose from, DataError for a file that cannot be used.
    """
    if options.file is not None:
        problems_given = read_problems(Path(options.file), kind=problems[0].kind, fields={})
        exemplars = [replace(problem, id=f"exemplar-{i}", split=SPLIT) for i, problem in enumerate(problems_given, 1)]
        bare = next((p.id for p in exemplars if p.answer is None or not p.meta.get("rationale")), None)
        if bare is not None:
            raise DataError(f"{options.file}: {bare} has no answer or no rationale; an exemplar needs question, answer, rationale")
        questions = {exact_key(problem) for problem in exemplars}
        return [*(p for p in problems if p.split != "train" or exact_key(p) not in questions), *exemplars]
    if not options.n:
        return list(problems)
    candidates = [p.id for p in problems if p.split == "train" and p.answer is not None and p.meta.get("rationale")]
    if len(candidates) < options.n:
        raise StudyError(
            f"exemplars.n = {options.n}: only {len(candidates)} training problems have a rationale; map the field that holds it "
            "(task.fields.rationale), or write some by hand: exemplars.file"
        )
    # By a hash of each: one more question changes them only where it is chosen itself, and with them every prompt.
    chosen = set(sorted(candidates, key=lambda name: digest(["exemplars", seed, name]))[: options.n])
    return [replace(p, split=SPLIT) if p.id in chosen else p for p in problems]


def exemplar_pool(problems: Sequence[Problem], options: Exemplars, **more: Any) -> StudyPool:
    """The pool that methods draw from, with the problems that `mark_exemplars` marked; ``more``: as `StudyPool` has it."""
    return StudyPool([p for p in problems if p.split == SPLIT], least=options.least, shuffle=options.shuffle, **more)
