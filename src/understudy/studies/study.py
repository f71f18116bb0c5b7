"""A study: one TOML file that says which problems, which teacher, which student, which arms.

[study]       name, seed, seeds, checks, plugins
[task]        name, and the options of that task
[exemplars]   solved problems that prompts show
[teacher]     engine, samples, ..., and the keys of that engine
[corpus]      terms, licence
[student]     what every arm trains          (understudy.training.options.StudentOptions)
[training]    how every arm trains it        (understudy.training.options.TrainingOptions)
[evaluation]  splits, limits
[[arms]]      name, method, options, select, decode, and what differs from [training]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.core.plugins import load
from understudy.core.registry import find
from understudy.studies.options import Arm, Corpus, Evaluation, Exemplars, Teacher
from understudy.studies.schema import build, keys_of
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
    seeds: Annotated[int, Field(ge=1)] = 1
    """Training seeds per arm: ``seed``, ``seed`` + 1, ..."""
    overlap: Literal["error", "drop"] = "error"
    """A question that is, with its choices, both in a held-out split and outside: ``error`` stops, ``drop`` takes it out of
    training and lists it."""
    checks: tuple[str, ...] = ("answer",)
    """What judges chains: ``answer`` (equal to the gold), or checks of your own. The first one also judges checkpoints, students
    and votes; every verdict is kept under its check's name, and an arm selects by any of them (``select.check``)."""
    plugins: tuple[str, ...] = ()
    """Python files of your own that add engines, tasks, methods, checks and objectives (docs/extending.md); relative to the study
    file."""
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

    def teacher_method(self) -> Any:
        """The method whose prompt is put to the teacher."""
        return build(find("method", self.teacher.method), dict(self.teacher.options), "teacher.options")

    def make_engine(self) -> Any:
        """The options of the teacher's engine, as they stand in the study."""
        return build(find("engine", self.teacher.engine), dict(self.teacher.engine_options), "teacher")

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
        if "root" in keys_of(kind):
            options["root"] = str((self.root / str(options.get("root", "."))).resolve())
        return build(kind, options, "task")
