"""student: make the examples of one role of one arm, and train the student on them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from understudy.core.asks import SamplePath
from understudy.core.errors import EngineError, StudyError, counted
from understudy.core.options import plain
from understudy.core.prompt_format import PromptFormat, show_prompt
from understudy.core.protocols import Check, LocalEngine, Progress
from understudy.core.registry import find, find_module
from understudy.core.subquestions import write_steps
from understudy.core.tokens import TEMPLATE_DATE
from understudy.core.values import Chain, Example, Outcome, Problem, digest
from understudy.corpus.directories import read_json
from understudy.corpus.store import write_json
from understudy.engines.local.device import SettledDevice, settle_device
from understudy.evaluation.metrics import judge_solution
from understudy.evaluation.run import answer
from understudy.flows.cast import Cast, assign_fold
from understudy.flows.drive import drive
from understudy.pipeline.card import CARD, Card, describe_weights, remark_on_start, write_card
from understudy.pipeline.stage import Context, Stage, StageSummary
from understudy.pipeline.stages.selection import SelectionStage, read_chosen
from understudy.sampling.pool import StudyPool
from understudy.studies.options import AnsweringOptions
from understudy.studies.study import map_parts
from understudy.tasks.overlap import copy_key, exact_key
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.record import TrainingFacts

LEARNED = "learned.json"
"""The file beside a student's weights that `read_learned` reads."""
LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True, kw_only=True)
class StudentSummary(TrainingFacts, StageSummary):
    """How many ``examples`` of how many ``problems``, made from ``chains``. ``scratch``: whether it had no pretraining. ``chosen``:
    whether its checkpoint was chosen on the dev split. ``precision`` and ``device``: of the training. ``weights``: where its first
    ones are from, as the card says. ``saw``: how many evaluated questions the student that it starts from, or an earlier one, had
    learned from or was chosen by."""

    problems: int
    chains: int
    scratch: bool
    chosen: bool
    precision: str
    device: str = "cpu"
    weights: str = ""
    saw: int = 0


@dataclass(frozen=True, kw_only=True)
class Dev:
    """What checkpoints are chosen on: at most ``problems`` problems of ``split``, judged by ``check``."""

    split: str
    problems: int
    check: str


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a student from scratch has words for, besides the training questions and all chains: the ``formats`` of the arms that
    train, and the ``words`` of the methods. It is the same for every arm."""

    formats: tuple[PromptFormat, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StudentStage(Stage[StudentSummary]):
    """``role`` of ``method`` (registered as ``name``), trained on all problems, or on those outside a fold (``fold``: its number,
    and how many there are). ``folds``: the students of the roles that its examples ask, in the order of the folds. ``files``: those
    of the checkpoint -> their digests. ``answering``: how checkpoints are asked on dev."""

    kind = "student"
    summary = StudentSummary

    selection: SelectionStage
    folds: Mapping[str, "tuple[StudentStage, ...]"]
    name: str
    method: Any
    role: str
    fold: tuple[int, int] | None
    student: StudentOptions
    training: TrainingOptions
    files: Mapping[str, str]
    seed: int
    study_seed: int
    dev: Dev | None
    vocabulary: Vocabulary
    answering: AnsweringOptions

    def needs(self) -> Iterator[Stage[Any]]:
        """Yield also the students of folds, and what its selection needs: if one of them is made again, so is this stage."""
        yield from self.selection.needs()
        yield from super().needs()
        for students in self.folds.values():
            yield from students

    def modules(self) -> list[str]:
        return [find_module("method", self.name), find_module("objective", self.training.objective)]

    def libraries(self) -> tuple[str, ...]:
        return (*LIBRARIES, "peft") if self.student.lora else LIBRARIES

    @property
    def device(self) -> SettledDevice:
        return settle_device(self.training.device)

    @property
    def processes(self) -> int:
        return self.training.processes

    def checkpoint(self, context: Context) -> Path:
        """Return the directory of the trained student."""
        return self.directory(context.run) / "student"

    def run(self, context: Context) -> StudentSummary:
        """Train into the stage's directory, and write the card beside the weights."""
        from understudy.training.loop import train

        selection = self.selection
        problems, all_chains = selection.problems.read(context), selection.chains.read_summary(context.run).chains
        training = [problem for problem in problems if problem.split == "train"]
        ids = read_chosen(selection.directory(context.run))
        judged = [(chain, outcome) for chain, outcome in selection.judged(context) if chain.id in ids]
        chosen, learn = [chain for chain, _ in judged], selection.read_problems(context)
        if self.fold is not None:
            fold, fold_count = self.fold
            learn = [problem for problem in learn if assign_fold(problem.id, fold_count) != fold]
        outcomes = {chain.id: outcome for chain, outcome in judged}
        pool = StudyPool(learn=learn, chains=chosen, outcomes=outcomes, seed=self.study_seed)
        folds = {
            role: [open_student(s.checkpoint(context), self.answering, seed=self.seed) for s in students]
            for role, students in self.folds.items()
        }
        examples = make_examples(self.method, self.role, pool, folds, seed=self.seed)
        folds.clear()  # their models must not stay beside the training
        if not examples:
            reason = f"{len(chosen)} of {all_chains} chains were selected; `understudy select` shows why"
            raise StudyError(f"arm with method {self.name!r}: the role {self.role!r} has nothing to train on: {reason}")
        dev = [problem for problem in problems if problem.split == self.dev.split][: self.dev.problems] if self.dev else []
        start = self.student.checkpoint
        weights = describe_weights(start)
        saw = count_seen(start, [problem for problem in problems if problem.split in selection.problems.held_out])
        trained = train(
            examples,
            student=self.student,
            options=self.training,
            out=self.directory(context.run),
            seed=self.seed,
            # From all training problems, whatever the arm's fraction: with other words the student would have another tokenizer and
            # another size, and a difference between fractions would not come from the data alone.
            vocabulary=collect_texts(self.vocabulary, training, lambda: selection.chains.stream(context)),
            score=partial(self._score, dev, find("check", self.dev.check), pool, context.progress) if self.dev else None,
            progress=context.progress,
            share=context.share,
        )
        learned = read_learned(start) | {digest(copy_key(problem)) for problem in (*learn, *dev)}
        write_json(trained.checkpoint / LEARNED, {"questions": sorted(learned)})
        write_card(trained.checkpoint, self._make_card(learn[0], weights, self.directory(context.run).parent))
        remark = start and remark_on_start(Path(start), self.name, plain(self.method))
        notes = (*([remark] if remark else []), *trained.notes)
        for note in notes:
            context.progress("student", 0, 0, note)
        facts = {field.name: getattr(trained, field.name) for field in fields(TrainingFacts)}
        return StudentSummary(
            **(facts | {"notes": notes}),
            problems=len({example.problem for example in examples}),
            chains=len({example.chain for example in examples if example.chain is not None}),
            scratch=start is None,
            chosen=self.dev is not None,
            precision=self.training.precision,
            device=self.training.device,
            weights=weights,
            saw=saw,
        )

    def _score(self, problems: Sequence[Problem], check: Check, pool: StudyPool, progress: Progress, checkpoint: Path) -> float:
        """Return the accuracy of the answers of the student in ``checkpoint`` to ``problems``. A question that it cannot be asked,
        mostly one that is too long for its context, counts as not answered."""
        dev = {problem.id: problem for problem in problems}
        engines = dict.fromkeys(map_parts(self.method), open_student(checkpoint, self.answering, seed=self.seed))
        answers = answer(problems, self.method, engines, pool=pool, seed=self.seed)
        if answers.errors:
            error = f"choosing checkpoints on {problems[0].split}: {answers.errors[0].error}"
            if not answers.solutions:
                raise EngineError(error)
            progress("student", 0, 0, f"{counted(len(answers.errors), 'question')} cannot be asked; {error}")
        return sum(judge_solution(dev[s.problem], s, check) is Outcome.CORRECT for s in answers.solutions) / len(dev)

    def _make_card(self, problem: Problem, weights: str, stages: Path) -> Card:
        folds = {f"fold:{role}:{i}": student.folder for role, students in self.folds.items() for i, student in enumerate(students)}
        start = self.student.checkpoint
        origin = {"start": os.path.relpath(Path(start).resolve(), stages)} if start and (Path(start) / CARD).is_file() else {}
        return Card(
            method=self.name,
            options=plain(self.method),
            role=self.role,
            kind=problem.kind,
            form=problem.form,
            precision=self.answering.precision,
            training_precision=self.training.precision,
            training_device=self.training.device,
            weights=weights,
            template_date=TEMPLATE_DATE.isoformat(),
            seed=self.seed,
            lineage={stage.kind: stage.folder for stage in (*self.selection.needs(), self.selection)} | folds | origin,
        )


Folds = Mapping[str, Sequence[LocalEngine]]
"""role -> its students, each trained without one fold of the problems."""


def make_examples(method: Any, role: str, pool: StudyPool, folds: Folds, *, seed: int) -> list[Example]:
    """Make the method's examples of ``role`` for every problem that ``pool`` teaches, in order. ``folds``: the roles it needs."""
    options = {"role": role} if method.needs else {}
    flows = ((SamplePath(p.id, 0, seed), method.examples(p, chains, pool, **options)) for p, chains in pool.taught())
    examples: dict[str, list[Example]] = {}
    for done in drive(flows, Cast({}, folds=folds, seed=seed)):
        if done.value is None:
            raise StudyError(f"the method made no examples of problem {done.path.problem!r}: {done.error}")
        examples[done.path.problem] = done.value
    return [example for problem, _ in pool.taught() for example in examples[problem.id] if example.role == role]


def collect_texts(vocabulary: Vocabulary, problems: Sequence[Problem], stream: Callable[[], Iterable[Chain]]) -> Iterator[str]:
    """Yield the text from which a tokenizer from scratch takes its words: every training question and every chain, in every format,
    and the chains' sub-questions. It ignores the arm's own selection, so that all arms of a study have the same words."""
    # As often as a tokenizer may ask for, since a word of every prompt is not rare.
    yield from (text for text in vocabulary.words for _ in range(100))
    yield from (write_steps(chain.steps) for chain in stream() if chain.steps)
    by_id = {problem.id: problem for problem in problems}
    for layout in vocabulary.formats:
        unseen = dict(by_id)
        for chain in stream():
            problem = by_id[chain.problem]
            if chain.answer is not None:
                unseen.pop(problem.id, None)
                yield "".join(s.text for s in layout.teach("student", problem, chain.rationale, chain.answer).segments)
        yield from (show_prompt(layout.write_prompt(problem)) for problem in unseen.values())


def count_seen(start: str | None, problems: Iterable[Problem]) -> int:
    """Count the problems among ``problems`` that the student in ``start`` had learned from or was chosen by."""
    learned = read_learned(start)
    # Earlier students have digests of the exact question.
    return sum(any(digest(key(problem)) in learned for key in (copy_key, exact_key)) for problem in problems) if learned else 0


def read_learned(start: str | None) -> set[str]:
    """Read the digests of the questions that the student in ``start``, and the students that it started from, learned from or were
    chosen by; none if it is not a student of ours."""
    path = Path(start or "")
    file = (path.parent if path.suffix == ".gguf" else path) / LEARNED
    return set(map(str, read_json(file, "questions")["questions"])) if start and file.is_file() else set()


def open_student(checkpoint: Path, answering: AnsweringOptions, *, seed: int) -> LocalEngine:
    """Open the engine that answers as the student in ``checkpoint``."""
    from understudy.engines.local.engine import TransformersEngine

    rows, device = answering.batch_size, answering.device
    return TransformersEngine(checkpoint, dtype=answering.precision, batch_size=rows, device=device, seed=seed)
