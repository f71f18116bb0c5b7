"""A few questions to the teacher before many: what the verb `try` does."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy.checks.judge import judge
from understudy.core.errors import DataError
from understudy.core.protocols import silent
from understudy.core.registry import find
from understudy.core.values import Chain, Problem, Verdict
from understudy.pipeline.connect import Capabilities
from understudy.pipeline.plan import make_plan
from understudy.pipeline.preview import load_problems
from understudy.pipeline.run import only_runner
from understudy.pipeline.stages.chains import RecordedChainsStage, SampledChainsStage
from understudy.sampling.budget import Price
from understudy.studies.study import Study


@dataclass(frozen=True)
class TrialQuestion:
    """One question with the chain it got and its verdict; where the ask failed, the ``error`` and neither."""

    problem: Problem
    chain: Chain | None
    verdict: Verdict | None
    error: str = ""


@dataclass(frozen=True)
class Trial:
    """What was ``tried``, and what it says of the whole run: ``requests`` to come, and tokens and money of them all at the mean
    of the chains that were tried; None where the engine does not count tokens, or has no price. ``endpoints``: what each address
    was found to do (`engines.remote.probe`)."""

    tried: list[TrialQuestion]
    requests: int
    price: Price | None = None
    endpoints: Capabilities = field(default_factory=dict)

    @property
    def spent(self) -> float | None:
        """What the tried chains cost."""
        if self.price is None or self.tokens is None:
            return None
        return len(self._counted()) * self.price.of(*self.tokens)

    @property
    def tokens(self) -> tuple[float, float] | None:
        """(read, written) per chain."""
        chains = self._counted()
        if not chains:
            return None
        return sum(c.prompt_tokens or 0 for c in chains) / len(chains), sum(c.tokens or 0 for c in chains) / len(chains)

    @property
    def projected(self) -> float | None:
        """What the run will cost."""
        return None if self.price is None or self.tokens is None else self.requests * self.price.of(*self.tokens)

    def _counted(self) -> list[Chain]:
        chains = [one.chain for one in self.tried if one.chain]
        return [chain for chain in chains if chain.tokens is not None and chain.prompt_tokens is not None]


def try_teacher(study: Study, directory: Path, n: int) -> Trial:
    """The teacher's first chain for each of the first ``n`` training questions.

    Replies go into the ledger of ``directory``, where the run finds them: what is tried is not bought twice. Raises what a run
    raises: StudyError, DataError, EngineError where no ask succeeds.
    """
    plan = make_plan(study)
    study = plan.study
    problems = load_problems(plan)
    learn = [problem for problem in problems if problem.split == "train"]
    if not learn:
        raise DataError("the task has no training question to try")
    stage = plan.chains
    if isinstance(stage, RecordedChainsStage):
        known = {problem.id: problem for problem in learn}
        chains, _ = stage.engine.read(known)
        return Trial([_judged(study, known[chain.problem], chain) for chain in chains[:n]], 0)
    assert isinstance(stage, SampledChainsStage)
    with only_runner(directory):
        trial = replace(stage, **_for_a_trial(stage))
        sampling = replace(trial.sampling(problems), problems=learn[:n])
        sampled, endpoints = trial.sample(sampling, directory / "ledger.sqlite", silent)
    by_problem = {chain.problem: chain for chain in sampled.chains}
    failed = {error.problem: error.error for error in sampled.failures}
    tried = [
        _judged(study, problem, by_problem[problem.id])
        if problem.id in by_problem
        else TrialQuestion(problem, None, None, failed.get(problem.id, sampled.stopped))
        for problem in learn[:n]
    ]
    return Trial(tried, len(learn) * study.teacher.samples, study.teacher.price, endpoints)


def _for_a_trial(stage: SampledChainsStage) -> dict[str, Any]:
    """One chain a question, asked for now: whoever tries does not wait a day for a batch."""
    engine = replace(stage.engine, batch=False) if hasattr(stage.engine, "batch") else stage.engine
    return {"teacher": replace(stage.teacher, samples=1, allocation=None, first_look=0), "engine": engine}


def _judged(study: Study, problem: Problem, chain: Chain) -> TrialQuestion:
    name = study.checks[0]
    return TrialQuestion(problem, chain, judge(problem, chain, find("check", name), name))
