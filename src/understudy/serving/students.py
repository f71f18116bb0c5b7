"""The students of a server, by the names that clients use: ``NAME``, which decodes as its arm does, ``NAME-voteK``, and either with
``-cascade``, where a teacher answers if the votes do not agree."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from understudy.core.asks import Call, Flow
from understudy.core.errors import EngineError, StudyError, suggest
from understudy.runs.ask import Bundle, open_bundle
from understudy.serving.bodies import AnyBody, ApiError
from understudy.studies.options import Decode

MAX_VOTES = 64
"""Most votes of a ``NAME-voteK``."""
DEFAULT_VOTES = 8
"""Votes of a ``NAME-cascade`` whose arm does not vote."""


@dataclass(frozen=True)
class ServedStudent:
    """A student under the name that clients use. ``decode``: how it answers. ``cascades``: a teacher answers in its place if its
    votes do not agree."""

    name: str
    bundle: Bundle
    decode: Decode
    cascades: bool = False

    def role(self, part: str) -> str:
        """Name a part of its method among the parts of all students."""
        return f"{self.name}/{part}"

    def settle(self, body: AnyBody) -> Self:
        """Return the student with the decoding that ``body`` gives; what ``body`` does not give stays as it is."""
        changes = {name: value for name in ("temperature", "top_p") if (value := getattr(body, name)) is not None}
        try:
            return replace(self, decode=replace(self.decode, **changes))
        except ValueError as error:
            raise ApiError(400, f"{error} (model {body.model!r})", "temperature") from None

    def seed(self, body: AnyBody) -> int:
        return self.bundle.card.seed if body.seed is None else body.seed

    def amend(self, flow: Flow[Any], body: AnyBody, hear: Callable[[str], None] | None = None) -> Flow[Any]:
        """Run ``flow`` with its calls sent to this student, within the limits of ``body``; ``hear`` gets the text as it is
        written."""

        def adapt(call: Call) -> Call:
            usual = self.decode.decoding
            decoding = call.decoding or usual  # a method's own takes precedence, but for the calculator, as in the evaluation
            seed = self.seed(body) if decoding.temperature else decoding.seed
            decoding = replace(decoding, calculator=decoding.calculator or usual.calculator, seed=seed)
            limit = min(call.max_tokens, body.max_tokens or call.max_tokens)
            stop = (*call.stop, *filter(None, [body.stop] if isinstance(body.stop, str) else body.stop))
            return replace(call, role=self.role(call.role), decoding=decoding, max_tokens=limit, stop=stop, hear=hear or call.hear)

        resume: Any = flow.send
        value: Any = None
        while True:
            try:
                calls = resume(value)
            except StopIteration as end:
                return end.value
            try:
                resume, value = flow.send, (yield [adapt(call) for call in calls] if isinstance(calls, list) else adapt(calls))
            except EngineError as error:
                resume, value = flow.throw, error


def open_students(directories: Sequence[Path]) -> dict[str, ServedStudent]:
    """Open name -> student from ``directories``, which name the students. Raises CheckpointError if one holds no student,
    StudyError if two have the same name."""
    students: dict[str, ServedStudent] = {}
    for directory in directories:
        name = directory.resolve().name
        if name in students:
            raise StudyError(f"{directory}: a student is served as {name!r} already; rename the directory")
        bundle = open_bundle(directory)
        students[name] = ServedStudent(name, bundle, bundle.card.decode)
    return students


def find_student(students: Mapping[str, ServedStudent], name: str, *, teacher: bool) -> ServedStudent:
    """Find the student that a client calls ``name``. Raises ApiError if there is none, or if it is a cascade without a
    ``teacher``."""
    if name in students:
        return students[name]
    match = re.fullmatch(r"(.+?)(?:-vote([1-9][0-9]?))?(-cascade)?", name)
    if match is None or match[1] not in students or int(match[2] or 1) > MAX_VOTES:
        served = f"(served: {', '.join(students)}, each also as NAME-voteK, K up to {MAX_VOTES}{', or NAME-cascade' * teacher})"
        raise ApiError(404, f"there is no model {name!r}{suggest(name, students)} {served}", "model", "model_not_found")
    if match[3] and not teacher:
        raise ApiError(404, f"{name!r} needs a teacher: start the server with --teacher FILE.toml", "model", "model_not_found")
    student = students[match[1]]
    votes = int(match[2] or 0) or (student.decode.votes if student.decode.votes > 1 else DEFAULT_VOTES)
    temperature = student.decode.decoding.temperature or 0.7  # as the votes of an arm
    decode = replace(student.decode, votes=votes, beams=1, temperature=temperature)
    return replace(student, decode=decode, cascades=bool(match[3]))
