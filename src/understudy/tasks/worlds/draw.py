"""Draw the problems of a procedural world: new questions for every split, each with its exact solution."""

import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Any

from pydantic import Field

from understudy.core.errors import StudyError
from understudy.core.prompt_format import write_question
from understudy.core.values import Problem
from understudy.core.worlds import World

Size = Annotated[int, Field(ge=0)]
"""The number of problems in a split."""

Draw = Callable[[random.Random, int, int], Problem]
"""(rng, steps, turn) -> a problem without id, split and meta. ``turn`` counts the problems with this number of steps in the split,
so that a world can alternate its answers."""


def read_words(world: str) -> list[Any]:
    """Read the tables of words that ``world`` is made of, in the order of its TOML file."""
    return list(tomllib.loads((files("understudy.tasks.worlds") / f"{world}.toml").read_text("utf-8")).values())


def draw_splits(world: Any, draw: Draw, *, name: str, seed: int, steps: Sequence[int], longer: Sequence[int] = ()) -> list[Problem]:
    """Draw the problems of all splits. The ``world``'s options named after the splits say how many. The number of steps alternates
    over ``steps``, and over ``longer`` in the optional split "test-longer".

    No question occurs twice, and no set of options. ``meta`` is the exact solution: the number of ``steps``, the ``rationale``,
    and the ``subquestions``, each with the step that answers it. Raises StudyError if the world has too few problems.
    """
    seen: set[frozenset[str]] = set()
    problems = []
    for split in ("train", "dev", "test", *(["test-longer"] if longer else [])):
        n, lengths = (world.longer_test, longer) if split == "test-longer" else (getattr(world, split), steps)
        rng = random.Random(f"{name}\x1f{seed}\x1f{split}")
        for i in range(n):
            length, turn = lengths[i % len(lengths)], i // len(lengths)
            # After 2,000 draws of known questions in a row, the world almost surely has no more new ones.
            problem = next((p for _ in range(2000) if _make_key(p := draw(rng, length, turn)) not in seen), None)
            if problem is None:
                raise StudyError(f"task: {split} = {n}: after {i} problems {name} has no new ones of {length} steps; ask for fewer")
            seen.add(_make_key(problem))
            problems.append(replace(problem, id=f"{name}-{split}-{i}", split=split, meta=solve(world, problem)))
    return problems


def _make_key(problem: Problem) -> frozenset[str]:
    return frozenset(problem.choices or [problem.question])


def solve(world: World, problem: Problem) -> dict[str, object]:
    """Return the exact solution of ``problem`` as its ``meta``."""
    solution = world.work(write_question(problem), random.Random(problem.question), slip=0.0, misread=0.0)
    subquestions = [{"question": step.question, "answer": step.text} for step in solution.steps]
    return {"steps": len(solution.steps), "rationale": solution.rationale, "subquestions": subquestions}
