"""Plan the stages of one arm: selection, the students of each role (and of its folds), answers, and answers with gold in a part's
place."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal, get_args

from understudy.core.errors import AbsentError, CheckpointError, StudyError
from understudy.core.options import describe
from understudy.core.prompts import load_prompts
from understudy.core.protocols import MethodWithRationale, SelectiveMethod
from understudy.core.values import digest
from understudy.engines.local.checkpoint import list_files, open_checkpoint
from understudy.evaluation.faithfulness import Alteration
from understudy.pipeline.cache import FileDigests, digest_files
from understudy.pipeline.card import CARD
from understudy.pipeline.stage import Stage
from understudy.pipeline.stages import answers
from understudy.pipeline.stages.chains import ChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.pipeline.stages.selection import SelectionStage
from understudy.pipeline.stages.student import Dev, StudentStage, Vocabulary
from understudy.pipeline.stages.verdicts import VerdictsStage
from understudy.selection.choose import find_encoder
from understudy.studies.options import Arm, Exemplars
from understudy.studies.study import Study, models_of, parts_of, student_of_role, swapped_parts, trained_roles, training_of_role
from understudy.training.options import StudentOptions
from understudy.training.targets import check_lora

What = Literal["selection", "student", "answers", "gold", "probe"]
Players = Mapping[str, answers.Player]
"""Part of a method -> who plays it."""


@dataclass(frozen=True)
class ArmStage:
    """One stage of an arm, and ``what`` it is to the arm: its ``selection``; its ``student`` of the role ``name``; its ``answers``
    to the split ``name``; those with ``gold`` in place of the part ``name``; or those after a rationale altered in the way ``name``
    (``probe``). ``folder`` names the stage's directory."""

    arm: str
    what: What
    seed: int
    name: str
    folder: str


@dataclass(frozen=True)
class SharedStages:
    """The stages that every arm builds on. ``teacher``: the player of arms that ask the teacher; None for recorded chains.
    ``absent``: models of the hub that students start from but that are not on this machine -> what to do about it; None if that is
    an error."""

    study: Study
    problems: ProblemsStage
    chains: ChainsStage
    verdicts: VerdictsStage
    exemplars: Exemplars
    teacher: answers.TeacherPlayer | None
    absent: dict[str, str] | None = None

    def vocabulary(self) -> Vocabulary:
        """Collect what students from scratch have words for: the raw formats of the arms that train, and all methods' words."""
        methods = [(arm, self.study.method(arm)) for arm in self.study.arms]
        trained = [method.format for arm, method in methods if trained_roles(arm, method)]
        formats = {digest(describe(each)): each for each in trained if each.style == "raw"}
        words = {text for _, method in methods for text in getattr(method, "words", ())}
        return Vocabulary(formats=tuple(formats[key] for key in sorted(formats)), words=tuple(sorted(words)))


class ArmPlanner:
    """Plans the stages of one arm. Raises StudyError if a checkpoint that the arm names cannot be used."""

    def __init__(self, shared: SharedStages, arm: Arm) -> None:
        self.shared, self.arm, self.study = shared, arm, shared.study
        self.method = shared.study.method(arm)
        trains = trained_roles(arm, self.method)
        order = TopologicalSorter({role: self.method.needs.get(role, ()) for role in trains}).static_order()
        self.trains = [role for role in order if role in trains]
        """The roles that it trains, each after those that it needs."""
        self.selection = self._selection() if self.trains else None

    def places(self) -> Iterator[tuple[ArmStage, Stage[Any]]]:
        """Yield every stage of the arm with what it is to the arm, in an order in which they can run: its selection, and per seed
        the students by role, the answers by split, and the answers to the first split with gold in place of a part. An arm that
        trains nothing has neither selection nor students."""
        study, evaluation = self.study, self.study.evaluation
        if self.selection is not None:
            yield self._place("selection", 0, "", self.selection)
        for seed in range(study.seed, study.seed + study.seeds) if self.trains else (study.seed,):
            suffix = f", seed {seed}" if study.seeds > 1 and self.trains else ""
            students: dict[str, StudentStage] = {}
            for role in self.trains:
                students[role] = self._student(role, seed, suffix)
                yield self._place("student", seed, role, students[role])
            cast, label = self._cast(students), f"{self.arm.name}{suffix}"
            for split in evaluation.splits:
                own = self._answers(f"{label}, {split}", split, seed, cast)
                yield self._place("answers", seed, split, own)
                if evaluation.faithfulness and split == evaluation.splits[0]:
                    yield from self._probes(label, own)
            if evaluation.attribution and evaluation.scored:
                for part in swapped_parts(self.arm, self.method):
                    again, swapped = f"{label}, {evaluation.splits[0]}, gold {part}", {**cast, part: answers.GoldPlayer()}
                    yield self._place("gold", seed, part, self._answers(again, evaluation.splits[0], seed, swapped, swapped=True))

    def _place(self, what: What, seed: int, name: str, stage: Stage[Any]) -> tuple[ArmStage, Stage[Any]]:
        return ArmStage(self.arm.name, what, seed, name, stage.folder), stage

    def _selection(self) -> SelectionStage:
        shared, selective = self.shared, isinstance(self.method, SelectiveMethod)
        encoder = sorted(find_encoder(name).rglob("*")) if (name := self.arm.select.encoder) else []
        return SelectionStage(
            label=self.arm.name,
            problems=shared.problems,
            chains=shared.chains,
            verdicts=shared.verdicts,
            select=self.arm.select,
            fraction=self.arm.fraction,
            taker=self.method if selective else None,
            method=self.arm.method if selective else None,
            seed=self.study.seed,
            encoder=digest_files(filter(Path.is_file, encoder), "select.encoder"),
        )

    def _student(self, role: str, seed: int, suffix: str, fold: int | None = None) -> StudentStage:
        """Plan the student of ``role``, trained on all problems or on those outside ``fold``, and the students that it needs."""
        assert self.selection is not None, "only arms that train have students"
        shared, arm, method, study = self.shared, self.arm, self.method, self.study
        student, files = self._start(role)
        dev = Dev(split=study.evaluation.dev, problems=study.evaluation.dev_problems, check=study.checks[0])
        label = f"{arm.name}{suffix}" + (f" ({role})" if len(method.roles) > 1 else "")
        return StudentStage(
            label=label if fold is None else f"{label}, without fold {fold + 1} of {method.folds}",
            selection=self.selection,
            folds={
                need: tuple(self._student(need, seed, suffix, i) for i in range(method.folds))
                for need in method.needs.get(role, ())
            },
            name=arm.method,
            method=method,
            role=role,
            fold=None if fold is None else (fold, method.folds),
            student=student,
            training=training_of_role(study, arm, role),
            files=files,
            seed=seed,
            study_seed=study.seed,
            dev=dev if study.chooses_checkpoint(arm, role) else None,
            vocabulary=shared.vocabulary(),
            answering=study.evaluation.answering,
        )

    def _start(self, role: str) -> tuple[StudentOptions, Mapping[str, str]]:
        """Return the student before training, with its checkpoint as a checked directory, and the files that decide it."""
        student, where = student_of_role(self.study, self.arm, role), self.arm.where("student", role)
        if student.checkpoint is None:
            return student, {}
        if student.lora is not None and importlib.util.find_spec("peft") is None:
            raise StudyError(f"{where}.lora needs peft, which is not installed: pip install 'understudy[lora]'")
        try:
            chats, fetch = self.method.format.style == "messages", self.shared.absent is None
            directory = open_checkpoint(student.checkpoint, self.study.root, chats=chats, fetch=fetch)
            if student.lora is not None:
                check_lora(student.lora, directory, where=where)
        except CheckpointError as error:
            if self.shared.absent is not None and isinstance(error, AbsentError):
                self.shared.absent[student.checkpoint] = str(error)
                return student, FileDigests({student.checkpoint: "absent"})  # no run has such a key
            raise StudyError(f"{where}.checkpoint = {student.checkpoint!r}: {error}") from error
        card = [path for path in [directory / CARD] if path.is_file()]
        return replace(student, checkpoint=str(directory)), digest_files([*list_files(directory), *card], "checkpoint")

    def _cast(self, students: Mapping[str, StudentStage]) -> dict[str, answers.Player]:
        """Say who plays each part."""
        parts = parts_of(self.method)
        cast: dict[str, answers.Player] = {}
        for part, model in models_of(self.arm, self.method).items():
            if model == "trained":
                cast[part] = answers.TrainedPlayer(students[parts[part]])
            elif model == "untrained":
                student, files = self._start(parts[part])
                assert student.checkpoint is not None, "the study was validated"
                cast[part] = answers.UntrainedPlayer(files, student.checkpoint)
            elif model == "teacher":
                assert self.shared.teacher is not None, "the study was validated"
                cast[part] = self.shared.teacher
            else:
                cast[part] = answers.GoldPlayer()
        return cast

    def _probes(self, label: str, own: answers.AnswersStage) -> Iterator[tuple[ArmStage, Stage[Any]]]:
        """Plan the answers of ``own`` again, after altered rationales, if trained students write each rationale once."""
        if own.votes > 1 or own.decoding.beams > 1 or not isinstance(self.method, MethodWithRationale):
            return
        roles = self.method.rationale_roles
        students = {role: player.student for role in roles if isinstance(player := own.cast.get(role), answers.TrainedPlayer)}
        for how in get_args(Alteration) if len(students) == len(roles) else ():
            cast = {**own.cast, **{role: answers.ProbePlayer(student, own, how) for role, student in students.items()}}
            stage = self._answers(f"{label}, {own.split}, rationale: {how}", own.split, own.seed, cast, swapped=True)
            yield self._place("probe", own.seed, how, stage)

    def _answers(self, label: str, split: str, seed: int, cast: Players, *, swapped: bool = False) -> answers.AnswersStage:
        """Plan the answers of the arm to ``split``, with its parts played as ``cast`` says."""
        study, decode = self.study, self.arm.decode
        asks_teacher = any(isinstance(player, answers.TeacherPlayer) for player in cast.values())
        trained = any(isinstance(player, answers.TrainedPlayer) for player in cast.values())
        prompts: dict[str, str] = {}
        if asks_teacher:
            prompts = study.teacher.read_prompts(study.root, self.arm.method)
        elif not self.method.roles:
            prompts = load_prompts(self.arm.method)
        return answers.AnswersStage(
            label=label,
            problems=self.shared.problems,
            selection=self.selection if trained else None,
            name=self.arm.method,
            method=self.method,
            split=split,
            cast=cast,
            votes=decode.votes,
            decoding=decode.decoding,
            seed=seed,
            study_seed=study.seed,
            exemplars=self.shared.exemplars,
            prompts=prompts,
            answering=study.evaluation.answering,
            swapped=swapped,
            teacher=study.teacher if asks_teacher else None,
        )
