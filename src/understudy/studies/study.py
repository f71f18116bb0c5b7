"""A study: one TOML file that says which problems, which teacher, which student, which arms.

[study]       name, seed, seeds
[task]        name = "diary" | "files", and its options
[teacher]     engine, samples, ...
[student]     what every arm trains          (understudy.training.options.StudentOptions)
[training]    how every arm trains it        (understudy.training.options.TrainingOptions)
[evaluation]  splits, limits
[[arms]]      name, method, options, select, decode, and what differs from [training]
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.core.asks import Decoding
from understudy.core.errors import StudyError, UserError, nearest
from understudy.core.registry import find
from understudy.selection.select import Selection
from understudy.studies.schema import build, plain
from understudy.training.options import StudentOptions, TrainingOptions

_NEEDED = {
    "chains": "files of chains",
    "checkpoint": "the directory of a model",
    "url": 'an address, e.g. "http://localhost:8000/v1"',
    "model": "the model's name at its address",
}


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
    """endpoint: after so many replies the sampling stops where nearly all of them are useless; 0 never looks."""
    retries: int = 4
    """endpoint: further tries after a timeout, a broken connection, 429 or 5xx."""
    identity: str | None = None
    """endpoint: what names the model in the ledger; its url and name by default."""
    chains: tuple[str, ...] = ()
    """recorded: JSONL files of chains, or corpora (.parquet); relative to the study file."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """recorded: our field -> the JSONL's field, where the names differ."""
    prefer: Literal["text", "recorded"] = "text"
    """recorded: which answer counts where the text states another than the row does."""

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("concurrency", 1), ("retries", 0), ("first_look", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: at least {least}")
        needs = {"recorded": ("chains",), "transformers": ("checkpoint",), "endpoint": ("url", "model")}
        for name in needs.get(self.engine, ()):
            if not getattr(self, name):
                raise ValueError(f'{name} must be given: an engine "{self.engine}" needs {_NEEDED[name]}')


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
    """One row of the comparison: a method with its options, the chains it is given, and how its student answers."""

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    select: Selection = field(default_factory=Selection)
    decode: Decode = field(default_factory=Decode)
    training: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [training] that this arm sets otherwise."""
    student: Mapping[str, Any] = field(default_factory=dict)
    """Keys of [student] that this arm sets otherwise."""


@dataclass(frozen=True)
class Study:
    """A validated study. ``root`` is the directory that its relative paths start from; ``text`` its file."""

    name: str
    task: str
    task_options: Mapping[str, Any]
    teacher: Teacher
    student: StudentOptions
    training: TrainingOptions
    evaluation: Evaluation
    arms: tuple[Arm, ...]
    seed: int = 0
    seeds: int = 1
    overlap: Literal["error", "drop"] = "error"
    title: str = ""
    description: str = ""
    root: Path = Path()
    file: str = ""
    """The study file as it was given; "" for the demo."""
    text: str = ""
    overrides: tuple[str, ...] = ()

    def method(self, arm: Arm) -> Any:
        """The arm's method with its options."""
        return build(find("method", arm.method), dict(arm.options), f"arms[{arm.name!r}].options")

    def training_of(self, arm: Arm) -> TrainingOptions:
        return build(TrainingOptions, plain(self.training) | dict(arm.training), f"arms[{arm.name!r}].training")

    def student_of(self, arm: Arm) -> StudentOptions:
        student = build(StudentOptions, plain(self.student) | dict(arm.student), f"arms[{arm.name!r}].student")
        if student.checkpoint is None:
            return student
        return dataclasses.replace(student, checkpoint=str(self.path_of(student.checkpoint)))

    def path_of(self, name: str) -> Path:
        """A path that the study names: relative to its file."""
        return (self.root / name).resolve()

    def make_task(self) -> Any:
        """The task with its options; tasks that read files get the study's directory as ``root``."""
        kind = find("task", self.task)
        options = dict(self.task_options)
        if "root" in {f.name for f in dataclasses.fields(kind)}:
            options["root"] = str((self.root / str(options.get("root", "."))).resolve())
        return build(kind, options, "task")


_HEAD = ("name", "seed", "seeds", "overlap", "title", "description")
_TABLES = ("study", "task", "teacher", "student", "training", "evaluation", "arms")


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and validate the study file ``path``; ``overrides`` are ``a.b=c`` assignments (``--set``).

    Raises StudyError naming the file, the key and the nearest known one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (FileNotFoundError, IsADirectoryError):
        raise StudyError(f"{path}: there is no such study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not a TOML file: {error}") from None
    try:
        for override in overrides:
            _set(tables, override)
        study = dataclasses.replace(_study(tables), root=path.parent, file=str(path), text=text, overrides=tuple(overrides))
        _validate(study)
        return study
    except UserError as error:
        raise StudyError(f"{path}: {error}") from None


def _study(tables: Mapping[str, Any]) -> Study:
    for key in tables:
        if key not in _TABLES:
            raise StudyError(f"unknown table [{key}]{nearest(key, _TABLES)} (known: {', '.join(_TABLES)})")
    head = dict(tables.get("study", {}))
    for key in head:
        if key not in _HEAD:
            raise StudyError(f"study: unknown key {key!r}{nearest(key, _HEAD)} (known: {', '.join(_HEAD)})")
    task = dict(tables.get("task", {}))
    if "name" not in task:
        raise StudyError("task: name must be given")
    arms = tables.get("arms", [])
    if not isinstance(arms, list) or not arms:
        raise StudyError("arms: at least one [[arms]] table must be given")
    body = {
        "task": task.pop("name"),
        "task_options": task,
        **{name: tables.get(name, {}) for name in ("teacher", "student", "training", "evaluation")},
        "arms": arms,
        **head,
    }
    if "name" not in head:
        raise StudyError("study: name must be given")
    return build(Study, body, "")


def _validate(study: Study) -> None:
    _validate_names(study.arms)
    if file_name(study.name) == "" or Path(study.name).name != study.name:
        raise StudyError(f"study.name = {study.name!r}: it names a directory, so it needs a letter or digit and no slash")
    if study.seeds < 1:
        raise StudyError(f"study.seeds = {study.seeds}: at least 1")
    if study.teacher.engine == "procedural" and not hasattr(find("task", study.task), "solve"):
        raise StudyError(
            f"teacher.engine = 'procedural': the task {study.task!r} is no world, it has no teacher of its own; take recorded "
            "chains or a transformers model"
        )
    study.make_task()
    build(find("method", study.teacher.method), dict(study.teacher.options), "teacher.options")
    for arm in study.arms:
        study.method(arm), study.training_of(arm), study.student_of(arm)


def _validate_names(arms: Sequence[Arm]) -> None:
    """Results, students and pictures are named by the arms, so each needs a name of its own, also as a file."""
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"arms: two arms are called {name!r}; give each a name of its own")
    links: dict[str, str] = {}
    for name in names:
        link = file_name(name)
        if not link:
            raise StudyError(f"arms: the name {name!r} has no letter or digit; results and files are named by it")
        if link in links:
            raise StudyError(f"arms: {links[link]!r} and {name!r} would both be the file {link!r}; name them apart")
        links[link] = name


def file_name(name: str) -> str:
    """What an arm's name becomes in the name of a file: letters, digits, dots and underscores, parted by single hyphens."""
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in name).split()).strip(".")


def _set(tables: dict[str, Any], override: str) -> None:
    """Apply one ``a.b=c`` assignment; ``c`` is a TOML value, or a plain string where it is none."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {override!r}: must look like table.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *parents, last = key.strip().split(".")
    here: Any = tables
    for i, part in enumerate(parents):
        at = ".".join(parents[: i + 1])
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise StudyError(f"--set {override!r}: {at} is not one of the {len(here)} entries (counted from 0)")
            here = here[int(part)]
        else:
            here = here.setdefault(part, {})
        if not isinstance(here, dict | list):
            raise StudyError(f"--set {override!r}: {at} is {here!r}, not a table")
    if isinstance(here, list):
        raise StudyError(f"--set {override!r}: {'.'.join(parents)} is a list; name an entry of it, as in arms.0.name")
    here[last] = parsed
