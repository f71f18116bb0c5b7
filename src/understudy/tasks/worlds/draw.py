"""The problems of a procedural world: new questions for every split, each with its exact solution."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from understudy.core.errors import StudyError
from understudy.core.prompt_format import question_text
from understudy.core.values import Problem
from understudy.core.worlds import World

TRIES = 2000
"""After so many draws in a row of known questions, the world almost surely has no more."""

Draw = Callable[[random.Random, int, int], Problem]
"""(rng, steps, turn) -> a problem without id, split and meta. ``turn`` counts the problems with this number of steps in the
split, so that a world can let its answers alternate."""

WantedSplit = tuple[str, int, Sequence[int]]
"""The name of a split, its number of problems, and their numbers of steps, which alternate."""


def draw_splits(world: World, wanted: Sequence[WantedSplit], draw: Draw, *, name: str, seed: int) -> list[Problem]:
    """The problems of all splits.

    No question comes twice, and no set of options. ``meta`` is the exact solution: the number of ``steps``, the ``rationale``,
    and the ``subquestions``, each with the step that answers it. Raises StudyError where the world has too few problems.
    """
    seen: set[frozenset[str]] = set()
    problems = []
    for split, n, steps in wanted:
        rng = random.Random(f"{name}\x1f{seed}\x1f{split}")
        for i in range(n):
            k, turn = steps[i % len(steps)], i // len(steps)
            drawn = (draw(rng, k, turn) for _ in range(TRIES))
            problem = next((p for p in drawn if _key(p) not in seen), None)
            if problem is None:
                raise StudyError(f"task: {split} = {n}: {name} has no more problems of {k} steps after {i}; ask for fewer")
            seen.add(_key(problem))
            problems.append(replace(problem, id=f"{name}-{split}-{i}", split=split, meta=_solve(world, problem)))
    return problems


def _key(problem: Problem) -> frozenset[str]:
    return frozenset(problem.choices or [problem.question])


def _solve(world: World, problem: Problem) -> dict[str, object]:
    worked = world.work(question_text(problem), random.Random(problem.question), slip=0.0, misread=0.0)
    subquestions = [{"question": step.question, "answer": step.text} for step in worked.steps]
    return {"steps": len(worked.steps), "rationale": worked.rationale, "subquestions": subquestions}
