"""Put problems to students and collect what they answer; the same path for choosing checkpoints, evaluating and serving."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from understudy.core.asks import GREEDY, Decoding, SamplePath
from understudy.core.protocols import Engine, Method, Pool, Progress, ReplyStore, make_counter, silent
from understudy.core.values import FailedAsk, Problem, Solution
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.pool import StudyPool


class Answers(NamedTuple):
    """Solutions in the order of the problems and paths asked; ``errors``: flows that failed, each with its reason. ``bought``: how
    many of all these needed a reply that was not in the store."""

    solutions: list[Solution]
    errors: list[FailedAsk]
    bought: int


def answer(
    problems: Sequence[Problem],
    method: Method,
    engines: Mapping[str, Engine],
    *,
    pool: Pool | None = None,
    votes: int = 1,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    store: ReplyStore | None = None,
    progress: Progress = silent,
) -> Answers:
    """Ask for ``votes`` solutions of every problem by ``method``, its roles played by ``engines``. ``pool``: exemplars for its
    prompts.

    The method sees problems without their answers. A failed flow is an error beside the solutions, never a wrong answer.
    """

    exemplars = pool or StudyPool()
    paths = ((problem, SamplePath(problem.id, index, seed)) for problem in problems for index in range(votes))
    flows = ((path, method.solve(problem.blind(), path, exemplars)) for problem, path in paths)
    solutions, errors, bought = [], [], 0
    cast = Cast(engines, dict.fromkeys(engines, decoding), store=store, seed=seed)
    for done in run_flows(flows, cast, on_end=make_counter(progress, "answers", len(problems) * votes)):
        bought += done.bought
        if done.value is None:
            errors.append(FailedAsk(done.path.problem, done.path.index, done.error or ""))
        else:
            solutions.append(done.value)
    order = {problem.id: i for i, problem in enumerate(problems)}
    solutions.sort(key=lambda s: (order[s.problem], s.path))
    return Answers(solutions, sorted(errors, key=lambda error: (order[error.problem], error.path)), bought)
