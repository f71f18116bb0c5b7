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

Below it: who plays which part of a method: the students that an arm trains, the teacher, an untrained checkpoint, or gold.
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
from understudy.studies.schema import build, keys_of, refuse_unknown
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
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Of everything that is drawn: problems, splits, sampling, the first training seed."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Training seeds per arm: ``seed``, ``seed`` + 1, ... A study file that does not say has 3 where it compares arms and trains
    one, since one seed cannot show which method is better."""
    overlap: Literal["error", "drop", "drop-near"] = "error"
    """A question that is, with its choices, both in a held-out split and outside: ``error`` stops, ``drop`` takes it out of
    training and lists it. ``drop-near`` also takes out questions that are near a held-out one (docs/study.md); otherwise these
    are counted and listed."""
    near_limit: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The largest share of the held-out questions that may be near one outside; where more are, the study stops. Default chosen
    by this project: they are only counted and listed."""
    checks: tuple[str, ...] = ("answer",)
    """What judges chains: ``answer`` (equal to the gold), ``arithmetic``, ``leak``, ``form``, ``majority``, ``likelihood``,
    ``judged`` (docs/checks.md), or checks of your own. The first one also judges checkpoints, students and votes; every verdict is
    kept under its check's name, and an arm selects by any of them (``select.check``)."""
    relabels: str | None = None
    """A JSON Lines file of what people say of single chains (``understudy view RUN --rater NAME`` writes one), which stands in the
    place of the first check's verdicts, and of what an engine says (``understudy judge RUN --chains --by FILE``), which are those
    of the check ``judged``; relative to the study file. By default nobody says anything."""
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
    """Which of the file's profiles; "" for a file without any."""
    text: str = ""
    """What stands in it."""
    overrides: tuple[str, ...] = ()
    """The ``--set`` assignments."""

    def method(self, arm: Arm) -> Any:
        """The arm's method with its options."""
        return build(find("method", arm.method), dict(arm.options), f"arms[{arm.name!r}].options")

    def chooses_checkpoint(self, arm: Arm, role: str) -> bool:
        """Whether the best of several checkpoints of the role's student is kept, by dev: where the role answers alone."""
        return self.evaluation.scored and len(self.method(arm).roles) == 1 and training_of_role(self, arm, role).checks > 1

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


Model = Literal["trained", "untrained", "teacher", "gold"]


def parts_of(method: Any) -> Mapping[str, str]:
    """The roles that the method's `solve` asks -> the role whose student plays them. Methods that train nothing ask one."""
    return method.parts if isinstance(method, MethodWithParts) else {role: role for role in method.roles or ("student",)}


def models_of(arm: Arm, method: Any) -> dict[str, Model]:
    """Who plays each part: what the arm says of the part, of the role whose student plays it, or of all."""
    return {
        part: arm.role(part).model or arm.role(role).model or arm.model  # a part is named before the student it shares
        for part, role in parts_of(method).items()
    }


def swapped_parts(arm: Arm, method: Any) -> list[str]:
    """The parts that gold takes the place of, each in turn, where that leaves something to go wrong."""
    models = models_of(arm, method)
    others = {part: {model for other, model in models.items() if other != part} for part in models}
    return [part for part in getattr(method, "swaps", ()) if models[part] != "gold" and others[part] - {"gold"}]


def trained_roles(arm: Arm, method: Any) -> tuple[str, ...]:
    """The roles whose students the arm trains: those that play a part."""
    parts = parts_of(method)
    played = {parts[part] for part, model in models_of(arm, method).items() if model == "trained"}
    return tuple(role for role in method.roles if role in played)


def student_of_role(study: Study, arm: Arm, role: str) -> StudentOptions:
    """The student of one role of the arm before training."""
    table = plain(study.student) | dict(arm.student) | dict(arm.role(role).student)
    return build(StudentOptions, table, arm.where_student(role))


def training_of_role(study: Study, arm: Arm, role: str) -> TrainingOptions:
    """How one role's student of the arm is trained on this machine."""
    table = plain(study.training)
    for own in (arm.training, arm.role(role).training):
        if {"steps", "tokens"} & own.keys():  # how long it trains is settled by one of the two alone
            table |= {"steps": None, "tokens": 0} | ({"tokens_of": "student"} if "steps" in own else {})
        table |= dict(own)
    where = f".roles.{role}" if arm.role(role).training else ""
    options = build(TrainingOptions, table, f"arms[{arm.name!r}]{where}.training").settle(student_of_role(study, arm, role))
    if options.tokens_of == "student" or not options.tokens:
        return options
    return replace(options, tokens=max(1, options.tokens // len(trained_roles(arm, study.method(arm)))))


def check_roles(arm: Arm, method: Any) -> None:
    """Raise StudyError where the arm's ``roles`` name what the method does not have, or set what cannot be."""
    parts = parts_of(method)
    known = list(dict.fromkeys([*parts, *parts.values()]))
    for name, role in arm.roles.items():
        where = f"arms[{arm.name!r}].roles.{name}"
        refuse_unknown([name], known, f"{where}: method {arm.method!r} has no role", "it has")
        named = [name, *(part for part, whose in parts.items() if whose == name)]
        if role.model == "gold" and not (isinstance(method, MethodWithParts) and set(named) & set(method.swaps)):
            raise StudyError(f'{where}.model = "gold": gold there would be the answer itself; choose another model')
        trained = trained_roles(arm, method)
        if (role.student or role.training) and name not in trained:
            raise StudyError(f"{where}: only a trained role has student, training (trained here: {', '.join(trained) or 'none'})")
    if set(models_of(arm, method).values()) == {"gold"}:
        raise StudyError(f"arms[{arm.name!r}].roles: gold plays every part, which measures nothing; give one another model")
