"""The answers of a run, scored: what the results rows and the report are made of. Nothing is asked and nothing is trained."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import DataError, StudyError
from understudy.core.protocols import Check
from understudy.core.registry import added, find
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict
from understudy.corpus.store import read_rows
from understudy.evaluation.outcomes import outcome_of_answer
from understudy.evaluation.statistics import Array
from understudy.pipeline.cache import is_done, read_manifest
from understudy.runs.holdings import read_plan
from understudy.studies.options import Arm
from understudy.studies.schema import build
from understudy.studies.study import Study
from understudy.training.options import StudentOptions, TrainingOptions


class Run:
    """A run directory by the plan that ran last in it; reads only files, never the study's own inputs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = read_plan(directory)
        self.study = build(Study, self.plan["study"], str(directory / "plan.json"))
        self.arms: Mapping[str, Arm] = {arm.name: arm for arm in self.study.arms}
        self._kinds = {stage["key"]: stage["kind"] for stage in self.plan["stages"]}
        self._planned = {arm["name"]: arm for arm in self.plan["arms"]}

    def stage(self, key: str) -> Path:
        """The directory of a stage. Raises DataError where it has not run."""
        path = self.directory / "stages" / f"{self._kinds[key]}-{key}"
        if not is_done(path):
            raise DataError(f"{self.directory}: the stage {path.name} is not done; finish the run first: understudy run STUDY.toml")
        return path

    def shared(self, kind: str) -> Path:
        """The one stage of ``kind`` that all arms share: problems, chains, verdicts."""
        return self.stage(next(key for key, k in self._kinds.items() if k == kind))

    def says(self, stage: Path) -> Mapping[str, Any]:
        """What a stage said of itself when it was done; ``seconds``: how long it took, where it does not say."""
        manifest = read_manifest(stage)
        return {"seconds": manifest["seconds"], **manifest["says"]}

    def selection(self, arm: str) -> Path:
        """Of an arm that trains: `students` of the others is empty."""
        return self.stage(self._planned[arm]["selection"])

    def learned(self, arm: str) -> list[str]:
        """The training problems that the arm's students learn from."""
        problems: list[str] = json.loads((self.selection(arm) / "problems.json").read_text(encoding="utf-8"))
        return problems

    def students(self, arm: str) -> Mapping[int, Mapping[str, Path]]:
        """seed -> role -> directory"""
        planned = self._planned[arm]["students"]
        return {int(seed): {role: self.stage(key) for role, key in roles.items()} for seed, roles in planned.items()}

    def options(self, student: Path) -> tuple[StudentOptions, TrainingOptions]:
        """What the student in this stage was made with."""
        arguments = read_manifest(student)["inputs"]["arguments"]
        where = str(student)
        return build(StudentOptions, arguments["student"], where), build(TrainingOptions, arguments["training"], where)

    def answers(self, arm: str, split: str) -> Mapping[int, Path]:
        """seed -> directory"""
        return {int(seed): self.stage(splits[split]) for seed, splits in self._planned[arm]["answers"].items()}

    def gold(self, arm: str) -> Mapping[str, Mapping[int, Path]]:
        """part -> seed -> directory of the answers to the first split with gold in that part's place"""
        stages: dict[str, dict[int, Path]] = defaultdict(dict)
        for seed, parts in self._planned[arm].get("gold", {}).items():
            for part, key in parts.items():
                stages[part][int(seed)] = self.stage(key)
        return stages

    def solutions(self, answers: Path, split: str) -> dict[str, list[Solution]]:
        """Problem -> the solutions in the stage ``answers``, of the problems that have a gold answer."""
        by_problem: dict[str, list[Solution]] = defaultdict(list)
        for solution in read_rows(answers / "solutions.parquet", Solution):
            if solution.problem in self.of_split(split):
                by_problem[solution.problem].append(solution)
        return by_problem

    @cached_property
    def problems(self) -> list[Problem]:
        return list(read_rows(self.shared("problems") / "problems.parquet", Problem))

    @cached_property
    def overlap(self) -> Mapping[str, Any]:
        """``dropped``: training questions that a held-out split has too; ``near-duplicates``: a number."""
        overlap: dict[str, Any] = json.loads((self.shared("problems") / "overlap.json").read_text(encoding="utf-8"))
        return overlap

    @cached_property
    def chains(self) -> list[Chain]:
        return list(read_rows(self.shared("chains") / "chains.parquet", Chain))

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What every check of the study says of every chain."""
        return list(read_rows(self.shared("verdicts") / "verdicts.parquet", Verdict))

    @cached_property
    def check(self) -> Check:
        """The study's first check, which judges the answers. A run imports no file: a plug-in's has to be loaded already.

        Raises DataError where it is not, or is not the text that the run was made with.
        """
        made_with: Mapping[str, str] = self.plan.get("plugins", {})
        name = self.study.checks[0]
        plugin = added("check", name)
        if plugin is not None and plugin.digest not in made_with.values():
            raise DataError(f"{plugin.path}: not as it was when {self.directory} was made; run the study again")
        try:
            check: Check = find("check", name)
        except StudyError as error:
            files = f"; the study had --plugin {' --plugin '.join(made_with)}" if made_with else ""
            raise DataError(f"{self.directory}: {error}{files}") from None
        return check

    def of_split(self, split: str) -> Mapping[str, Problem]:
        """The problems of ``split`` that have a gold answer, by id, in order."""
        return self._splits[split]

    @cached_property
    def _splits(self) -> Mapping[str, dict[str, Problem]]:
        splits: dict[str, dict[str, Problem]] = defaultdict(dict)
        for problem in self.problems:
            if problem.answer is not None:
                splits[problem.split][problem.id] = problem
        return splits


@dataclass(frozen=True)
class Scored:
    """The answers of one arm to one split with one seed. ``outcomes``: problem -> outcome under the arm's own decoding;
    problems that only have errors are not in it. ``likelihood``: the same under the likelihood-weighted vote, where the arm
    votes and log-probabilities are there. ``errors``: failed asks. ``role_models``: who played each part, by engine identity."""

    arm: str
    split: str
    seed: int
    solutions: Mapping[str, list[Solution]]
    outcomes: Mapping[str, Outcome]
    likelihood: Mapping[str, Outcome] | None
    errors: int
    role_models: Mapping[str, str]
    seconds: float

    @property
    def replies(self) -> list[Solution]:
        """Every solution, whatever its problem."""
        return [solution for solutions in self.solutions.values() for solution in solutions]


ScoredAnswers = Mapping[tuple[str, str], Sequence[Scored]]
"""(arm, split) -> its seeds"""


def score(run: Run, arm: str, split: str) -> Iterator[Scored]:
    """The scored answers of ``arm`` to ``split``, seed by seed."""
    decode = run.arms[arm].decode
    for seed, stage in run.answers(arm, split).items():
        solutions = run.solutions(stage, split)
        likelihood = None
        if decode.votes > 1 and all(s.logprob is not None for found in solutions.values() for s in found):
            likelihood = outcomes_of_answers(run, split, solutions, weighted=True)
        outcomes = outcomes_of_answers(run, split, solutions, weighted=decode.weighted)
        says = run.says(stage)
        yield Scored(arm, split, seed, solutions, outcomes, likelihood, says["errors"], says["role_models"], says["seconds"])


def outcomes_of_answers(run: Run, split: str, solutions: Mapping[str, Sequence[Solution]], *, weighted: bool) -> dict[str, Outcome]:
    """Problem -> the outcome of its one solution, or of the vote of several."""
    problems = run.of_split(split)
    return {
        name: outcome_of_answer(problems[name], answers, weighted=weighted, check=run.check) for name, answers in solutions.items()
    }


def correctness(scored: Sequence[Scored], problems: Sequence[str]) -> Array:
    """[S, N]: 1.0 where the answer of a seed to one of ``problems`` is correct."""
    return np.array([[s.outcomes[name] is Outcome.CORRECT for name in problems] for s in scored], dtype=np.float64)


def common_problems(scored: Sequence[Scored]) -> list[str]:
    """The problems that every one of ``scored`` has an outcome for, in order."""
    return [name for name in scored[0].outcomes if all(name in s.outcomes for s in scored)]
