"""Ask a trained student as evaluation does: by its card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import EngineError, StudyError
from understudy.core.plugins import load
from understudy.core.protocols import Method
from understudy.core.values import Problem, Solution, to_json
from understudy.core.vote import vote
from understudy.engines.local.device import settle_device
from understudy.evaluation.run import answer
from understudy.pipeline.card import Card, read_card
from understudy.studies.options import Decode
from understudy.studies.schema import build
from understudy.studies.study import parts_of


@dataclass(frozen=True)
class VotedAnswer:
    """``answer`` (None where none was found), the ``share`` of votes it got, and the solutions with their chains."""

    answer: str | None
    share: float
    solutions: list[Solution]

    def to_json(self) -> dict[str, Any]:
        return {"answer": self.answer, "share": self.share, "solutions": [to_json(s) for s in self.solutions]}


def ask_student(
    student: str | Path,
    question: str,
    *,
    partners: Sequence[str | Path] = (),
    choices: Sequence[str] = (),
    votes: int = 1,
    temperature: float | None = None,
    beams: int = 1,
    calculator: bool = False,
    seed: int = 0,
    plugins: Sequence[str | Path] = (),
) -> VotedAnswer:
    """Put ``question`` to the student in the directory ``student``, in the prompt format it was trained with.

    ``partners``: the students of the other roles, where its method takes turns. ``plugins``: files that add the method that its
    card names, where it is not built in. Raises CheckpointError where there is no student, EngineError where it cannot answer.
    """
    from understudy.engines.local.engine import TransformersEngine

    for plugin in plugins:
        load(Path(plugin))
    card = read_card(Path(student))
    method = card.make_method()
    if getattr(method, "in_context", 0):
        raise StudyError(f"{student}: its prompts show training chains (in_context), which it does not keep; give another student")
    cast = _cast(card, {path: read_card(path) for path in map(Path, [student, *partners])}, method)
    options = {"votes": votes, "temperature": temperature, "beams": beams, "calculator": calculator}
    decode = build(Decode, options, "decode")
    problem = Problem("question", question, card.kind, choices=tuple(choices), form=card.form)
    device = settle_device("auto")
    engines = {role: TransformersEngine(path, dtype=card.precision, device=device, seed=seed) for role, path in cast.items()}
    playing = {part: engines[role] for part, role in parts_of(method).items()}
    answers = answer([problem], method, playing, votes=votes, decoding=decode.decoding, seed=seed)
    if answers.errors:
        raise EngineError(answers.errors[0].error)
    counted = vote(answers.solutions)
    return VotedAnswer(counted.answer, counted.share, answers.solutions)


def _cast(first: Card, cards: Mapping[Path, Card], method: Method) -> dict[str, Path]:
    """role -> the student that plays it. Raises StudyError where one is missing, twice there, or of another method."""
    directories: dict[str, Path] = {}
    for path, card in cards.items():
        if (card.method, dict(card.options)) != (first.method, dict(first.options)):
            raise StudyError(f"{path}: trained by {card.method} with options {dict(card.options)}, unlike the first; use one arm's")
        if card.role in directories:
            raise StudyError(f"{path}: plays {card.role!r}, as {directories[card.role]} does; give one student for each role")
        directories[card.role] = path
    missing = [role for role in method.roles if role not in directories]
    if missing:
        turns = f"{next(iter(cards))}: method {first.method!r} takes turns between {', '.join(method.roles)}"
        raise StudyError(f"{turns}; give the student of {', '.join(missing)} too (--with)")
    return directories
