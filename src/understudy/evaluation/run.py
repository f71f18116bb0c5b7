"""Put problems to students and collect what they answer; the same path for choosing checkpoints, evaluating and serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.core.asks import GREEDY, Decoding, Flow, Path
from understudy.core.protocols import LocalEngine, Method, Progress, ReplyStore, counting, silent
from understudy.core.values import Problem, Solution
from understudy.engines.drive import drive


@dataclass(frozen=True)
class Answers:
    """Solutions in the order of the problems and paths asked; ``errors`` are flows that failed, each with its reason."""

    solutions: list[Solution]
    errors: list[dict[str, Any]]


def answer(
    problems: Sequence[Problem],
    method: Method,
    engines: Mapping[str, LocalEngine],
    *,
    votes: int = 1,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    store: ReplyStore | None = None,
    progress: Progress = silent,
    stage: str = "answers",
) -> Answers:
    """``votes`` solutions of every problem by ``method``, its roles played by ``engines``.

    Problems are blind. A failed flow is an error beside the solutions, never a wrong answer.
    """

    def flows() -> Iterator[tuple[Path, Flow[Solution]]]:
        for problem in problems:
            for index in range(votes):
                path = Path(problem.id, index, seed)
                yield path, method.solve(problem.blind(), path)

    solutions, errors, total = [], [], len(problems) * votes
    settled = dict.fromkeys(engines, decoding)
    on_end = counting(progress, stage, total)
    for done in drive(flows(), engines, store=store, decoding=settled, seed=seed, on_end=on_end):
        if done.value is None:
            errors.append({"problem": done.path.problem, "path": done.path.index, "error": done.error})
        else:
            solutions.append(done.value)
    order = {problem.id: i for i, problem in enumerate(problems)}
    solutions.sort(key=lambda s: (order[s.problem], s.path))
    return Answers(solutions, sorted(errors, key=lambda e: (order[e["problem"]], e["path"])))
