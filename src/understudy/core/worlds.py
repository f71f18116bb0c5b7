"""A procedural world solves any of its own questions in steps, errs at known rates, and says which sub-question each step answers.

Ana has 4 coins. Wed: loses 2. Mon: finds 3. How many coins does Ana have?
How many coins does Ana have after Mon?    Start 4. Mon 4 + 3 = 7.
How many coins does Ana have after Wed?    Wed 7 - 2 = 5.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

from understudy.core.values import AnswerKind, Step

WordedStep = tuple[str, tuple[str, ...]]
"""The text of a step, and the wordings of its sub-question."""


class WorldSolution(NamedTuple):
    """A solved question. Each of ``steps`` has its sub-question, and ``answer`` is canonical for its ``kind``.

    For each step, ``wordings`` has all the ways to ask for it, including the step's own question. The text of the last step states
    the answer, so that the answer can be read from the steps alone.
    """

    steps: tuple[Step, ...]
    answer: str
    kind: AnswerKind
    wordings: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, sentences: Sequence[WordedStep], answer: str, kind: AnswerKind, rng: random.Random) -> Self:
        """Make a solution from its steps. ``rng`` draws one of the wordings of each."""
        steps = tuple(Step(text, rng.choice(wordings)) for text, wordings in sentences)
        return cls(steps, answer, kind, tuple(wordings for _, wordings in sentences))

    @property
    def rationale(self) -> str:
        return " ".join(step.text for step in self.steps)


class World(Protocol):
    """A task with its own teacher. It is frozen, so that its repr identifies it."""

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> WorldSolution:
        """Solve ``question``, which has the form of `core.prompt_format.write_question`.

        ``slip`` is the chance of a wrong result in a step; the next steps continue from that result. ``misread`` is the chance
        that the solution misreads the world's ambiguous word. Raises ValueError if ``question`` is not of this world.
        """
