"""Put problems to students and collect what they answer; the same path for choosing checkpoints, evaluating and serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from understudy.core.asks import GREEDY, Decoding, Flow, Path
from understudy.core.protocols import Engine, Method, Pool, Progress, ReplyStore, counting, silent
from understudy.core.values import Problem, Solution
from understudy.flows.run import ended
from understudy.sampling.pool import StudyPool


@dataclass(frozen=True)
class FailedAnswer:
    """A problem on one sample path that got no solution, and why."""

    problem: str
    path: int
    error: str


@dataclass(frozen=True)
class StudentAnswers:
    """Solutions and ``errors`` in the order of the problems and paths asked."""

    solutions: list[Solution]
    errors: list[FailedAnswer]


def answer(
    problems: Sequence[Problem],
    method: Method,
    engines: Mapping[str, Engine],
    *,
    pool: Pool | None = None,
    votes: int = 1,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    concurrency: int = 64,
    store: ReplyStore | None = None,
    progress: Progress = silent,
    stage: str = "answers",
) -> StudentAnswers:
    """``votes`` solutions of every problem by ``method``, its roles played by ``engines``; ``pool``: exemplars for its prompts.

    Problems are blind. A failed flow is an error beside the solutions, never a wrong answer.
    """

    shown = pool or StudyPool()

    def flows() -> Iterator[tuple[Path, Flow[Solution]]]:
        for problem in problems:
            for index in range(votes):
                path = Path(problem.id, index, seed)
                yield path, method.solve(problem.blind(), path, shown)

    solutions: list[Solution] = []
    errors: list[FailedAnswer] = []
    settled = dict.fromkeys(engines, decoding)
    on_end = counting(progress, stage, len(problems) * votes)
    asked = ended(flows(), engines, store=store, decoding=settled, seed=seed, on_end=on_end, concurrency=concurrency)
    for done in asked:
        if done.value is None:
            errors.append(FailedAnswer(done.path.problem, done.path.index, done.error or ""))
        else:
            solutions.append(done.value)
    order = {problem.id: i for i, problem in enumerate(problems)}
    solutions.sort(key=lambda s: (order[s.problem], s.path))
    return StudentAnswers(solutions, sorted(errors, key=lambda e: (order[e.problem], e.path)))
