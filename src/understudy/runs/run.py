"""Read a run directory by the plan that ran last in it, and score its answers. Only its own files are read, not the inputs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from understudy.core.errors import DataError, StudyError, with_known
from understudy.core.protocols import Check
from understudy.core.registry import find, find_added
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict, grouped
from understudy.corpus.store import read_rows
from understudy.evaluation.metrics import judge_answer
from understudy.pipeline.arms import ArmStage, What
from understudy.pipeline.cache import find_damage, is_done, read_summary
from understudy.pipeline.plan import read_plan
from understudy.pipeline.stages import answers, chains, problems, verdicts
from understudy.pipeline.stages.answers import AnswersSummary
from understudy.pipeline.stages.chains import ChainsSummary
from understudy.pipeline.stages.problems import ProblemsSummary
from understudy.pipeline.stages.student import StudentSummary
from understudy.studies.options import Arm
from understudy.tasks.overlap import copy_key
from understudy.training.record import read_seen


class Run:
    """The results of a study in ``directory``. Reading a stage that has not run raises DataError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._intact: set[Path] = set()
        self.plan = read_plan(directory)
        self.study = self.plan.study
        self.arms: Mapping[str, Arm] = {arm.name: arm for arm in self.study.arms}

    def arm(self, name: str) -> Arm:
        """Return the arm ``name``. Raises DataError if the study has none of that name."""
        if name not in self.arms:
            raise DataError(f"{self.directory}: there is no arm {with_known(name, self.arms, 'its arms')}")
        return self.arms[name]

    def stage(self, folder: str) -> Path:
        """Return the directory of a stage."""
        path = self.directory / "stages" / folder
        if not is_done(path):
            kind = folder.partition("-")[0]
            lacks = next((f"{kind} of {place.arm!r}" for place in self.plan.places if place.folder == folder), kind)
            advice = "run it again, or run the study as it was before: what was done is kept"
            raise DataError(f"{self.directory}: its last run is not finished (it has no {lacks}); {advice}")
        if path not in self._intact and (damage := find_damage(path, deep=False)):
            raise DataError(f"{damage}; run the study again to replace it")
        self._intact.add(path)
        return path

    def selection(self, arm: str) -> Path:
        """Return the directory of the selection of an arm. Raises DataError if it trains no student."""
        for place in self._find_places(arm, "selection"):
            return self.stage(place.folder)
        raise DataError(f"{self.directory}: the arm {arm!r} trains no student, so no chains are selected for it; name another arm")

    def students(self, arm: str) -> Mapping[int, Mapping[str, Path]]:
        """Map seed -> role -> the directory of its student."""
        by_seed = grouped((place.seed, place) for place in self._find_places(arm, "student"))
        return {seed: {place.name: self.stage(place.folder) for place in places} for seed, places in by_seed.items()}

    def iter_students(self, arm: str) -> Iterator[tuple[int, str, Path]]:
        """Yield every student of an arm: its seed, the arm's name (with its role if the arm trains several), and its directory."""
        for seed, roles in self.students(arm).items():
            for role, stage in roles.items():
                yield seed, arm if len(roles) == 1 else f"{arm} ({role})", stage

    def teaches_chains(self, arm: str) -> bool:
        """Whether the students of an arm that trains were shown chains."""
        *_, student = next(self.iter_students(arm))
        return any(example.chain is not None for example in read_seen(student).shown)

    def name_students(self, arms: Iterable[str]) -> Mapping[Path, str]:
        """Map directory -> the names of the arms that share this student, with its role if they train several. Only students of the
        first seed: every seed sees the same examples."""
        named = ((stage, name) for arm in arms for seed, name, stage in self.iter_students(arm) if seed == self.study.seed)
        return {stage: " = ".join(names) for stage, names in grouped(named).items()}

    def student_summaries(self, arm: str) -> list[StudentSummary]:
        """Read the summaries of the students of all seeds and roles."""
        return [read_summary(stage, StudentSummary) for *_, stage in self.iter_students(arm)]

    def answers(self, arm: str, split: str) -> Mapping[int, Path]:
        """Map seed -> the directory of the answers."""
        return {place.seed: self.stage(place.folder) for place in self._find_places(arm, "answers") if place.name == split}

    def reanswered(self, arm: str, what: Literal["gold", "probe"]) -> Mapping[str, Mapping[int, Path]]:
        """Map the answers of an arm that was asked the first split again: by the part whose output was replaced by gold, or by how
        the rationale was altered (``probe``), then by seed."""
        by_name = grouped((place.name, place) for place in self._find_places(arm, what))
        return {name: {place.seed: self.stage(place.folder) for place in places} for name, places in by_name.items()}

    def has(self, arm: str, what: What) -> bool:
        """Whether the arm has such stages, and all are done."""
        places = self._find_places(arm, what)
        return bool(places) and all(is_done(self.directory / "stages" / place.folder) for place in places)

    def _find_places(self, arm: str, what: What) -> list[ArmStage]:
        return [place for place in self.plan.places if (place.arm, place.what) == (arm, what)]

    def solutions(self, stage: Path, split: str) -> dict[str, list[Solution]]:
        """Read problem -> the solutions in the directory ``stage``, for the problems that have a gold answer."""
        solutions = (s for s in read_rows(stage / answers.FILE, Solution) if s.problem in self.problems_of(split))
        return grouped((solution.problem, solution) for solution in solutions)

    @cached_property
    def problems(self) -> list[Problem]:
        return list(read_rows(self.stage(self.plan.problems) / problems.FILE, Problem))

    def judged_chains(self, check: str | None = None) -> Iterator[tuple[Chain, Verdict]]:
        """Yield every chain with the verdict of ``check``, by default the study's first; few are in memory at once."""
        verdicts = (v for v in read_rows(self.verdicts_file, Verdict) if v.check == (check or self.study.checks[0]))
        return zip(read_rows(self.chains_file, Chain), verdicts, strict=True)

    @property
    def chains_file(self) -> Path:
        """The corpus, with its card."""
        return self.stage(self.plan.chains) / chains.FILE

    @property
    def verdicts_file(self) -> Path:
        """The verdicts of every check, in the order of the chains."""
        return self.stage(self.plan.verdicts) / verdicts.FILE

    @property
    def problems_summary(self) -> ProblemsSummary:
        return read_summary(self.stage(self.plan.problems), ProblemsSummary)

    @property
    def chains_summary(self) -> ChainsSummary:
        return read_summary(self.stage(self.plan.chains), ChainsSummary)

    @cached_property
    def check(self) -> Check:
        """The check that judges the run's answers. Reading a run imports no plug-in: load the check's file first (--plugin).

        Raises DataError if it is not loaded, or if its text is not the one that the run was made with.
        """
        made_with, name = self.plan.plugins, self.study.checks[0]
        addition = find_added("check", name)
        if addition is not None and addition.digest not in made_with.values():
            raise DataError(f"{addition.path}: has changed since {self.directory} was written; run the study again")
        try:
            return cast(Check, find("check", name))
        except StudyError as error:
            files = f"; the study had --plugin {' --plugin '.join(made_with)}" if made_with else ""
            raise DataError(f"{self.directory}: {error}{files}") from None

    def problems_of(self, split: str) -> Mapping[str, Problem]:
        """Return the problems of ``split`` that have a gold answer (all, if nothing is scored), by id, in order. Of copies of a
        question with the same answer only the first is kept, since each would count as independent evidence."""
        return self._splits.get(split, {})

    def count_copies(self, split: str) -> int:
        """Count the problems that `problems_of` leaves out as copies of another one."""
        return sum(p.split == split and self._is_asked(p) for p in self.problems) - len(self.problems_of(split))

    def _is_asked(self, problem: Problem) -> bool:
        return problem.answer is not None or not self.study.evaluation.scored

    @cached_property
    def _splits(self) -> Mapping[str, dict[str, Problem]]:
        answerable = [p for p in self.problems if self._is_asked(p)]
        golds = {p.id: {p.choices[ord(gold) - ord("A")] for gold in p.golds} if p.choices else set(p.golds) for p in answerable}
        copies = grouped(((p.split, copy_key(p), frozenset(golds[p.id])), p) for p in answerable)
        splits = grouped((first.split, first) for first, *_ in copies.values())
        return {split: {p.id: p for p in problems} for split, problems in splits.items()}


@dataclass(frozen=True)
class ArmOutcomes:
    """The answers of one arm to one split with one seed. ``outcomes``: problem -> outcome under the arm's own decoding; problems
    that only have errors are not in it. ``likelihood``: the same under the likelihood-weighted vote, if the arm votes and
    log-probabilities are known. ``summary``: that of the stage."""

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


def score(run: Run, arm: str, split: str, stages: Mapping[int, Path] | None = None) -> Iterator[ArmOutcomes]:
    """Score the answers of ``arm`` to ``split``, seed by seed: those in ``stages`` (seed -> directory), by default its own."""
    decode, problems, check = run.arms[arm].decode, run.problems_of(split), run.check

    def judge(solutions: Mapping[str, Sequence[Solution]], *, weighted: bool) -> dict[str, Outcome]:
        """Map problem -> the outcome of its one solution, or of the vote of several."""
        return {name: judge_answer(problems[name], s, weighted=weighted, check=check) for name, s in solutions.items()}

    for seed, stage in (run.answers(arm, split) if stages is None else stages).items():
        solutions = run.solutions(stage, split)
        likelihood = None
        if decode.votes > 1 and all(s.logprob is not None for group in solutions.values() for s in group):
            likelihood = judge(solutions, weighted=True)
        outcomes = judge(solutions, weighted=decode.weighted)
        yield ArmOutcomes(arm, split, seed, solutions, outcomes, likelihood, read_summary(stage, AnswersSummary))


def find_clusters(run: Run, split: str, names: Sequence[str]) -> list[str] | None:
    """Find the cluster of each problem of ``names``, by the field that the study names; a problem without it is its own cluster."""
    field, problems = run.study.evaluation.cluster or run.study.evaluation.contrast, run.problems_of(split)
    return [problems[name].read_text(field) or f"\0{name}" for name in names] if field else None


def list_common(scored: Sequence[ArmOutcomes]) -> list[str]:
    """List the problems for which every one of ``scored`` has an outcome, in order."""
    return [name for name in scored[0].outcomes if all(name in s.outcomes for s in scored)]
