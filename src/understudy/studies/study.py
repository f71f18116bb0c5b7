"""A study: one TOML file that says which problems, which teacher, which student, which arms.

[study]       name, seed, seeds, checks, plugins
[task]        name, and the options of that task
[exemplars]   solved problems that prompts show
[teacher]     engine, samples, ...
[corpus]      terms, licence
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

from understudy.core.errors import StudyError, UserError, nearest
from understudy.core.plugins import load
from understudy.core.registry import METHODS, find, module_of
from understudy.studies.cast import check_roles, models_of, parts_of, student_of_role, training_of_role
from understudy.studies.options import Arm, Corpus, Evaluation, Exemplars, Teacher
from understudy.studies.schema import build
from understudy.training.options import StudentOptions, TrainingOptions


@dataclass(frozen=True)
class Study:
    """A validated study: the keys of its [study] table, its other tables, and where it came from."""

    name: str
    """Names the run directory."""
    task: str
    """``name`` of the [task] table."""
    task_options: Mapping[str, Any]
    """The other keys of it."""
    teacher: Teacher
    """The [teacher] table; likewise those that follow."""
    student: StudentOptions
    training: TrainingOptions
    evaluation: Evaluation
    arms: tuple[Arm, ...]
    exemplars: Exemplars = field(default_factory=Exemplars)
    corpus: Corpus = field(default_factory=Corpus)
    seed: int = 0
    """Of everything that is drawn: problems, splits, sampling, the first training seed."""
    seeds: int = 1
    """Training seeds per arm: ``seed``, ``seed`` + 1, ..."""
    overlap: Literal["error", "drop"] = "error"
    """A question that is, with its choices, both in a held-out split and outside: ``error`` stops, ``drop`` takes it out of
    training and lists it."""
    checks: tuple[str, ...] = ("answer",)
    """What judges the chains: ``answer`` (equal to the gold answer), checks of your own, or several. The first one also judges
    checkpoints, students and votes, and selects the chains of an arm that names no other."""
    plugins: tuple[str, ...] = ()
    """Python files of your own that add tasks, methods, checks and objectives (docs/extending.md); relative to the study file."""
    title: str = ""
    """For the report."""
    description: str = ""
    """For the report."""
    root: Path = Path()
    """The directory that its relative paths start from."""
    file: str = ""
    """The study file as it was given; "" for the demo."""
    text: str = ""
    """What stands in it."""
    overrides: tuple[str, ...] = ()
    """The ``--set`` assignments."""

    def method(self, arm: Arm) -> Any:
        """The arm's method with its options."""
        return build(find("method", arm.method), dict(arm.options), f"arms[{arm.name!r}].options")

    def path_of(self, name: str) -> Path:
        """A path that the study names: relative to its file."""
        return (self.root / name).resolve()

    def load_plugins(self) -> dict[str, str]:
        """Make known what the study's plug-ins add; file -> digest of its text."""
        return {str(path): load(path) for path in map(self.path_of, self.plugins)}

    def make_task(self) -> Any:
        """The task with its options; tasks that read files get the study's directory as ``root``."""
        kind = find("task", self.task)
        options = dict(self.task_options)
        if "root" in {f.name for f in dataclasses.fields(kind)}:
            options["root"] = str((self.root / str(options.get("root", "."))).resolve())
        return build(kind, options, "task")


_HEAD = ("name", "seed", "seeds", "overlap", "checks", "plugins", "title", "description")
_OPTIONS = ("exemplars", "teacher", "corpus", "student", "training", "evaluation")
_TABLES = ("study", "task", *_OPTIONS, "arms")


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
        **{name: tables.get(name, {}) for name in _OPTIONS},
        "arms": arms,
        **head,
    }
    if "name" not in head:
        raise StudyError("study: name must be given")
    return build(Study, body, "")


def _validate(study: Study) -> None:
    study.load_plugins()
    _validate_names(study.arms)
    if file_name(study.name) == "" or Path(study.name).name != study.name:
        raise StudyError(f"study.name = {study.name!r}: it names a directory, so it needs a letter or digit and no slash")
    if not study.checks or len(set(study.checks)) < len(study.checks):
        raise StudyError(f"study.checks = {list(study.checks)}: name at least one check, and each once")
    for name in study.checks:
        find("check", name)
    if study.seeds < 1:
        raise StudyError(f"study.seeds = {study.seeds}: at least 1")
    if study.teacher.engine == "procedural" and not hasattr(find("task", study.task), "work"):
        raise StudyError(
            f"teacher.engine = 'procedural': the task {study.task!r} is no world, it has no teacher of its own; take recorded "
            "chains or a transformers model"
        )
    study.make_task()
    asks = build(find("method", study.teacher.method), dict(study.teacher.options), "teacher.options")
    if not hasattr(asks, "sample"):
        able = [name for name in METHODS if hasattr(find("method", name), "sample")]
        raise StudyError(f"teacher.method = {study.teacher.method!r}: it asks no teacher; take one of {', '.join(able)}")
    if study.teacher.engine == "endpoint" and study.teacher.api == "completions" and asks.format.style == "messages":
        raise StudyError('teacher.options.format.style = "messages": these need teacher.api = "chat"')
    for arm in study.arms:
        _validate_arm(study, arm)
    names = [arm.name for arm in study.arms]
    for name in (name for pair in study.evaluation.compare for name in pair):
        if name not in names:
            raise StudyError(f"evaluation.compare: there is no arm {name!r}{nearest(name, names)} (there are: {', '.join(names)})")


def _validate_arm(study: Study, arm: Arm) -> None:
    """The arm's options are right, and there is a model that can answer by its method in every part."""
    where = f"arms[{arm.name!r}]"
    method = study.method(arm)
    if (check := arm.select.check or study.checks[0]) not in study.checks:
        known = f"{nearest(check, study.checks)} (study.checks: {', '.join(study.checks)})"
        raise StudyError(f"{where}.select.check = {check!r}: the study has no such check{known}")
    if not hasattr(method, "solve"):
        raise StudyError(f"{where}: method {arm.method!r} only asks a teacher; set it as teacher.method")
    if method.format.numbers == "pointers" and (kind := getattr(study.make_task(), "kind", "number")) != "number":
        raise StudyError(f'{where}.options.format.numbers = "pointers": these need task.kind = "number", not {kind!r}')
    check_roles(arm, method)
    for part, model in models_of(arm, method).items():
        role = parts_of(method)[part]
        student = student_of_role(study, arm, role)
        module_of("objective", training_of_role(study, arm, role).objective)  # known, though nothing is imported yet
        at = f"{where}.roles.{part}" if len(parts_of(method)) > 1 else where
        if model == "trained":
            if not method.roles:
                raise StudyError(f'{where}: method {arm.method!r} trains nothing; set model = "untrained" or model = "teacher"')
            if method.format.style == "messages" and student.checkpoint is None:
                raise StudyError(f'{where}: format.style = "messages": a student from scratch has no chat template; use "raw"')
        elif model == "untrained" and student.checkpoint is None:
            raise StudyError(f'{at}.model = "untrained": there is no student.checkpoint; before training it has learned nothing')
        elif model == "teacher" and study.teacher.engine == "recorded":
            raise StudyError(f'{at}.model = "teacher": recorded chains cannot be asked; take an endpoint or a checkpoint')
        if model == "teacher" and study.teacher.engine != "transformers":
            _validate_remote(study.teacher, arm, where)


def _validate_remote(teacher: Teacher, arm: Arm, where: str) -> None:
    """Nothing is asked of a teacher that is no model on this machine which only such a model can do."""
    asked = f'model = "teacher" asks teacher.engine = {teacher.engine!r}'
    if arm.decode.beams > 1:
        raise StudyError(f"{where}.decode.beams = {arm.decode.beams}: only models on this machine search with beams; {asked}")
    if arm.decode.calculator and (teacher.engine, teacher.api) != ("endpoint", "completions"):
        raise StudyError(
            f"{where}.decode.calculator = true: only models on this machine and endpoints with teacher.api = 'completions' can be "
            f"given values while they write; {asked}, teacher.api = {teacher.api!r}"
        )


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
