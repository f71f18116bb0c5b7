"""The tables of a study file but [task], [student] and [training]: who teaches, what is shown, asked and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from understudy.core.asks import Decoding
from understudy.core.errors import CheckpointError, StudyError
from understudy.core.options import unkeyed
from understudy.core.prompts import load_prompts
from understudy.core.protocols import EngineOptions
from understudy.core.registry import find
from understudy.engines.local.device import Device, SettledDevice, settle_device
from understudy.sampling.allocation import Allocation
from understudy.sampling.budget import Budget, Price
from understudy.selection.select import Selection
from understudy.studies.schema import build


@dataclass(frozen=True)
class Teacher:
    """Who writes the chains. The keys below hold for every engine; each engine adds its own (the tables that follow)."""

    engine: str = "procedural"
    """``procedural``: the world's own teacher; ``recorded``: chains that somebody already has; ``transformers``: a model on this
    machine; ``endpoint``: an OpenAI-compatible server; or an engine of your own (docs/extending.md)."""
    samples: Annotated[int, Field(ge=1)] = 30
    """Chains per problem; 30 is SCoTD's N (arXiv 2306.14050, README of the authors' code)."""
    greedy: bool = False
    """One greedy chain of each problem besides (SCoTD's Greedy-CoT), which arms take by ``select = { samples = "greedy" }`` and no
    other way. The procedural teacher, which has no temperature, writes another draw."""
    allocation: Allocation | None = None
    """As many chains in all, but more of them where they help: a few for each problem, then more where the answers disagree, or
    where no right one came, ``{ first = 4 }``. By default ``samples`` for every problem."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of the sampling; 1.0 is SCoTD's (arXiv 2306.14050, its text)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only the likeliest tokens that together have this probability are drawn from; 1.0: all."""
    method: str = "scotd"
    """The method whose prompt is put to the teacher."""
    options: Mapping[str, Any] = unkeyed(factory=dict)
    """Options of ``method``."""
    prompts: str | None = unkeyed(None)
    """A directory with prompts of your own, which replace the built-in ones of the same names (docs/prompts.md); relative to the
    study file. By default the built-in ones are used."""
    first_look: Annotated[int, Field(ge=0)] = unkeyed(50)
    """After so many replies a quality report is printed, and the sampling stops where more than nine in ten have no answer, are
    cut off or refused; 0 never looks."""
    price: Price | None = unkeyed(None)
    """What tokens cost, ``{ input = 0.5, output = 1.5 }``; ``understudy try`` then says what the run will cost."""
    budget: Budget | None = unkeyed(None)
    """What the run may spend at the most, ``{ money = 5.0, tokens = 1_000_000, requests = 10_000 }``, over all runs of the
    command; the sampling then stops, and the chains that came are the corpus."""
    engine_options: Mapping[str, Any] = unkeyed(factory=dict)
    """The keys of [teacher] that belong to ``engine``."""

    def __post_init__(self) -> None:
        if self.greedy and (self.allocation is not None or self.temperature == 0):
            why = "an allocation shares out sampled chains" if self.allocation is not None else "temperature = 0 is greedy itself"
            raise ValueError(f"greedy: {why}; leave one of the two out")
        if self.allocation is not None:
            first, most = self.allocation.first, self.allocation.most
            if not first <= self.samples <= most:
                raise ValueError(f"samples = {self.samples}: must be from allocation.first = {first} to allocation.most = {most}")
        if self.budget is not None and self.budget.money is not None and self.price is None:
            raise ValueError(f"budget.money = {self.budget.money}: needs price, e.g. price = {{ input = 0.5, output = 1.5 }}")

    def make_method(self) -> Any:
        """The method whose prompt is put to the teacher."""
        return build(find("method", self.method), dict(self.options), "teacher.options")

    @property
    def chats(self) -> bool:
        """Whether its method's prompts are messages."""
        return bool(self.make_method().format.style == "messages")

    def make_engine(self) -> EngineOptions:
        """The options of the teacher's engine, as they stand in the study."""
        return cast(EngineOptions, build(find("engine", self.engine), dict(self.engine_options), "teacher"))

    def check_engine(self, task: Any) -> EngineOptions:
        """The same. Raises StudyError where that engine cannot be asked about ``task`` by the teacher's method."""
        engine = self.make_engine()
        try:
            engine.check(task, chats=self.chats)
        except ValueError as error:
            raise StudyError(f"teacher.{error}") from None
        return engine

    def prepare_engine(self, root: Path, task: Any, *, answers: bool = False) -> EngineOptions:
        """The same with paths that can be opened; they start from ``root``. Raises StudyError where one cannot, and, where
        ``answers`` are wanted, for an engine that gives none."""
        engine = self.check_engine(task)
        if answers and not engine.asks:
            raise StudyError(f"teacher.engine = {self.engine!r}: cannot answer; choose an endpoint or a checkpoint")
        try:
            return engine.prepare(root, chats=self.chats)
        except CheckpointError as error:
            raise StudyError(f"teacher.checkpoint = {engine.checkpoint!r}: {error}") from error

    def read_prompts(self, root: Path, method: str) -> dict[str, str]:
        """name -> text of the prompts of ``method``; the teacher's own replace the built-in ones, and their path starts from
        ``root``."""
        return load_prompts(method, (root / self.prompts).resolve() if self.prompts else None)


@dataclass(frozen=True)
class Corpus:
    """What must go along with the chains when they leave this machine: ``understudy export`` refuses without both.

    It decides nothing that is computed.
    """

    terms: str = ""
    """Under what terms the teacher's texts may be used: its provider's, or its model licence."""
    licence: str = ""
    """Of the questions."""


@dataclass(frozen=True)
class Exemplars:
    """Solved problems that prompts show: the teacher's, and those of the baseline ``few_shot``.

    They leave training and evaluation: their split is "exemplars".
    """

    n: Annotated[int, Field(ge=0)] = 0
    """So many are chosen by the study's seed among the training problems that have a rationale."""
    file: str | None = unkeyed(None)
    """Or the rows of a file, written by hand perhaps: ``question``, ``answer``, ``rationale`` (``choices``, ``context``); relative
    to the study file."""
    least: Annotated[int, Field(ge=0)] | None = None
    """Each prompt shows a random number from this to all (SCoTD drops down to 3: ``hf_datasets.__getitem__`` of the authors' code);
    all where it is not given."""
    shuffle: bool = True
    """Their order is drawn anew for each sample path (``SHUFFLE_COT_PROMPTS``: train.yaml of the authors' code)."""

    def __post_init__(self) -> None:
        if self.n and self.file is not None:
            raise ValueError(f"n = {self.n} and file = {self.file!r}: set n to choose from training, or file to give your own")


@dataclass(frozen=True)
class Decode:
    """How an arm's student answers: greedy once, by beam search, or several sampled paths and the majority (self-consistency)."""

    votes: Annotated[int, Field(ge=1)] = 1
    """Paths that are sampled for each problem (1: SAMPLE_ROUNDS in the README of SCoTD's authors)."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    """0 for one vote and 0.7 for several where it is not given (from small trials here; the self-consistency papers use 0.5 to
    0.7; SCoTD's README evaluates at 0)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draws only among the likeliest tokens that together have this probability; 1.0: among all (SCoTD's authors set none)."""
    weighted: bool = False
    """The likelihood-weighted vote is the arm's result; both votes are always reported. Off: the majority, as in simple_main.py of
    SCoTD's authors."""
    beams: Annotated[int, Field(ge=1)] = 1
    """More than 1: beam search with so many beams, for one vote at temperature 0 by a model on this machine (``NUM_BEAMS``,
    1 in arguments.py of SCoTD's authors)."""
    calculator: bool = False
    """The values of expressions that are marked as GSM8K does it are calculated while the answer is written: after ``<<48/2=`` come
    ``24>>`` (arXiv 2110.14168). Not with beams; by a model on this machine. Default
    chosen by this project: off, because it does something only where students were taught on marked chains."""

    def __post_init__(self) -> None:
        if self.beams > 1 and (self.votes > 1 or self.temperature or self.top_p < 1):
            raise ValueError(f"beams = {self.beams} with {self.drawn}, votes = {self.votes}: beams do not sample; leave those out")
        if self.beams > 1 and self.calculator:
            raise ValueError(f"beams = {self.beams} with calculator = true: a calculator cannot change a beam; choose one")
        if self.votes > 1 and self.decoding.temperature == 0:
            raise ValueError("temperature = 0 with several votes: all replies would be the same; raise temperature")

    @property
    def decoding(self) -> Decoding:
        default = 0.0 if self.votes == 1 else 0.7
        return Decoding(default if self.temperature is None else self.temperature, self.top_p, self.beams, self.calculator)

    @property
    def drawn(self) -> str:
        """The temperature and top_p, as the results write them."""
        return f"T={self.decoding.temperature:g}" + (f" top_p={self.top_p:g}" if self.top_p < 1 else "")

    @property
    def label(self) -> str:
        """The ``decoding`` column of the results."""
        calculator = ", calculator" if self.calculator else ""
        if self.beams > 1:
            return f"beam search, {self.beams} beams"
        if self.votes > 1:
            return f"{'weighted ' if self.weighted else ''}vote of {self.votes} at {self.drawn}{calculator}"
        return ("greedy" if self.decoding.temperature == 0 else self.drawn) + calculator


@dataclass(frozen=True)
class AnsweringOptions:
    """How students are run: so many requests at once (``batch_size``), in this ``precision``, on this ``device``."""

    batch_size: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    device: SettledDevice = "cpu"


@dataclass(frozen=True)
class Evaluation:
    """What is asked of the students."""

    splits: tuple[str, ...] = ("test",)
    """What is answered; the first is the headline; never ``train``."""
    dev: str = "dev"
    """The split from which checkpoints are chosen; it may not be one of ``splits``."""
    dev_problems: Annotated[int, Field(ge=1)] = 200
    """At most so many problems of ``dev``."""
    scored: bool = True
    """Answers are compared with gold ones. ``false`` for free text that has none: nothing is scored, checkpoints are the last ones,
    and `understudy judge` compares the answers of two arms side by side."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Requests that are answered at once, by each student. Not given: 256, or fewer, so that their keys and values take about 1 GiB
    (on a GPU two fifths of what is free)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of answering; float32 replies do not depend on the batch."""
    device: Device = "auto"
    """Where students answer: as ``training.device``."""
    attribution: bool = True
    """Where a method takes turns, its first split is answered again with the data set's own working in the place of each part in
    turn: whose errors they are. Default chosen by this project: it trains nothing, and
    asks that split once more for each part."""
    faithfulness: bool = False
    """Where a student writes a rationale before its answer, the first split is answered again after none, half of it, a corrupted
    one, and that of another problem: does the answer follow from it? Off, since it asks that split four times more."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms to be tested, ``[["answer-only", "chains"]]``: decided before anything is seen, so that p is corrected over
    them alone; every pair where it is not given. Default chosen by this project: the stricter correction."""
    by: str = "steps"
    """The field of the problems by which accuracy is broken down."""
    cluster: str = ""
    """The field of the problems by which they belong together (a template, a passage): those that share its value do not count as
    independent in intervals and tests. Without it each problem counts for itself."""

    contrast: str = ""
    """The field of the problems by which an original and its changed versions belong together, in one split or in several: the
    report then says how often an arm is right on all of them. They are also a ``cluster``, where no other is named."""

    @property
    def fields(self) -> dict[str, str]:
        """Key -> the field of the problems that it names; sets without steps have no default ``by``."""
        named = {"by": self.by, "cluster": self.cluster, "contrast": self.contrast}
        return {key: name for key, name in named.items() if name not in ("", "steps")}

    @property
    def answering(self) -> AnsweringOptions:
        """How students are run."""
        return AnsweringOptions(self.batch_size, self.precision, settle_device(self.device, "evaluation.device"))

    def __post_init__(self) -> None:
        if not self.splits or "train" in (*self.splits, self.dev):
            raise ValueError(f"splits = {list(self.splits)}, dev = {self.dev!r}: name held-out splits, not the one trained on")
        if not self.scored and (self.faithfulness or self.contrast):
            raise ValueError("scored = false: leave faithfulness and contrast out, which compare answers with gold ones")
        if self.dev in self.splits:
            raise ValueError(f"dev = {self.dev!r} is one of splits: choosing checkpoints on test data is refused; name another")


@dataclass(frozen=True)
class Role:
    """One part of a method that takes turns: who plays it, and what of the arm's student and training is its own."""

    model: Literal["trained", "untrained", "teacher", "gold"] | None = None
    """As ``model`` of the arm, which counts where it is not given; ``gold``: what the data set's own working says takes its place
    (oracle rationales, gold sub-questions). A part that shares a student with another is named by itself.
    Default chosen by this project: as the arm's. In the papers of methods with two students both are trained."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this role sets otherwise. Default chosen by this project: none, so that students of all
    methods are alike."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this role sets otherwise. Default chosen by this project: none, as for ``student``."""


@dataclass(frozen=True)
class Point:
    """The point of a sweep that this arm is."""

    of: str
    """The name of that arm, with what its other keys are in this one."""
    key: str
    """What is swept: of several keys the first."""
    value: float | str | bool
    """What it is in this one."""


@dataclass(frozen=True)
class Arm:
    """One row of the comparison: a method with its options, the chains it is given, and how its student answers.

    Arms that agree in everything that a stage depends on share it: two arms that only decode otherwise train one student.
    """

    name: str
    """Once each; results, students and pictures are named by it."""
    method: str
    """What is taught, and how it is answered: one of the methods below, or one of your own."""
    model: Literal["trained", "untrained", "teacher"] = "trained"
    """Who answers: the ``trained`` student, the ``untrained`` checkpoint that the students start from, or the ``teacher`` itself:
    before and after (SCoTD's Table 2), without training anything."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``method``."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training problems that its students learn from, at least one. What is in a fraction is in every larger one, for
    every arm and seed (SCoTD's code, arXiv 2306.14050, keeps such a list: ``LIMIT_WITH_JSON_FILE``, none in arguments.py)."""
    select: Selection = field(default_factory=Selection)
    """Which chains it is given."""
    decode: Decode = field(default_factory=Decode)
    """How its student answers."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this arm sets otherwise."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this arm sets otherwise."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """What differs for one of the method's roles: ``roles.rationale = { student = { hidden = 256 } }``,
    ``roles.solver = { model = "teacher" }``."""
    point: Point | None = None
    """Not given by hand: ``sweep = { "select.samples" = [1, 5, 10] }`` in an arm makes an arm of every value
    (docs/study.md)."""

    def role(self, name: str) -> Role:
        """What differs for the role ``name``."""
        return self.roles.get(name) or Role()

    def where_student(self, role: str) -> str:
        """The table that says what the student of ``role`` is, for messages."""
        own = f".roles.{role}" if self.role(role).student else ""
        return f"arms[{self.name!r}]{own}.student"
