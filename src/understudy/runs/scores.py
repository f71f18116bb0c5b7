"""The answers of a run, scored: what the results rows and the report are made of. Nothing is asked and nothing is trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.core.values import Outcome, Solution
from understudy.evaluation.outcomes import outcome_of_answer
from understudy.evaluation.statistics import Array
from understudy.pipeline.cache import read_summary
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.runs.run import Run


@dataclass(frozen=True)
class ArmOutcomes:
    """The answers of one arm to one split with one seed. ``outcomes``: problem -> outcome under the arm's own decoding;
    problems that only have errors are not in it. ``likelihood``: the same under the likelihood-weighted vote, where the arm
    votes and log-probabilities are there. ``summary``: what the stage says of itself."""

    arm: str
    split: str
    seed: int
    solutions: Mapping[str, list[Solution]]
    outcomes: Mapping[str, Outcome]
    likelihood: Mapping[str, Outcome] | None
    summary: AnswersSummary

    @property
    def replies(self) -> list[Solution]:
        """Every solution, whatever its problem."""
        return [solution for solutions in self.solutions.values() for solution in solutions]


ScoredAnswers = Mapping[tuple[str, str], Sequence[ArmOutcomes]]
"""(arm, split) -> its seeds"""


def score(run: Run, arm: str, split: str) -> Iterator[ArmOutcomes]:
    """The scored answers of ``arm`` to ``split``, seed by seed."""
    decode = run.arms[arm].decode
    for seed, stage in run.answers(arm, split).items():
        solutions = run.solutions(stage, split)
        likelihood = None
        if decode.votes > 1 and all(s.logprob is not None for group in solutions.values() for s in group):
            likelihood = outcomes_of_answers(run, split, solutions, weighted=True)
        outcomes = outcomes_of_answers(run, split, solutions, weighted=decode.weighted)
        yield ArmOutcomes(arm, split, seed, solutions, outcomes, likelihood, read_summary(stage, AnswersSummary))


def outcomes_of_answers(run: Run, split: str, solutions: Mapping[str, Sequence[Solution]], *, weighted: bool) -> dict[str, Outcome]:
    """Problem -> the outcome of its one solution, or of the vote of several."""
    problems, check = run.of_split(split), run.check
    return {name: outcome_of_answer(problems[name], s, weighted=weighted, check=check) for name, s in solutions.items()}


def correctness(scored: Sequence[ArmOutcomes], problems: Sequence[str]) -> Array:
    """[S, N]: 1.0 where the answer of a seed to one of ``problems`` is correct."""
    return np.array([[s.outcomes[name] is Outcome.CORRECT for name in problems] for s in scored], dtype=np.float64)


def common_problems(scored: Sequence[ArmOutcomes]) -> list[str]:
    """The problems that every one of ``scored`` has an outcome for, in order."""
    return [name for name in scored[0].outcomes if all(name in s.outcomes for s in scored)]
