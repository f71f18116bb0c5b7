"""Who plays which part of a method: the students that an arm trains, the teacher, an untrained checkpoint, or gold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from understudy.core.errors import StudyError, nearest
from understudy.core.options import plain
from understudy.core.precision import settle_precision
from understudy.core.protocols import MethodWithParts
from understudy.studies.options import Arm, Role
from understudy.studies.schema import build
from understudy.studies.study import Study
from understudy.training.options import StudentOptions, TrainingOptions

Model = Literal["trained", "untrained", "teacher", "gold"]


def parts_of(method: Any) -> Mapping[str, str]:
    """The roles that the method's `solve` asks -> the role whose student plays them. Methods that train nothing ask one."""
    if isinstance(method, MethodWithParts):
        return method.parts
    return {role: role for role in method.roles or ("student",)}


def models_of(arm: Arm, method: Any) -> dict[str, Model]:
    """Who plays each part: what the arm says of the part, of the role whose student plays it, or of all."""
    return {
        part: _role(arm, part).model or _role(arm, role).model or arm.model  # a part is named before the student it shares
        for part, role in parts_of(method).items()
    }


def trained_roles(arm: Arm, method: Any) -> tuple[str, ...]:
    """The roles whose students the arm trains: those that play a part."""
    parts = parts_of(method)
    played = {parts[part] for part, model in models_of(arm, method).items() if model == "trained"}
    return tuple(role for role in method.roles if role in played)


def student_of_role(study: Study, arm: Arm, role: str) -> StudentOptions:
    """The student of one role of the arm before training."""
    table = plain(study.student) | dict(arm.student) | dict(_role(arm, role).student)
    return build(StudentOptions, table, where_student(arm, role))


def training_of_role(study: Study, arm: Arm, role: str) -> TrainingOptions:
    """How one role's student of the arm is trained on this machine."""
    table = plain(study.training)
    for own in (arm.training, _role(arm, role).training):
        if {"steps", "tokens"} & own.keys():  # how long it trains is settled by one of the two alone
            table |= {"steps": None, "tokens": 0} | ({"budget": "role"} if "steps" in own else {})
        table |= dict(own)
    where = f".roles.{role}" if _role(arm, role).training else ""
    options = build(TrainingOptions, table, f"arms[{arm.name!r}]{where}.training")
    options = replace(options, precision=settle_precision(options.precision))
    if options.budget == "role" or not options.tokens:
        return options
    return replace(options, tokens=max(1, options.tokens // len(trained_roles(arm, study.method(arm)))))


def check_roles(arm: Arm, method: Any) -> None:
    """Raise StudyError where the arm's ``roles`` name what the method does not have, or set what cannot be."""
    parts = parts_of(method)
    known = list(dict.fromkeys([*parts, *parts.values()]))
    for name, role in arm.roles.items():
        where = f"arms[{arm.name!r}].roles.{name}"
        if name not in known:
            near = nearest(name, known)
            raise StudyError(f"{where}: method {arm.method!r} has no role {name!r}{near} (it has: {', '.join(known)})")
        named = [name, *(part for part, whose in parts.items() if whose == name)]
        if role.model == "gold" and not (isinstance(method, MethodWithParts) and set(named) & set(method.swaps)):
            raise StudyError(f'{where}.model = "gold": gold there would be the answer itself; choose another model')
        trained = trained_roles(arm, method)
        if (role.student or role.training) and name not in trained:
            raise StudyError(f"{where}: only a trained role has student, training (trained here: {', '.join(trained) or 'none'})")
    if set(models_of(arm, method).values()) == {"gold"}:
        raise StudyError(f"arms[{arm.name!r}].roles: gold plays every part, which measures nothing; give one another model")


def where_student(arm: Arm, role: str) -> str:
    """The table that says what the student of ``role`` is, for messages."""
    own = f".roles.{role}" if _role(arm, role).student else ""
    return f"arms[{arm.name!r}]{own}.student"


def _role(arm: Arm, name: str) -> Role:
    return arm.roles.get(name) or Role()
