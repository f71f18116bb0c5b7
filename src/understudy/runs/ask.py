"""Ask a trained student as the evaluation does: by its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from understudy.core.errors import EngineError, StudyError
from understudy.core.options import plain
from understudy.core.plugins import load
from understudy.core.protocols import Method
from understudy.core.values import Problem, Solution
from understudy.core.vote import vote
from understudy.engines.local.device import settle_device
from understudy.evaluation.run import answer
from understudy.pipeline.card import Card, read_card
from understudy.studies.options import Decode
from understudy.studies.schema import build
from understudy.studies.study import map_parts

if TYPE_CHECKING:
    from understudy.engines.local.engine import TransformersEngine


@dataclass(frozen=True)
class VotedAnswer:
    """The ``answer`` (None if none was found), its ``share`` of the votes (`core.vote`), and the solutions with their chains."""

    answer: str | None
    share: float
    solutions: list[Solution]


class Bundle(NamedTuple):
    """The students that answer together: the card of the first, their method, and part of the method -> the engine that plays
    it."""

    card: Card
    method: Method
    engines: Mapping[str, TransformersEngine]


def change_decode(decode: Decode, **changes: Any) -> Decode:
    """Apply the ``changes`` that are not None to ``decode``. Raises StudyError if they contradict the rest."""
    return build(Decode, plain(decode) | {name: value for name, value in changes.items() if value is not None}, "decode")


def open_bundle(student: str | Path, partners: Sequence[str | Path] = (), *, seed: int | None = None) -> Bundle:
    """Open the student or students in the directory ``student``, and those of other roles in ``partners``. They draw by ``seed``,
    by default the card's. Raises CheckpointError if there is no student, StudyError if the student of a role is missing."""
    from understudy.engines.local.engine import TransformersEngine

    directory = Path(student)
    card = read_card(directory)
    method = card.make_method()
    if getattr(method, "in_context", 0):
        raise StudyError(f"{student}: its prompts show training chains (in_context), which are not stored with it; give another")
    directories = [directory / name for name in card.students] or [directory]
    cast = _cast_roles(card, {path: read_card(path) for path in [*directories, *map(Path, partners)]}, method)
    shared: dict[str, Any] = {"dtype": card.precision, "device": settle_device("auto"), "seed": card.seed if seed is None else seed}
    engines = {role: TransformersEngine(path, **shared) for role, path in cast.items()}
    return Bundle(card, method, {part: engines[role] for part, role in map_parts(method).items()})


def ask_student(
    student: str | Path,
    question: str,
    *,
    partners: Sequence[str | Path] = (),
    choices: Sequence[str] = (),
    votes: int | None = None,
    temperature: float | None = None,
    beams: int | None = None,
    calculator: bool | None = None,
    seed: int | None = None,
    plugins: Sequence[str | Path] = (),
) -> VotedAnswer:
    """Ask the student in the directory ``student`` the ``question``, in the prompt format it was trained with. It answers as in its
    evaluation, with its arm's decoding and its seed, unless ``votes``, ``temperature``, ``beams``, ``calculator`` or ``seed`` say
    otherwise.

    ``partners``: the students of the other roles, if its method takes turns and they are not in ``student``. ``plugins``: files
    that add the method that its card names, if it is not built in. Raises CheckpointError if there is no student, EngineError if it
    cannot answer.
    """
    for plugin in plugins:
        load(Path(plugin))
    bundle = open_bundle(student, partners, seed=seed)
    decode = change_decode(bundle.card.decode, votes=votes, temperature=temperature, beams=beams, calculator=calculator)
    problem = Problem("question", question, bundle.card.kind, choices=tuple(choices), form=bundle.card.form)
    seed = bundle.card.seed if seed is None else seed
    answers = answer([problem], bundle.method, bundle.engines, votes=decode.votes, decoding=decode.decoding, seed=seed)
    if answers.errors:
        raise EngineError(answers.errors[0].error)
    voted = vote(answers.solutions, weighted=decode.weighted)
    return VotedAnswer(voted.answer, voted.share, answers.solutions)


def _cast_roles(first: Card, cards: Mapping[Path, Card], method: Method) -> dict[str, Path]:
    """Map each role to the student that plays it. Raises StudyError if one is missing, given twice, or of another method."""
    directories: dict[str, Path] = {}
    for path, card in cards.items():
        if (card.method, dict(card.options)) != (first.method, dict(first.options)):
            raise StudyError(f"{path}: trained by {card.method} with options {dict(card.options)}, unlike the first; use one arm's")
        if card.role in directories:
            raise StudyError(f"{path}: plays {card.role!r}, as {directories[card.role]} does; give one student for each role")
        directories[card.role] = path
    if missing := [role for role in method.roles if role not in directories]:
        reason = f"{next(iter(cards))}: method {first.method!r} takes turns between {', '.join(method.roles)}"
        raise StudyError(f"{reason}; also give the student of {', '.join(missing)} (--with)")
    return directories
