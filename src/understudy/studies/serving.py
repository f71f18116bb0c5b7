"""Ask a trained student as evaluation does: by its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import EngineError, StudyError
from understudy.core.plugins import load
from understudy.core.values import Problem, Solution, to_json
from understudy.core.vote import vote
from understudy.evaluation.run import answer
from understudy.studies.card import read_card
from understudy.studies.options import Decode


@dataclass(frozen=True)
class Answered:
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
    choices: Sequence[str] = (),
    votes: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    plugins: Sequence[str | Path] = (),
) -> Answered:
    """Put ``question`` to the student in the directory ``student``, in the prompt format it was trained with.

    ``plugins``: files that add the method that its card names, where it is not built in. Raises CheckpointError where there is no
    student, EngineError where it cannot answer.
    """
    from understudy.engines.local import TransformersEngine

    for plugin in plugins:
        load(Path(plugin))
    card = read_card(Path(student))
    method = card.make_method()
    if len(method.roles) > 1:
        raise StudyError(f"{student}: method {card.method!r} takes turns between {', '.join(method.roles)}; this is one of them")
    try:
        decode = Decode(votes=votes, temperature=temperature)
    except ValueError as error:
        raise StudyError(str(error)) from None
    problem = Problem("question", question, card.kind, choices=tuple(choices))
    engine = TransformersEngine(Path(student), dtype=card.precision, seed=seed)
    found = answer([problem], method, {card.role: engine}, votes=votes, decoding=decode.decoding, seed=seed)
    if found.errors:
        raise EngineError(found.errors[0]["error"])
    counted = vote(found.solutions)
    return Answered(counted.answer, counted.share, found.solutions)
