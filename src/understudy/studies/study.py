"""A study: one TOML file that says which problems, which teacher, which student, which arms.

[study]       name, seed, seeds, checks, relabels, plugins
[task]        name, and the options of that task
[exemplars]   solved problems that prompts show
[teacher]     engine, samples, ..., and the keys of that engine
[corpus]      terms, licence
[student]     what every arm trains          (understudy.training.options.StudentOptions)
[training]    how every arm trains it        (understudy.training.options.TrainingOptions)
[evaluation]  splits, limits
[[arms]]      name, method, options, select, decode, and what differs from [training]

The functions below say who plays which part of a method: a student that the arm trains, the teacher, an untrained checkpoint, or
gold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.core.errors import StudyError
from understudy.core.options import plain
from understudy.core.plugins import load
from understudy.core.protocols import MethodWithParts
from understudy.core.registry import find
from understudy.studies.options import Arm, Corpus, Evaluation, Exemplars, Teacher
from understudy.studies.schema import build, list_keys, refuse_unknown
from understudy.training.options import StudentOptions, TrainingOptions


@dataclass(frozen=True)
class Study:
    """A validated study: the keys of its [study] table, its other tables, and where it came from."""

    name: str
    """Names the run directory."""
    task: str
    """``name`` of the [task] table."""
    task_options: Mapping[str, Any]
    """The other keys of [task]."""
    teacher: Teacher
    """The [teacher] table; the fields that follow are tables, too."""
    student: StudentOptions
    training: TrainingOptions
    evaluation: Evaluation
    arms: tuple[Arm, ...]
    exemplars: Exemplars = field(default_factory=Exemplars)
    corpus: Corpus = field(default_factory=Corpus)
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    """The seed of everything that is drawn: problems, splits, sampling, the first training seed."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Training seeds per arm: ``seed``, ``seed`` + 1, ... If not given, a study file that compares arms and trains one has 3, since
    one seed cannot show which method is better."""
    overlap: Literal["error", "drop", "drop-near"] = "error"
    """What to do with a question that is, with its choices, both in a held-out split and outside: ``error`` stops, ``drop`` takes
    it out of training and lists it. ``drop-near`` also takes out questions that are near a held-out one (docs/study.md); otherwise
    these are counted and listed."""
    near_limit: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The largest share of the held-out questions that may be near one outside; with more, the study stops. Default chosen by this
    project: they are only counted and listed."""
    checks: tuple[str, ...] = ("answer",)
    """What judges chains: ``answer`` (equal to the gold), ``arithmetic``, ``leak``, ``form``, ``majority``, ``likelihood``,
    ``judged`` (docs/checks.md), or checks of your own. The first one also judges checkpoints, students and votes. Every verdict is
    kept under its check's name, and an arm selects by any of them (``select.check``)."""
    relabels: str | None = None
    """A JSON Lines file of verdicts on single chains, relative to the study file. Verdicts of people (``understudy view RUN --rater
    NAME`` writes them) replace those of the first check; verdicts of an engine (``understudy judge RUN --chains --by FILE``) are
    those of the check ``judged``. By default there is none."""
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
    """The study file, or the preset's name, as it was given; "" for the demo."""
    profile: str = ""
    """The profile that was chosen; "" for a file without profiles."""
    text: str = ""
    """The text of the file."""
    overrides: tuple[str, ...] = ()
    """The ``--set`` assignments."""

    def method(self, arm: Arm) -> Any:
        """Build the arm's method with its options."""
        return build(find("method", arm.method), dict(arm.options), f"arms[{arm.name!r}].options")

    def chooses_checkpoint(self, arm: Arm, role: str) -> bool:
        """Whether the best of several checkpoints of the role's student is kept, by dev: only if the role answers alone."""
        return self.evaluation.scored and len(self.method(arm).roles) == 1 and build_training(self, arm, role).checks > 1

    def resolve(self, name: str) -> Path:
        """Resolve a path that the study names; it is relative to the study file."""
        return (self.root / name).resolve()

    def load_plugins(self) -> dict[str, str]:
        """Register what the study's plug-ins add, and return file -> digest of its text."""
        return {str(path): load(path) for path in map(self.resolve, self.plugins)}

    def make_task(self) -> Any:
        """Build the task with its options. A task that reads files gets the study's directory as ``root``."""
        kind = find("task", self.task)
        options = dict(self.task_options)
        if "root" in list_keys(kind):
            options["root"] = str((self.root / str(options.get("root", "."))).resolve())
        return build(kind, options, "task")


def map_parts(method: Any) -> Mapping[str, str]:
    """Map each role that the method's `solve` asks to the role whose student plays it. Methods that train nothing ask one."""
    return method.parts if isinstance(method, MethodWithParts) else {role: role for role in method.roles or ("student",)}


def map_models(arm: Arm, method: Any) -> dict[str, Literal["trained", "untrained", "teacher", "gold"]]:
    """Say who plays each part, by what the arm sets for the part, for the role whose student plays it, or for all."""
    return {
        part: arm.role(part).model or arm.role(role).model or arm.model  # its own setting counts first
        for part, role in map_parts(method).items()
    }


def list_swapped(arm: Arm, method: Any) -> list[str]:
    """List the parts that gold replaces, each in turn, if the other parts can still go wrong."""
    models = map_models(arm, method)
    rest = {part: {model for name, model in models.items() if name != part} for part in models}
    return [part for part in getattr(method, "swaps", ()) if models[part] != "gold" and rest[part] - {"gold"}]


def list_trained(arm: Arm, method: Any) -> tuple[str, ...]:
    """List the roles whose students the arm trains: those that play a part."""
    parts = map_parts(method)
    played = {parts[part] for part, model in map_models(arm, method).items() if model == "trained"}
    return tuple(role for role in method.roles if role in played)


def build_student(study: Study, arm: Arm, role: str) -> StudentOptions:
    """Describe the student of one role of the arm before training."""
    table = plain(study.student) | dict(arm.student) | dict(arm.role(role).student)
    return build(StudentOptions, table, arm.locate("student", role))


def build_training(study: Study, arm: Arm, role: str) -> TrainingOptions:
    """Describe how one role's student of the arm is trained on this machine."""
    table = plain(study.training)
    for overrides in (arm.training, arm.role(role).training):
        if {"steps", "tokens"} & overrides.keys():  # only one of the two decides how long it trains
            table |= {"steps": None, "tokens": 0} | ({"tokens_of": "student"} if "steps" in overrides else {})
        table |= dict(overrides)
    options = build(TrainingOptions, table, arm.locate("training", role)).settle(build_student(study, arm, role))
    if options.tokens_of == "student" or not options.tokens:
        return options
    return replace(options, tokens=max(1, options.tokens // len(list_trained(arm, study.method(arm)))))


def check_roles(arm: Arm, method: Any) -> None:
    """Raise StudyError if the arm's ``all_roles`` name a role that the method does not have, or set something impossible."""
    parts = map_parts(method)
    all_roles = list(dict.fromkeys([*parts, *parts.values()]))
    for name, role in arm.roles.items():
        location = f"arms[{arm.name!r}].roles.{name}"
        refuse_unknown([name], all_roles, f"{location}: method {arm.method!r} has no role", "it has")
        names = [name, *(part for part, owner in parts.items() if owner == name)]
        if role.model == "gold" and not (isinstance(method, MethodWithParts) and set(names) & set(method.swaps)):
            raise StudyError(f'{location}.model = "gold": gold there would be the answer itself; choose another model')
        roles = list_trained(arm, method)
        if (role.student or role.training) and name not in roles:
            raise StudyError(f"{location}: only a trained role has student, training (trained here: {', '.join(roles) or 'none'})")
    if set(map_models(arm, method).values()) == {"gold"}:
        raise StudyError(f"arms[{arm.name!r}].roles: gold plays every part, which measures nothing; give one part another model")
