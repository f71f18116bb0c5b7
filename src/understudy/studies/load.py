"""Read a study file, strictly, and report what is wrong in it before anything is asked or trained."""

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.checks.judge import AmongOthers
from understudy.core.errors import StudyError, UserError, suggest, with_known
from understudy.core.options import plain
from understudy.core.registry import ENGINES, METHODS, find, find_module
from understudy.reports.words import file_name
from understudy.studies.options import Arm, Teacher
from understudy.studies.presets import PACKAGED, apply_profile, find_study
from understudy.studies.relabels import JUDGED
from understudy.studies.schema import build, convert_value, list_keys, refuse_unknown
from understudy.studies.study import Study, build_student, build_training, check_roles, list_trained, map_models, map_parts
from understudy.studies.sweeps import expand_sweeps

HEAD = ("name", "seed", "seeds", "overlap", "near_limit", "checks", "relabels", "plugins", "title", "description")
_OPTIONS = ("exemplars", "teacher", "corpus", "student", "training", "evaluation")
MAX_NAME = 120
"""The most bytes of a name that files are named after: file systems take 255, and seed, role and ending are added to it."""
_TEACHER = [key for key in list_keys(Teacher) if key != "engine_options"]
"""The keys of [teacher] that apply to every engine."""


def load_study(path: str | Path, overrides: Sequence[str] = (), profile: str = "") -> Study:
    """Read and validate the study file ``path``, or the preset of that name, in one of its profiles; ``overrides`` are ``a.b=c``
    assignments (``--set``).

    Raises StudyError naming the file, the key and the nearest known one.
    """
    name, path = str(path), find_study(path)
    text, tables = _read_toml(path)
    try:
        tables = apply_profile(tables, path, profile)
        for override in overrides:
            _assign(tables, override)
        _refuse_nul(tables, "")
        root = Path() if path.parent == PACKAGED else path.parent  # a preset's paths start where it is run
        study = dataclasses.replace(_build(tables), root=root, file=name, text=text, overrides=tuple(overrides), profile=profile)
        _validate(study)
        compares = len(study.arms) > 1 and any(list_trained(arm, study.method(arm)) for arm in study.arms)
        return dataclasses.replace(study, seeds=3) if compares and "seeds" not in tables["study"] else study
    except UserError as error:
        raise StudyError(f"{path}: {error}") from None


def load_teacher(path: Path) -> Teacher:
    """Read the table [teacher] of the TOML file ``path``, which may have no other. Raises StudyError as `load_study` does."""
    _, tables = _read_toml(path)
    try:
        refuse_unknown(tables, ("teacher",), "unknown table")
        teacher = build(Teacher, _split_teacher(tables.get("teacher", {})), "teacher")
        _check_engine_keys(teacher)
    except UserError as error:
        raise StudyError(f"{path}: {error}") from None
    return teacher


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a file, and return its text and its tables."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except (FileNotFoundError, IsADirectoryError):
        presets = suggest(str(path), [file.stem for file in PACKAGED.glob("*.toml")])
        raise StudyError(f"{path}: there is no such study file{presets}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not a TOML file: {error}") from None


def _refuse_nul(value: Any, location: str) -> None:
    """Raise StudyError for a text with a NUL character: no file name may have one."""
    if isinstance(value, str) and "\0" in value:
        raise StudyError(f"{location} = {value!r}: has a NUL character; remove it")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        _refuse_nul(inner, f"{location}.{name}".lstrip("."))


def _build(tables: Mapping[str, Any]) -> Study:
    refuse_unknown(tables, ("study", "task", *_OPTIONS, "arms"), "unknown table")
    for location in ("study", "task"):
        if not isinstance(table := tables.get(location, {}), Mapping):
            raise StudyError(f"{location}: must be a table of options, not {table!r}")
    study, task = dict(tables.get("study", {})), dict(tables.get("task", {}))
    refuse_unknown(study, HEAD, "study: unknown key")
    for location, table in {"task": task, "study": study}.items():
        if "name" not in table:
            raise StudyError(f"{location}: name must be given")
    if not isinstance(arms := tables.get("arms"), list) or not arms:
        raise StudyError("arms: at least one [[arms]] table must be given")
    body = {name: tables.get(name, {}) for name in _OPTIONS} | {"task": task.pop("name"), "task_options": task}
    body["arms"] = expand_sweeps(arms)
    head = {key: convert_value(Study, key, value, f"study.{key}") for key, value in study.items()}
    return build(Study, body | {"teacher": _split_teacher(body["teacher"])} | head, "")


def _split_teacher(table: Any) -> Any:
    """Move the keys of [teacher] that only its engine has into a table of their own."""
    if not isinstance(table, Mapping):
        return table
    engine_keys = {key: value for key, value in table.items() if key not in _TEACHER}
    return {key: value for key, value in table.items() if key in _TEACHER} | {"engine_options": engine_keys}


def _check_engine_keys(teacher: Teacher) -> None:
    """Raise StudyError for a key of [teacher] that its engine does not have, naming the engine that has it, and for a key that has
    no effect with this engine."""
    try:
        engine = find("engine", teacher.engine)
        keys = [*_TEACHER, *list_keys(engine)]
    except StudyError as error:
        raise StudyError(f"teacher.engine = {teacher.engine!r}: {error}") from None
    for key in teacher.engine_options:
        if key not in keys:
            owners = [name for name in ENGINES if key in list_keys(find("engine", name))]
            hint = f"; it is a key of engine {' and '.join(map(repr, owners))}" if owners else suggest(key, keys)
            raise StudyError(f"teacher: engine {teacher.engine!r} has no key {key!r}{hint} (known: {', '.join(keys)})")
    idle, fact, default = ["price", "budget"], "costs nothing", Teacher(engine=teacher.engine)
    if not engine.asks:
        idle, fact = [key for key in _TEACHER if key != "engine"], "samples nothing"
    elif engine.paid:
        idle = []
    for key in idle:
        if (value := getattr(teacher, key)) != getattr(default, key):
            raise StudyError(f"teacher.{key} = {plain(value)!r}: engine {teacher.engine!r} {fact}; leave it out, or choose another")


def _validate(study: Study) -> None:
    study.load_plugins()
    _validate_names(study.arms)
    if len(study.name.encode()) > MAX_NAME:
        raise StudyError(f"study.name = {study.name[:40]!r}...: has more than {MAX_NAME} bytes, but names a directory; shorten it")
    if file_name(study.name) == "" or Path(study.name).name != study.name:
        raise StudyError(f"study.name = {study.name!r}: must have a letter or digit and no slash, because it names a directory")
    if not study.checks or len(set(study.checks)) < len(study.checks):
        raise StudyError(f"study.checks = {list(study.checks)}: must name at least one check, and each once")
    for name in study.checks:
        find("check", name)
    if study.checks[0] == JUDGED or isinstance(find("check", study.checks[0]), AmongOthers):
        subject = "holds an engine's verdicts on chains" if study.checks[0] == JUDGED else "compares the chains of a problem"
        reason = f"{subject}, so it cannot score a student's answer"
        raise StudyError(f'study.checks[0] = {study.checks[0]!r}: {reason}; name another first: checks = ["answer", ...]')
    task = study.make_task()
    _check_engine_keys(study.teacher)
    if not hasattr(study.teacher.make_method(), "sample"):
        methods = [name for name in METHODS if hasattr(find("method", name), "sample")]
        raise StudyError(f"teacher.method = {study.teacher.method!r}: does not ask a teacher; choose one of {', '.join(methods)}")
    study.teacher.check_engine(task)
    for arm in study.arms:
        _validate_arm(study, arm)
    names = [arm.name for arm in study.arms]
    refuse_unknown([name for pair in study.evaluation.compare for name in pair], names, "evaluation.compare: there is no arm")
    pairs = Counter(frozenset(pair) for pair in study.evaluation.compare)
    for pair in study.evaluation.compare:
        if pairs[frozenset(pair)] > 1 or pair[0] == pair[1]:
            reason = "compares an arm with itself" if pair[0] == pair[1] else "is named twice, in one order or the other"
            raise StudyError(f"evaluation.compare: {list(pair)} {reason}; take it out")


def _validate_arm(study: Study, arm: Arm) -> None:
    """Raise StudyError if the arm's options are wrong, or if a part of its method has no model that can answer."""
    location = f"arms[{arm.name!r}]"
    method = study.method(arm)
    _validate_selection(study, arm, method, location)
    if not hasattr(method, "solve"):
        raise StudyError(f"{location}: method {arm.method!r} is only for asking a teacher; set it as teacher.method")
    check_roles(arm, method)
    for part, model in map_models(arm, method).items():
        role = map_parts(method)[part]
        student = build_student(study, arm, role)
        find_module("objective", build_training(study, arm, role).objective)  # raises for an unknown one, and imports nothing
        path = f"{location}.roles.{part}" if len(map_parts(method)) > 1 else location
        if model == "trained":
            if not method.roles:
                raise StudyError(f'{location}: method {arm.method!r} trains nothing; set model = "untrained" or model = "teacher"')
            if method.format.style == "messages" and student.checkpoint is None:
                raise StudyError(f'{location}: format.style = "messages": a student from scratch has no chat template; use "raw"')
        elif model == "untrained" and student.checkpoint is None:
            raise StudyError(f'{path}.model = "untrained": needs student.checkpoint; one from scratch has learned nothing')
        elif model == "teacher":
            _validate_asked_teacher(study, arm, location, path)


def _validate_selection(study: Study, arm: Arm, method: Any, location: str) -> None:
    """Raise StudyError if the arm cannot get the chains that it selects."""
    if (check := arm.select.check or study.checks[0]) not in study.checks:
        raise StudyError(f"{location}.select.check: the study has no check {with_known(check, study.checks, 'study.checks')}")
    if arm.select.samples == "greedy" and not study.teacher.greedy:
        raise StudyError(f'{location}.select.samples = "greedy": the teacher writes no greedy chain; set teacher.greedy = true')
    n = study.teacher.allocation.most if study.teacher.allocation else study.teacher.samples
    if isinstance(arm.select.samples, int) and arm.select.samples > n and study.teacher.make_engine().asks:
        raise StudyError(f"{location}.select.samples = {arm.select.samples}: the teacher writes at most {n} chains per question")
    if not study.evaluation.scored and list_trained(arm, method):
        reason = "evaluation.scored = false, so there are no gold answers"
        if getattr(method, "label", "teacher") == "gold":
            raise StudyError(f'{location}.options.label = "gold": {reason}; set label = "teacher"')
        if arm.select.keep == "correct" and check == "answer":
            raise StudyError(f'{location}.select.keep = "correct": {reason}; set keep = "all"')


def _validate_asked_teacher(study: Study, arm: Arm, location: str, path: str) -> None:
    """Raise StudyError if the arm asks the teacher for something that its engine cannot do."""
    engine, name = study.teacher.make_engine(), study.teacher.engine
    if not engine.asks:
        raise StudyError(f'{path}.model = "teacher": engine {name!r} cannot answer questions; choose an endpoint or a checkpoint')
    asks = f'model = "teacher" asks the engine {name!r}'
    if arm.decode.beams > 1 and "beams" not in engine.can:
        raise StudyError(f"{location}.decode.beams = {arm.decode.beams}: only models on this machine search with beams; {asks}")
    if arm.decode.calculator and "calculator" not in engine.can:
        raise StudyError(f"{location}.decode.calculator = true: only models on this machine calculate as they write; {asks}")


def _validate_names(arms: Sequence[Arm]) -> None:
    """Raise StudyError unless each arm has a name of its own, also as a file: results, students and pictures are named after it."""
    names: dict[str, str] = {}
    for arm in arms:
        if not (file := file_name(arm.name)):
            raise StudyError(f"arms: the name {arm.name!r} has no letter or digit, but files are named after it; rename it")
        if len(file.encode()) > MAX_NAME:
            raise StudyError(f"arms: the name {arm.name[:40]!r}... has more than {MAX_NAME} bytes, but names files; shorten it")
        if arm.name in names.values():
            raise StudyError(f"arms: two arms are called {arm.name!r}; give each its own name")
        if file in names:
            raise StudyError(f"arms: {names[file]!r} and {arm.name!r} would both write the file {file!r}; rename one")
        names[file] = arm.name


def _assign(tables: dict[str, Any], override: str) -> None:
    """Apply one ``a.b=c`` assignment; ``c`` is a TOML value, or else a plain string."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise StudyError(f"--set {override!r}: must look like table.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *parents, last = key.strip().split(".")
    node: Any = tables
    for depth, part in enumerate(parents, 1):
        path = ".".join(parents[:depth])
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise StudyError(f"--set {override!r}: {path} is not one of the {len(node)} entries (counted from 0)")
            node = node[int(part)]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise StudyError(f"--set {override!r}: {path} is {node!r}, not a table")
    if isinstance(node, list):
        raise StudyError(f"--set {override!r}: {'.'.join(parents)} is a list; name one of its entries, as in arms.0.name")
    node[last] = parsed
