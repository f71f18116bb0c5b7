"""A few questions to the teacher before many: what the verb `try` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from understudy.checks.answer import check
from understudy.core.errors import DataError
from understudy.core.protocols import silent
from understudy.core.values import Chain, Problem, Verdict
from understudy.corpus.importing import import_chains
from understudy.studies.exemplars import exemplar_pool
from understudy.studies.jobs.chains import sample
from understudy.studies.plan import make_plan
from understudy.studies.preview import load_problems
from understudy.studies.run import make_directory, only_runner
from understudy.studies.study import Study


@dataclass(frozen=True)
class Tried:
    """One question with the chain it got and its verdict; where the ask failed, the ``error`` and neither."""

    problem: Problem
    chain: Chain | None
    verdict: Verdict | None
    error: str = ""


def try_teacher(study: Study, directory: Path, n: int) -> list[Tried]:
    """The teacher's first chain for each of the first ``n`` training questions.

    Replies go into the ledger of ``directory``, where the run finds them: what is tried is not bought twice. Raises what a run
    raises: StudyError, DataError, EngineError where no ask succeeds.
    """
    plan = make_plan(study)
    problems = load_problems(plan)
    learn = [problem for problem in problems if problem.split == "train"]
    if not learn:
        raise DataError("the task has no training question to try")
    if study.teacher.engine == "recorded":
        return _recorded(study, learn, n)
    make_directory(directory)
    arguments = plan.stages[plan.chains].arguments
    with only_runner(directory):
        teacher = replace(study.teacher, samples=1, first_look=0)
        pool = exemplar_pool(problems, study.exemplars)
        chains, errors = sample(learn[:n], teacher, arguments, pool=pool, ledger=directory / "ledger.sqlite", progress=silent)
    by_problem = {chain.problem: chain for chain in chains}
    failed = {error["problem"]: error["error"] for error in errors}
    return [_tried(problem, by_problem.get(problem.id), failed.get(problem.id, "")) for problem in learn[:n]]


def _recorded(study: Study, learn: list[Problem], n: int) -> list[Tried]:
    known = {problem.id: problem for problem in learn}
    paths = [study.path_of(name) for name in study.teacher.chains]
    chains, _ = import_chains(paths, problems=known, fields=dict(study.teacher.fields), prefer=study.teacher.prefer)
    return [_tried(known[chain.problem], chain, "") for chain in chains[:n]]


def _tried(problem: Problem, chain: Chain | None, error: str) -> Tried:
    return Tried(problem, chain, check(problem, chain) if chain else None, error)
