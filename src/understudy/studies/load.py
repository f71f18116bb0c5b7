"""Read a study file, strictly, and say what in it cannot be before anything is asked or trained."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.core.errors import StudyError, UserError, nearest
from understudy.core.registry import ENGINES, METHODS, find, module_of
from understudy.studies.cast import check_roles, models_of, parts_of, student_of_role, training_of_role
from understudy.studies.options import Arm, Teacher
from understudy.studies.schema import build
from understudy.studies.study import Study, file_name

HEAD = ("name", "seed", "seeds", "overlap", "checks", "plugins", "title", "description")
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
        if key not in HEAD:
            raise StudyError(f"study: unknown key {key!r}{nearest(key, HEAD)} (known: {', '.join(HEAD)})")
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
        "teacher": _split_teacher(tables.get("teacher", {})),
        "arms": arms,
        **head,
    }
    if "name" not in head:
        raise StudyError("study: name must be given")
    return build(Study, body, "")


def _split_teacher(table: Any) -> Any:
    """The [teacher] table with the keys that only its engine has in a table of their own."""
    if not isinstance(table, Mapping):
        return table
    common = {field.name for field in dataclasses.fields(Teacher)} - {"engine_options"}
    own = {key: value for key, value in table.items() if key not in common}
    return {key: value for key, value in table.items() if key in common} | {"engine_options": own}


def _check_engine_keys(teacher: Teacher) -> None:
    """Raise StudyError for a key of [teacher] that its engine does not have, naming the engine that has it."""
    try:
        engine = find("engine", teacher.engine)
    except StudyError as error:
        raise StudyError(f"teacher.engine = {teacher.engine!r}: {error}") from error
    own = [field.name for field in dataclasses.fields(engine) if field.init]
    known = [*(field.name for field in dataclasses.fields(Teacher) if field.name != "engine_options"), *own]
    for key in teacher.engine_options:
        if key not in own:
            others = [name for name in ENGINES if key in {field.name for field in dataclasses.fields(find("engine", name))}]
            belongs = f"; it is a key of engine {' and '.join(map(repr, others))}" if others else nearest(key, known)
            raise StudyError(f"teacher: engine {teacher.engine!r} has no key {key!r}{belongs} (known: {', '.join(known)})")


def _validate(study: Study) -> None:
    study.load_plugins()
    _validate_names(study.arms)
    if file_name(study.name) == "" or Path(study.name).name != study.name:
        raise StudyError(f"study.name = {study.name!r}: must have a letter or digit and no slash, because it names a directory")
    if not study.checks or len(set(study.checks)) < len(study.checks):
        raise StudyError(f"study.checks = {list(study.checks)}: must name at least one check, and each once")
    for name in study.checks:
        find("check", name)
    task = study.make_task()
    _check_engine_keys(study.teacher)
    engine, method = study.make_engine(), study.teacher_method()
    if not hasattr(method, "sample"):
        methods = [name for name in METHODS if hasattr(find("method", name), "sample")]
        raise StudyError(
            f"teacher.method = {study.teacher.method!r}: this method asks no teacher; choose one of {', '.join(methods)}"
        )
    if hasattr(engine, "check"):
        try:
            engine.check(task, chats=method.format.style == "messages")
        except ValueError as error:
            raise StudyError(f"teacher.{error}") from None
    for arm in study.arms:
        _validate_arm(study, arm)
    names = [arm.name for arm in study.arms]
    for name in (name for pair in study.evaluation.compare for name in pair):
        if name not in names:
            raise StudyError(f"evaluation.compare: there is no arm {name!r}{nearest(name, names)} (known: {', '.join(names)})")


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
            raise StudyError(
                f'{at}.model = "untrained": needs student.checkpoint; before training, a student from scratch has learned nothing'
            )
        elif model == "teacher":
            _validate_asked_teacher(study, arm, where, at)


def _validate_asked_teacher(study: Study, arm: Arm, where: str, at: str) -> None:
    """Nothing is asked of the teacher that its engine cannot do."""
    engine, name = study.make_engine(), study.teacher.engine
    can: frozenset[str] = getattr(engine, "can", frozenset())
    if not hasattr(engine, "open"):
        raise StudyError(f'{at}.model = "teacher": engine {name!r} cannot answer questions; choose an endpoint or a checkpoint')
    if arm.decode.beams > 1 and "beams" not in can:
        raise StudyError(
            f"{where}.decode.beams = {arm.decode.beams}: only models on this machine search with beams; "
            f'model = "teacher" asks teacher.engine = {name!r}'
        )
    if arm.decode.calculator and "calculator" not in can:
        raise StudyError(
            f"{where}.decode.calculator = true: only models on this machine can be given values while they write; "
            f'model = "teacher" asks teacher.engine = {name!r}'
        )


def _validate_names(arms: Sequence[Arm]) -> None:
    """Results, students and pictures are named by the arms, so each needs a name of its own, also as a file."""
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"arms: two arms are called {name!r}; give each its own name")
    links: dict[str, str] = {}
    for name in names:
        link = file_name(name)
        if not link:
            raise StudyError(f"arms: the name {name!r} has no letter or digit, and files are named after it; rename it")
        if link in links:
            raise StudyError(f"arms: {links[link]!r} and {name!r} would both write the file {link!r}; rename one")
        links[link] = name


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
