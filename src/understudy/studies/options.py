"""The tables of a study file but [task], [student] and [training]: who teaches, what is shown, asked and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.core.asks import Decoding
from understudy.corpus.formats import check_name
from understudy.selection.select import Selection

_NEEDED = {
    "chains": "files of chains",
    "checkpoint": "the directory of a model",
    "url": 'an address, e.g. "http://localhost:8000/v1"',
    "model": "the model's name at its address",
}


@dataclass(frozen=True)
class Price:
    """Money per million tokens that are read (``input``) and written (``output``), in whatever currency."""

    input: float
    output: float

    def __post_init__(self) -> None:
        if self.input < 0 or self.output < 0:
            raise ValueError(f"input = {self.input}, output = {self.output}: from 0 on")

    def of(self, read: float, written: float) -> float:
        """What so many tokens cost."""
        return (read * self.input + written * self.output) / 1e6


@dataclass(frozen=True)
class Teacher:
    """Who writes the chains.

    ``engine``: ``procedural`` (the world's own teacher), ``recorded`` (chains that somebody already has), ``transformers`` (a
    model directory on this machine) or ``endpoint`` (an OpenAI-compatible server). ``samples``: chains per problem; 30 is
    SCoTD's N (arXiv 2306.14050, README of the authors' code). ``temperature`` 1.0 is the SCoTD preset, unverified (their code
    takes it from a configuration; second-hand notes say 1.0). ``method``: whose question is put to the teacher.
    """

    engine: Literal["procedural", "recorded", "transformers", "endpoint"] = "procedural"
    samples: int = 30
    temperature: float = 1.0
    top_p: float = 1.0
    method: str = "scotd"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``method``."""
    slip: float = 0.05
    """procedural: chance of a wrong result in a step."""
    misread: float = 0.5
    """procedural: chance that a chain reads an ambiguous verb the wrong way."""
    checkpoint: str | None = None
    """transformers: the model's directory."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """transformers: what its weights are loaded as."""
    url: str = ""
    """endpoint: its address with ``/v1``."""
    model: str = ""
    """endpoint: the model's name there."""
    api: Literal["completions", "chat"] = "completions"
    """endpoint: raw prompts, or messages (a raw prompt becomes one user message)."""
    key_env: str | None = None
    """endpoint: the environment variable that holds the key; the key itself is never written."""
    concurrency: int = 16
    """endpoint: requests at once."""
    timeout: float = 120.0
    """endpoint: seconds for one answer."""
    first_look: int = 50
    """After so many replies a quality report is printed, and the sampling stops where nearly all are useless; 0 never looks."""
    retries: int = 4
    """endpoint: further tries after a timeout, a broken connection, 429 or 5xx."""
    price: Price | None = None
    """endpoint: what tokens cost; `understudy try` says what the run will."""
    identity: str | None = None
    """endpoint: what names the model in the ledger; its url and name by default."""
    chains: tuple[str, ...] = ()
    """recorded: files of chains in any of the formats; relative to the study file."""
    format: str = ""
    """recorded: their format, one of `understudy.corpus.formats.NAMES`; "" reads it off each file."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """recorded: our field -> the rows' field, where the names differ."""
    prefer: Literal["text", "recorded"] = "text"
    """recorded: which answer counts where the text states another than the row does."""

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("concurrency", 1), ("retries", 0), ("first_look", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: at least {least}")
        if self.format:
            check_name(self.format)
        needs = {"recorded": ("chains",), "transformers": ("checkpoint",), "endpoint": ("url", "model")}
        for name in needs.get(self.engine, ()):
            if not getattr(self, name):
                raise ValueError(f'{name} must be given: an engine "{self.engine}" needs {_NEEDED[name]}')


@dataclass(frozen=True)
class Corpus:
    """What must go along with the chains when they leave this machine; it decides nothing that is computed.

    ``terms``: under what terms the teacher's texts may be used (its provider's, or its model licence). ``licence``: of the
    questions. Without both `understudy export` refuses.
    """

    terms: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Exemplars:
    """Solved problems that prompts show: the teacher's, and those of the baseline ``few_shot``.

    ``n`` of them are chosen by the study's seed among the training problems that have a rationale, or are the rows of ``file``
    (question, answer, rationale; relative to the study file). They leave training and evaluation: their split is "exemplars".
    Each prompt shows a random number from ``least`` to all (SCoTD drops down to 3: hf_datasets.__getitem__ of the authors'
    code), in an order that is drawn anew for each sample path where ``shuffle`` says so (SHUFFLE_COT_PROMPTS: train.yaml).
    """

    n: int = 0
    file: str | None = None
    least: int | None = None
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.n < 0 or (self.least is not None and self.least < 0):
            raise ValueError(f"n = {self.n}, least = {self.least}: from 0 on")
        if self.n and self.file is not None:
            raise ValueError(f"n = {self.n} and file = {self.file!r}: choose them from training, or give them, not both")


@dataclass(frozen=True)
class Decode:
    """How an arm's student answers: greedy once, or ``votes`` sampled paths and the majority (self-consistency).

    ``temperature`` 0.7 for votes: FEASIBILITY-scale trials here; the self-consistency papers use 0.5 to 0.7. ``weighted``
    makes the likelihood-weighted vote the arm's result; both are always reported.
    """

    votes: int = 1
    temperature: float | None = None
    """None: 0 for one vote, 0.7 for several."""
    top_p: float = 1.0
    weighted: bool = False

    def __post_init__(self) -> None:
        if self.votes < 1:
            raise ValueError(f"votes = {self.votes}: at least 1")
        if self.votes > 1 and self.decoding.temperature == 0:
            raise ValueError("temperature = 0 with several votes: they would all be the same; give a temperature")

    @property
    def decoding(self) -> Decoding:
        default = 0.0 if self.votes == 1 else 0.7
        return Decoding(default if self.temperature is None else self.temperature, self.top_p)

    @property
    def label(self) -> str:
        """The ``decoding`` column of the results."""
        drawn = f"T={self.decoding.temperature:g}" + (f" top_p={self.top_p:g}" if self.top_p < 1 else "")
        if self.votes > 1:
            return f"{'weighted ' if self.weighted else ''}vote of {self.votes} at {drawn}"
        return "greedy" if self.decoding.temperature == 0 else drawn


@dataclass(frozen=True)
class Evaluation:
    """What is asked of the students.

    ``splits``: the splits to answer; the first is the headline. ``dev``: the split from which checkpoints are chosen, at
    most ``dev_problems`` of it; it may not be one of ``splits``. ``baseline``: the arm that every other is compared with
    (default: the first). ``reference``: problems are also compared by the meta key ``by`` (accuracy by number of steps).
    """

    splits: tuple[str, ...] = ("test",)
    dev: str = "dev"
    dev_problems: int = 200
    batch_size: int = 256
    precision: Literal["float32", "bfloat16"] = "float32"
    by: str = "steps"
    resamples: int = 10_000
    """Bootstrap and permutation resamples."""

    def __post_init__(self) -> None:
        if not self.splits or "train" in (*self.splits, self.dev):
            raise ValueError(
                f"splits = {list(self.splits)}, dev = {self.dev!r}: name held-out splits; train is what students learn"
            )
        for name, least in (("dev_problems", 1), ("batch_size", 1), ("resamples", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: at least {least}")
        if self.dev in self.splits:
            raise ValueError(
                f"dev = {self.dev!r} is also one of splits = {list(self.splits)}: choosing checkpoints on test data is "
                "refused; name another split"
            )


@dataclass(frozen=True)
class Arm:
    """One row of the comparison: a method with its options, the chains it is given, and how its student answers.

    ``model`` is who answers: the student that was ``trained`` for this arm, the ``untrained`` checkpoint that the students
    start from, or the ``teacher`` itself: before and after (SCoTD's Table 2), without training anything.
    """

    name: str
    method: str
    model: Literal["trained", "untrained", "teacher"] = "trained"
    options: Mapping[str, Any] = field(default_factory=dict)
    select: Selection = field(default_factory=Selection)
    decode: Decode = field(default_factory=Decode)
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this arm sets otherwise."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this arm sets otherwise."""
