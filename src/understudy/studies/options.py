"""The tables of a study file other than [task], [student] and [training]: who teaches, what is shown, asked and compared."""

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
    """Who writes the chains. The keys below apply to every engine; each engine adds its own (the tables that follow)."""

    engine: str = "procedural"
    """``procedural``: the world's own teacher; ``recorded``: chains that you already have; ``transformers``: a model on this
    machine; ``endpoint``: an OpenAI-compatible server; or an engine of your own (docs/extending.md)."""
    samples: Annotated[int, Field(ge=1)] = 30
    """Chains per problem; 30 is SCoTD's N (arXiv 2306.14050, README of the authors' code)."""
    greedy: bool = False
    """Also write one greedy chain per problem (SCoTD's Greedy-CoT). Only arms with ``select = { samples = "greedy" }`` take it.
    The procedural teacher has no temperature, so it writes another draw."""
    allocation: Allocation | None = None
    """Spread the same total of chains unevenly: first a few for each problem, then more where the answers disagree or none was
    right, ``{ first = 4 }``. By default every problem gets ``samples``."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Sampling temperature; 1.0 is SCoTD's (arXiv 2306.14050, its text)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw only from the likeliest tokens that together have this probability; 1.0: from all."""
    method: str = "scotd"
    """The method whose prompt the teacher gets."""
    options: Mapping[str, Any] = unkeyed(factory=dict)
    """Options of ``method``."""
    prompts: str | None = unkeyed(None)
    """A directory of your own prompts, relative to the study file. Each replaces the built-in prompt of the same name
    (docs/prompts.md). By default the built-in ones are used."""
    first_look: Annotated[int, Field(ge=0)] = unkeyed(50)
    """After this many replies, print a quality report, and stop sampling if more than nine in ten have no answer, are cut off or
    refused; 0: never look."""
    price: Price | None = unkeyed(None)
    """What tokens cost, ``{ input = 0.5, output = 1.5 }``; ``understudy try`` then says what the run will cost."""
    budget: Budget | None = unkeyed(None)
    """The most that the run may spend, ``{ money = 5.0, tokens = 1_000_000, requests = 10_000 }``, over all runs of the command.
    When it is spent, the sampling stops, and the chains received so far are the corpus."""
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
        """Make the method whose prompt the teacher gets."""
        return build(find("method", self.method), dict(self.options), "teacher.options")

    @property
    def chats(self) -> bool:
        """Whether the method's prompts are chat messages."""
        return bool(self.make_method().format.style == "messages")

    def make_engine(self) -> EngineOptions:
        """Build the options of the teacher's engine, as the study gives them."""
        return cast(EngineOptions, build(find("engine", self.engine), dict(self.engine_options), "teacher"))

    def check_engine(self, task: Any) -> EngineOptions:
        """Build the options of the engine. Raises StudyError if the teacher's method cannot ask that engine about ``task``."""
        engine = self.make_engine()
        try:
            engine.check(task, chats=self.chats)
        except ValueError as error:
            raise StudyError(f"teacher.{error}") from None
        return engine

    def prepare_engine(self, root: Path, task: Any, *, answers: bool = False) -> EngineOptions:
        """Build the options of the engine with paths that can be opened, starting from ``root``. Raises StudyError if a path cannot
        be opened, or if ``answers`` are needed and the engine gives none."""
        engine = self.check_engine(task)
        if answers and not engine.asks:
            raise StudyError(f"teacher.engine = {self.engine!r}: cannot answer; choose an endpoint or a checkpoint")
        try:
            return engine.prepare(root, chats=self.chats)
        except CheckpointError as error:
            raise StudyError(f"teacher.checkpoint = {engine.checkpoint!r}: {error}") from error

    def read_prompts(self, root: Path, method: str) -> dict[str, str]:
        """Read the prompts of ``method``: name -> text. The teacher's own, whose path starts from ``root``, replace the built-in
        ones."""
        return load_prompts(method, (root / self.prompts).resolve() if self.prompts else None)


@dataclass(frozen=True)
class Corpus:
    """What must accompany the chains when they leave this machine: ``understudy export`` refuses to run without both keys.

    They change no result.
    """

    terms: str = ""
    """The terms under which the teacher's texts may be used: its provider's, or its model licence."""
    licence: str = ""
    """The licence of the questions."""


@dataclass(frozen=True)
class Exemplars:
    """Solved problems that prompts show: those of the teacher, and of the baseline ``few_shot``.

    They are taken out of training and evaluation: their split is "exemplars".
    """

    n: Annotated[int, Field(ge=0)] = 0
    """How many to choose, by the study's seed, among the training problems that have a rationale."""
    file: str | None = unkeyed(None)
    """Or a file of them, for instance written by hand, with rows of ``question``, ``answer``, ``rationale`` (``choices``,
    ``context``); relative to the study file."""
    least: Annotated[int, Field(ge=0)] | None = None
    """Each prompt shows a random number of them, from this to all (SCoTD drops down to 3: ``hf_datasets.__getitem__`` of the
    authors' code). Not given: each prompt shows all."""
    shuffle: bool = True
    """Draw a new order for each sample path (``SHUFFLE_COT_PROMPTS``: train.yaml of the authors' code)."""

    def __post_init__(self) -> None:
        if self.n and self.file is not None:
            raise ValueError(f"n = {self.n} and file = {self.file!r}: set n to choose from training, or file to give your own")


@dataclass(frozen=True)
class Decode:
    """How an arm's student answers: greedily once, by beam search, or by a vote over sampled paths (self-consistency)."""

    votes: Annotated[int, Field(ge=1)] = 1
    """Sampled paths per problem (1: SAMPLE_ROUNDS in the README of SCoTD's authors)."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    """Not given: 0 for one vote and 0.7 for several (from small trials here; the self-consistency papers use 0.5 to 0.7; SCoTD's
    README evaluates at 0)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw only from the likeliest tokens that together have this probability; 1.0: from all (SCoTD's authors set none)."""
    weighted: bool = False
    """Take the likelihood-weighted vote as the arm's result; both votes are always reported. Off: the majority, as in
    simple_main.py of SCoTD's authors."""
    beams: Annotated[int, Field(ge=1)] = 1
    """More than 1: beam search with this many beams, for one vote at temperature 0 by a model on this machine (``NUM_BEAMS``,
    1 in arguments.py of SCoTD's authors)."""
    calculator: bool = False
    """Calculate the values of expressions marked as in GSM8K while the answer is written: ``<<48/2=`` is followed by ``24>>``
    (arXiv 2110.14168). Only for a model on this machine, and not with beams. Default chosen by this project: off, because it
    matters only if students were taught on marked chains."""

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
        """The temperature and top_p, as written in the results."""
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
    """How students are run: ``batch_size`` requests at once, in which ``precision``, on which ``device``."""

    batch_size: int | None = unkeyed(None)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: SettledDevice = "cpu"


@dataclass(frozen=True)
class Evaluation:
    """What the students are asked."""

    splits: tuple[str, ...] = ("test",)
    """The splits to answer, never ``train``; the first is the headline."""
    dev: str = "dev"
    """The split on which checkpoints are chosen; it may not be one of ``splits``."""
    dev_problems: Annotated[int, Field(ge=1)] = 200
    """Use at most this many problems of ``dev``."""
    scored: bool = True
    """Compare answers with gold ones. ``false`` is for free text without gold answers: nothing is scored, the last checkpoints are
    kept, and `understudy judge` compares the answers of two arms side by side."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """How many requests each student answers at once. Not given: 256, or fewer, so that their keys and values take about 1 GiB (on
    a GPU, two fifths of what is free)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The precision of answering; float32 replies do not depend on the batch."""
    device: Device = "auto"
    """Where students answer: as ``training.device``."""
    attribution: bool = True
    """For methods that take turns, show which part makes the errors: answer the first split again with the data set's own working
    in place of each part in turn. Default chosen by this project: it trains nothing, and asks that split once more for each
    part."""
    faithfulness: bool = False
    """For students that write a rationale before their answer, test whether the answer follows from it: answer the first split
    again after no rationale, half of it, a corrupted one, and that of another problem. Off, since it asks that split four more
    times."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms to test, ``[["answer-only", "chains"]]``. Name them before you see any result: p is corrected over these pairs
    only. Not given: every pair. Default chosen by this project: the stricter correction."""
    by: str = "steps"
    """The field of the problems by which accuracy is broken down."""
    cluster: str = ""
    """The field of the problems that says which belong together (a template, a passage): problems that share its value do not count
    as independent in intervals and tests. Not given: each problem counts for itself."""

    contrast: str = ""
    """The field of the problems that links an original to its changed versions, in one split or in several: the report then says
    how often an arm is right on all of them. It is also the ``cluster``, unless you name another."""

    @property
    def fields(self) -> dict[str, str]:
        """Key -> the field of the problems that it names. Data sets without steps have no default ``by``."""
        named = {"by": self.by, "cluster": self.cluster, "contrast": self.contrast}
        return {key: name for key, name in named.items() if name not in ("", "steps")}

    @property
    def answering(self) -> AnsweringOptions:
        """How students are run."""
        return AnsweringOptions(self.batch_size, self.precision, settle_device(self.device, "evaluation.device"))

    def __post_init__(self) -> None:
        if not self.splits or "train" in (*self.splits, self.dev) or len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits = {list(self.splits)}, dev = {self.dev!r}: name held-out splits, once each, and not train")
        if not self.scored and (self.faithfulness or self.contrast):
            raise ValueError("scored = false: leave faithfulness and contrast out, which compare answers with gold ones")
        if self.dev in self.splits:
            raise ValueError(f"dev = {self.dev!r} is one of splits: choosing checkpoints on test data is refused; name another")


@dataclass(frozen=True)
class Role:
    """One part of a method that takes turns: who plays it, and how its student and training differ from the arm's."""

    model: Literal["trained", "untrained", "teacher", "gold"] | None = None
    """As ``model`` of the arm, which applies if this is not given. ``gold``: the data set's own working takes its place (oracle
    rationales, gold sub-questions). A part that shares a student with another is named by itself. Default chosen by this project:
    the arm's. In the papers of methods with two students both are trained."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this role overrides. Default chosen by this project: none, so that the students of all methods are
    alike."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this role overrides. Default chosen by this project: none, as for ``student``."""


@dataclass(frozen=True)
class Point:
    """The point of a sweep that this arm stands for."""

    of: str
    """The name of the arm that sweeps, with the values of its other keys at this point."""
    key: str
    """The key that is swept; of several keys, the first."""
    value: float | str | bool
    """The value of ``key`` at this point."""


@dataclass(frozen=True)
class Arm:
    """One row of the comparison: a method with its options, the chains it gets, and how its student answers.

    Arms share a stage if they agree in everything it depends on: two arms that differ only in decoding train one student.
    """

    name: str
    """A unique name; results, students and pictures are named after it."""
    method: str
    """What is taught and how questions are answered: one of the methods below, or one of your own."""
    model: Literal["trained", "untrained", "teacher"] = "trained"
    """Who answers: the ``trained`` student, the ``untrained`` checkpoint that the students start from, or the ``teacher`` itself.
    The last two train nothing: they show before and after (SCoTD's Table 2)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``method``."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training problems that its students learn from, at least one problem. Every fraction is part of every larger
    one, for every arm and seed (SCoTD's code, arXiv 2306.14050, keeps such a list: ``LIMIT_WITH_JSON_FILE``, none in
    arguments.py)."""
    select: Selection = field(default_factory=Selection)
    """Which chains it gets."""
    decode: Decode = field(default_factory=Decode)
    """How its student answers."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this arm overrides."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this arm overrides."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """What differs for one of the method's roles: ``roles.rationale = { student = { hidden = 256 } }``,
    ``roles.solver = { model = "teacher" }``."""
    point: Point | None = None
    """Not for you to set: ``sweep = { "select.samples" = [1, 5, 10] }`` in an arm makes one arm for each value
    (docs/study.md)."""

    def role(self, name: str) -> Role:
        """Return what differs for the role ``name``."""
        return self.roles.get(name, Role())

    def locate(self, table: Literal["student", "training"], role: str) -> str:
        """Name the table that decides about the student of ``role``, or about its training, for messages."""
        role_part = f".roles.{role}" if getattr(self.role(role), table) else ""
        return f"arms[{self.name!r}]{role_part}.{table}"
