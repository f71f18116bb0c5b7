"""What a procedural world is: it works any question of its own in steps, errs at known rates, and says which sub-question each
step answers.

    Ana has 4 coins. Wed: loses 2. Mon: finds 3. How many coins does Ana have?
    How many coins does Ana have after Mon?    Start 4. Mon 4 + 3 = 7.
    How many coins does Ana have after Wed?    Wed 7 - 2 = 5.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.core.values import AnswerKind, Step


@dataclass(frozen=True)
class Worked:
    """A question that was worked: each of ``steps`` has its sub-question, ``answer`` is canonical for its ``kind``.

    ``wordings``: of each step, all the ways to ask for it, the step's own question among them. A world lets the text of the
    last step say the answer, so that it can be read off the steps alone.
    """

    steps: tuple[Step, ...]
    answer: str
    kind: AnswerKind
    wordings: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, told: Sequence[tuple[str, tuple[str, ...]]], answer: str, kind: AnswerKind, rng: random.Random) -> Worked:
        """From (text of a step, wordings of its sub-question), of which ``rng`` draws one."""
        steps = tuple(Step(text, rng.choice(wordings)) for text, wordings in told)
        return cls(steps, answer, kind, tuple(wordings for _, wordings in told))

    @property
    def rationale(self) -> str:
        return " ".join(step.text for step in self.steps)


class World(Protocol):
    """A task with a teacher of its own; frozen, so that its repr names it."""

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> Worked:
        """A working of ``question``, which is written as `core.prompt_format.question_text` writes it.

        ``slip``: chance of a wrong result in a step; what follows goes on from it. ``misread``: chance that the working reads the
        world's treacherous word the wrong way. Raises ValueError where ``question`` is not of this world.
        """
