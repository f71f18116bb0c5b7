"""answers: an arm's answers to one split, through a ledger of its own, so that a killed stage can continue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.core.answers import VERSION as EXTRACTOR
from understudy.core.asks import Decoding
from understudy.core.errors import EngineError, StudyError
from understudy.core.options import describe, unkeyed
from understudy.core.protocols import Engine, EngineOptions, LocalEngine
from understudy.core.registry import find_module
from understudy.core.subquestions import make_gold_chain
from understudy.core.values import Chain, Problem, Solution, digest
from understudy.corpus.store import read_rows, write_json, write_rows
from understudy.engines.local.device import SettledDevice, settle_device
from understudy.engines.stand_ins import GoldEngine, ProbeEngine
from understudy.evaluation.faithfulness import Alteration, Rationales, alter
from understudy.evaluation.run import answer
from understudy.pipeline.card import describe_weights
from understudy.pipeline.connect import connect
from understudy.pipeline.stage import ERRORS, Context, Stage, StageSummary
from understudy.pipeline.stages.problems import ProblemsStage, make_pool
from understudy.pipeline.stages.selection import SelectionStage, explain_unfit
from understudy.pipeline.stages.student import LIBRARIES, StudentStage, count_seen, open_student
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
from understudy.studies.options import AnsweringOptions, Exemplars, Teacher
from understudy.tasks.splits import name_exemplars

FILE = "solutions.parquet"
Workings = Mapping[str, tuple[Problem, Chain]]
"""problem id -> the problem and the chain that its data set has for it"""


@dataclass(frozen=True)
class TrainedPlayer:
    """The student of a trained role."""

    student: StudentStage

    def open(self, stage: AnswersStage, context: Context, *_: Any) -> LocalEngine:
        return open_student(self.student.checkpoint(context), stage.answering, seed=stage.seed)


@dataclass(frozen=True)
class UntrainedPlayer:
    """The ``checkpoint`` that the students start from. ``files``: the files that decide its replies -> digests."""

    files: Mapping[str, str]
    checkpoint: str = unkeyed()

    def open(self, stage: AnswersStage, *_: Any) -> Engine:
        return open_student(Path(self.checkpoint), stage.answering, seed=stage.seed)


@dataclass(frozen=True)
class TeacherPlayer:
    """The study's teacher; ``options``: those of its engine, registered as ``engine``. ``files``: as in `UntrainedPlayer`."""

    engine: str
    options: EngineOptions
    files: Mapping[str, str]

    def open(self, stage: AnswersStage, context: Context, ledger: Ledger, _: Workings) -> Engine:
        engine = self.options.open(task=stage.problems.task, seed=stage.seed)
        paths = stage.votes if stage.decoding.temperature else 1
        return connect(engine, ledger, seed=stage.seed, paths=paths, report=context.progress)[0]


@dataclass(frozen=True)
class GoldPlayer:
    """The data set's own working, in the part's place."""

    def open(self, stage: AnswersStage, _: Context, __: Ledger, workings: Workings) -> Engine:
        return GoldEngine(stage.method, workings)


@dataclass(frozen=True)
class ProbePlayer(TrainedPlayer):
    """The ``student``, continuing the rationales that it wrote in the stage ``own``, after these were altered in one way."""

    own: AnswersStage
    how: Alteration

    def open(self, stage: AnswersStage, context: Context, *_: Any) -> LocalEngine:
        student = super().open(stage, context)
        return ProbeEngine(student, stage.method, alter(self.rationales(stage, context), self.how, seed=stage.seed), self.how)

    def rationales(self, stage: AnswersStage, context: Context) -> Rationales:
        problems = {problem.id: problem for problem in stage.problems.read(context)}
        written = read_rows(self.own.directory(context.run) / FILE, Solution)
        pairs = ((s, stage.method.rationale_of(problems[s.problem], s)) for s in written)
        return {s.problem: (text, s.answer) for s, text in pairs if text is not None}


Player = TrainedPlayer | UntrainedPlayer | TeacherPlayer | GoldPlayer | ProbePlayer
"""Who plays a part of a method; ``open`` gives the engine that plays it, ready to be asked."""


@dataclass(frozen=True, kw_only=True)
class AnswersSummary(StageSummary):
    """``asked``: how many of ``problems`` were asked (those with a gold working, if gold plays a part). ``models``: part -> engine
    identity. ``precision``: of the answering; "unknown" for an endpoint. ``weights``: for an untrained model that is a GGUF file,
    where they are from. ``extractor``: the version of what read the answers. ``seconds``: for all answers, as if each took as long
    as those that were not in the ledger yet; 0 if all were. ``saw``: how many of ``problems`` an untrained model, or a local
    teacher, had learned from, or was chosen by, as an earlier student. ``rows``: how many answers were written at once. Beware:
    memory may decide it, and in bfloat16 the last digits, and so an answer now and then, depend on it."""

    problems: int
    asked: int
    solutions: int
    tokens: int
    seconds: float
    models: Mapping[str, str]
    precision: str
    weights: str = ""
    extractor: str = "unknown"
    saw: int = 0
    rows: int = 0


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AnswersStage(Stage[AnswersSummary]):
    """``method`` (registered as ``name``) answers ``split`` on ``votes`` sample paths, with its parts played as ``cast`` says.
    ``selection``: what the prompts of an arm that trains may show. ``teacher``: if the teacher plays, its price and budget.
    ``swapped``: the report, not the arm, puts gold in a part's place, so data without workings is not an error."""

    kind = "answers"
    summary = AnswersSummary

    problems: ProblemsStage
    selection: SelectionStage | None
    name: str
    method: Any
    split: str
    cast: Mapping[str, Player]
    votes: int
    decoding: Decoding
    seed: int
    study_seed: int
    exemplars: Exemplars
    prompts: Mapping[str, str]
    answering: AnsweringOptions
    swapped: bool
    teacher: Teacher | None = unkeyed(None)

    def needs(self) -> Iterator[Stage[Any]]:
        """Yield also the students that play, and the answers whose rationales a probe alters."""
        yield from super().needs()
        for player in self.cast.values():
            yield from (value for value in vars(player).values() if isinstance(value, Stage))

    def modules(self) -> list[str]:
        return [find_module("method", self.name), *(find_module("engine", teacher.engine) for teacher in self._list_teachers())]

    def libraries(self) -> tuple[str, ...]:
        libraries = {name for teacher in self._list_teachers() for name in teacher.options.libraries}
        return tuple(sorted(libraries | set(LIBRARIES if self._asks_students else ())))

    @property
    def pays(self) -> bool:
        return self.teacher is not None

    @property
    def device(self) -> SettledDevice:
        used: set[SettledDevice] = {settle_device(teacher.options.device) for teacher in self._list_teachers()}
        return next(iter(used - {"cpu"}), self.answering.device if self._asks_students else "cpu")

    def is_final(self, summary: AnswersSummary) -> bool:
        return not (summary.errors and any(teacher.options.paid for teacher in self._list_teachers()))

    def run(self, context: Context) -> AnswersSummary:
        """Write ``solutions.parquet`` and ``errors.json``."""
        all_problems = self.problems.read(context)
        problems = [problem for problem in all_problems if problem.split == self.split]
        workings, probe = self._find_workings(problems), next((p for p in self.cast.values() if isinstance(p, ProbePlayer)), None)
        required = probe.rationales(self, context) if probe is not None and workings is None else workings
        asked = problems if required is None else [problem for problem in problems if problem.id in required]
        directory = self.directory(context.run)
        own_ledger = directory / "answers.sqlite"
        # The teacher's replies are paid for, so they go into the run's ledger.
        teacher = self.teacher
        ledger = Ledger(own_ledger) if teacher is None else Ledger(context.ledger, price=teacher.price, budget=teacher.budget)
        with ledger as store:
            engines = self._open_engines(context, store, workings or {})
            for engine in engines.values():
                getattr(engine, "load", lambda: None)()  # weights, which count for no answer's time
            started = time.perf_counter()
            answers = answer(
                asked,
                self.method,
                engines,
                pool=self._make_pool(all_problems, context),
                votes=self.votes,
                decoding=self.decoding,
                seed=self.seed,
                store=store,
                progress=context.progress,
            )
        elapsed, flows = time.perf_counter() - started, len(answers.solutions) + len(answers.errors)
        if asked and not answers.solutions:
            raise EngineError(f"none of {len(asked)} problems was answered; the first error: {answers.errors[0].error}")
        write_rows(directory / FILE, Solution, answers.solutions)
        write_json(directory / ERRORS, [asdict(error) for error in answers.errors])
        for file in directory.glob(f"{own_ledger.name}*"):  # solutions.parquet has everything now
            file.unlink()
        starts = {getattr(getattr(player, "options", player), "checkpoint", None) for player in self.cast.values()}
        return AnswersSummary(
            errors=len(answers.errors),
            problems=len(problems),
            asked=len(asked),
            solutions=len(answers.solutions),
            tokens=sum(solution.tokens for solution in answers.solutions),
            seconds=round(elapsed * flows / answers.bought, 3) if answers.bought else 0.0,
            models={part: engine.identity for part, engine in engines.items()},
            precision=self._find_precision(),
            extractor=EXTRACTOR,
            weights="; ".join(sorted(set(map(describe_weights, starts)) - {""})),
            saw=max(count_seen(start, problems) for start in starts),
            rows=min((n for engine in engines.values() if (n := getattr(engine, "batch_size", 0))), default=0),
        )

    def _find_precision(self) -> str:
        """Return the precision in which the parts are played: the teacher's if it plays all of them."""
        if all(isinstance(player, TeacherPlayer) for player in self.cast.values()):
            return ", ".join({player.options.precision for player in self._list_teachers()})
        return self.answering.precision

    @property
    def _asks_students(self) -> bool:
        return any(isinstance(player, TrainedPlayer | UntrainedPlayer) for player in self.cast.values())

    def _list_teachers(self) -> list[TeacherPlayer]:
        return [player for player in self.cast.values() if isinstance(player, TeacherPlayer)]

    def _open_engines(self, context: Context, ledger: Ledger, workings: Workings) -> dict[str, Engine]:
        """Open the engine of each part; parts with the same player share its engine."""
        keys = {part: digest(describe(player)) for part, player in self.cast.items()}
        players = {keys[part]: player for part, player in self.cast.items()}
        opened = {key: player.open(self, context, ledger, workings) for key, player in players.items()}
        return {part: opened[key] for part, key in keys.items()}

    def _make_pool(self, problems: Sequence[Problem], context: Context) -> StudyPool:
        shared: dict[str, Any] = {"prompts": self.prompts, "seed": self.study_seed}
        if exemplars := [problem for problem in problems if problem.split == name_exemplars(self.split)]:
            solved = [chain for problem in exemplars if (chain := make_gold_chain(problem)) is not None]
            return make_pool(exemplars, self.exemplars, split=exemplars[0].split, learn=exemplars, chains=solved, **shared)
        learned = () if self.selection is None else self.selection.read_problems(context)
        chosen = () if self.selection is None else self.selection.chosen(context)
        return make_pool(problems, self.exemplars, learn=learned, chains=chosen, **shared)

    def _find_workings(self, problems: Sequence[Problem]) -> Workings | None:
        """Find the problems whose data set has a working that can take a part's place; None if gold plays no part."""
        if not any(isinstance(player, GoldPlayer) for player in self.cast.values()):
            return None
        workings = {p.id: (p, c) for p in problems if (c := make_gold_chain(p)) and not explain_unfit(self.method, p, c)}
        if problems and not workings and not self.swapped:
            reason = f"none of the {len(problems)} problems of {self.split!r} has its own working in a form that the method can use"
            raise StudyError(f'model = "gold": {reason} (meta.rationale, or meta.subquestions with answers)')
        return workings
