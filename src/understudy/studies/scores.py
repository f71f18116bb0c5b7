"""The answers of a run, scored: what the results rows and the report are made of. Nothing is asked and nothing is trained."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.core.answers import VERSION as EXTRACTOR
from understudy.core.errors import DataError, StudyError
from understudy.core.protocols import Check
from understudy.core.registry import added, find
from understudy.core.values import Chain, Outcome, Problem, Solution
from understudy.corpus.store import read_rows
from understudy.evaluation.outcomes import counts, outcome_of, outcome_of_vote
from understudy.evaluation.statistics import wilson
from understudy.studies.cache import is_done, read_manifest
from understudy.studies.holdings import read_plan
from understudy.studies.options import Arm
from understudy.studies.schema import build
from understudy.studies.study import Study


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

    def selection(self, arm: str) -> Path:
        """Of an arm that trains: `students` of the others is empty."""
        return self.stage(self._planned[arm]["selection"])

    def students(self, arm: str) -> Mapping[int, Mapping[str, Path]]:
        """seed -> role -> directory"""
        found = self._planned[arm]["students"]
        return {int(seed): {role: self.stage(key) for role, key in roles.items()} for seed, roles in found.items()}

    def training_precisions(self, arm: str) -> list[str]:
        """In which the arm's students were trained; [] where it trains none."""
        stages = {stage for roles in self.students(arm).values() for stage in roles.values()}
        return sorted({read_manifest(stage)["inputs"]["arguments"]["training"]["precision"] for stage in stages})

    def answers(self, arm: str, split: str) -> Mapping[int, Path]:
        """seed -> directory"""
        return {int(seed): self.stage(splits[split]) for seed, splits in self._planned[arm]["answers"].items()}

    def gold(self, arm: str) -> Mapping[str, Mapping[int, Path]]:
        """part -> seed -> directory of the answers to the first split with gold in that part's place"""
        found: dict[str, dict[int, Path]] = defaultdict(dict)
        for seed, parts in self._planned[arm].get("gold", {}).items():
            for part, key in parts.items():
                found[part][int(seed)] = self.stage(key)
        return found

    @cached_property
    def problems(self) -> list[Problem]:
        return list(read_rows(self.shared("problems") / "problems.parquet", Problem))

    @cached_property
    def chains(self) -> list[Chain]:
        return list(read_rows(self.shared("chains") / "chains.parquet", Chain))

    @cached_property
    def check(self) -> Check:
        """The check that judged the run's chains. A run makes no file be imported: one of a plug-in has to be loaded already.

        Raises DataError where it is not, or is not the text that the run was made with.
        """
        made_with: Mapping[str, str] = self.plan.get("plugins", {})
        mine = added("check", self.study.check)
        if mine is not None and mine.digest not in made_with.values():
            raise DataError(f"{mine.path}: not as it was when {self.directory} was made; run the study again")
        try:
            found: Check = find("check", self.study.check)
        except StudyError as error:
            files = f"; the study had --plugin {' --plugin '.join(made_with)}" if made_with else ""
            raise DataError(f"{self.directory}: {error}{files}") from None
        return found

    def of_split(self, split: str) -> dict[str, Problem]:
        """The problems of ``split`` that have a gold answer, by id, in order."""
        return {p.id: p for p in self.problems if p.split == split and p.answer is not None}


@dataclass(frozen=True)
class Scored:
    """The answers of one arm to one split with one seed. ``outcomes``: problem -> outcome under the arm's own decoding;
    problems that only have errors are not in it. ``likelihood``: the same under the likelihood-weighted vote, where the arm
    votes and log-probabilities are there. ``errors``: failed asks."""

    arm: str
    split: str
    seed: int
    solutions: Mapping[str, list[Solution]]
    outcomes: Mapping[str, Outcome]
    likelihood: Mapping[str, Outcome] | None
    errors: int
    says: Mapping[str, Any]

    @property
    def tokens(self) -> int:
        return sum(s.tokens for found in self.solutions.values() for s in found)

    @property
    def prompt_tokens(self) -> int:
        return sum(s.prompt_tokens for found in self.solutions.values() for s in found)

    @property
    def calls(self) -> int:
        return sum(len(s.turns) for found in self.solutions.values() for s in found)


def score(run: Run, arm: str, split: str) -> Iterator[Scored]:
    """The scored answers of ``arm`` to ``split``, seed by seed."""
    problems, decode = run.of_split(split), run.arms[arm].decode
    for seed, directory in run.answers(arm, split).items():
        by_problem: dict[str, list[Solution]] = defaultdict(list)
        for solution in read_rows(directory / "solutions.parquet", Solution):
            if solution.problem in problems:
                by_problem[solution.problem].append(solution)
        errors = json.loads((directory / "errors.json").read_text(encoding="utf-8"))

        def voted(name: str, found: list[Solution], *, weighted: bool) -> Outcome:
            return outcome_of_vote(problems[name], found, weighted=weighted, by=run.check)

        likelihood = None
        if decode.votes == 1:
            outcomes = {name: outcome_of(problems[name], found[0], run.check) for name, found in by_problem.items()}
        else:
            outcomes = {name: voted(name, found, weighted=decode.weighted) for name, found in by_problem.items()}
            if all(s.logprob is not None for found in by_problem.values() for s in found):
                likelihood = {name: voted(name, found, weighted=True) for name, found in by_problem.items()}
        says = read_manifest(directory)["says"]
        yield Scored(arm, split, seed, by_problem, outcomes, likelihood, len(errors), says)


def rows_of(run: Run, scored: Scored) -> Iterator[dict[str, Any]]:
    """The results rows of one arm, split and seed: its own decoding, and the likelihood-weighted vote where there is one."""
    decode = run.arms[scored.arm].decode
    yield _row(run, scored, scored.outcomes, decode.label)
    if scored.likelihood is not None and not decode.weighted:
        yield _row(run, scored, scored.likelihood, f"weighted {decode.label}")


def _row(run: Run, scored: Scored, outcomes: Mapping[str, Outcome], decoding: str) -> dict[str, Any]:
    counted = counts(outcomes.values())
    n = sum(counted.values())
    low, high = wilson(counted["correct"], n)
    engine, precision = "transformers", str(run.study.evaluation.precision)
    if run.arms[scored.arm].model == "teacher":
        engine = run.study.teacher.engine
        precision = run.study.teacher.precision if engine == "transformers" else "unknown"
    return {
        "arm": scored.arm,
        "method": run.arms[scored.arm].method,
        "model": run.arms[scored.arm].model,
        "role_models": dict(scored.says["role_models"]),
        "engine": engine,
        "precision": precision,
        "training_precision": ", ".join(run.training_precisions(scored.arm)),
        "task": run.study.task,
        "split": scored.split,
        "seed": scored.seed,
        "decoding": decoding,
        "extractor": EXTRACTOR,
        "n": n,
        **counted,
        "errors": scored.errors,
        "accuracy": counted["correct"] / n if n else 0.0,
        "low": low,
        "high": high,
        "tokens_per_answer": round(scored.tokens / n, 2) if n else 0.0,
        "read_per_answer": round(scored.prompt_tokens / n, 2) if n else 0.0,
        "calls_per_answer": round(scored.calls / n, 2) if n else 0.0,
        "seconds": scored.says["seconds"],
    }


def read_seen(student: Path) -> dict[str, Any]:
    """What the training of the student in this stage saw (`training.seen`)."""
    seen: dict[str, Any] = json.loads((student / "seen.json").read_text(encoding="utf-8"))
    return seen


def correctness(scored: list[Scored], problems: list[str]) -> NDArray[np.float64]:
    """[S, N]: 1.0 where the answer of a seed to one of ``problems`` is correct."""
    return np.array([[s.outcomes[name] is Outcome.CORRECT for name in problems] for s in scored], dtype=np.float64)


def answered(scored: list[Scored]) -> list[str]:
    """The problems that every one of ``scored`` has an outcome for, in order."""
    return [name for name in scored[0].outcomes if all(name in s.outcomes for s in scored)]
