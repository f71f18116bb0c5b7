"""The teacher that comes with a procedural world: it writes varied chains and errs at a known rate, offline."""

from __future__ import annotations

import random
from typing import Protocol

from understudy.core.asks import Call, Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Source
from understudy.core.values import digest
from understudy.engines.each import serve_each


class World(Protocol):
    """A world that can write a chain for any question of its own; frozen, so that its repr names it."""

    def solve(self, question: str, rng: random.Random, *, slip: float, misread: float) -> str:
        """A chain with its answer sentence. Raises ValueError where ``question`` is not of this world."""


class ProceduralEngine:
    """Answers raw prompts that end with ``Q: {question of the world}\\nA:``; what comes before (exemplars) is not read.

    ``slip``: chance of a wrong result per step; ``misread``: chance that a chain reads the world's ambiguous word the wrong
    way. Temperature is not a thing it has: paths differ by their noise, which is a function of (seed, request, path).
    """

    def __init__(self, world: World, *, slip: float, misread: float, seed: int) -> None:
        self.world, self.slip, self.misread, self.seed = world, slip, misread, seed
        self.identity = f"procedural {type(world).__name__.lower()} {digest([repr(world), slip, misread])}"
        self.capabilities = frozenset({"n", "seed", "stop"})

    def serve(self, source: Source) -> None:
        serve_each(source, self._say)

    def _say(self, request: Request) -> Reply:
        prompt = request.ask.prompt
        if not isinstance(request.ask, Call) or not isinstance(prompt, str):
            raise EngineError("the procedural teacher answers raw prompts with text, and nothing else")
        question = prompt.rpartition("Q: ")[2].removesuffix("A:").strip().removesuffix("\nA:").strip()
        rng = random.Random(request.noise(self.seed))
        try:
            said = self.world.solve(question, rng, slip=self.slip, misread=self.misread)
        except ValueError as error:
            raise EngineError(f"the procedural teacher cannot read the question {question!r}: {error}") from None
        words = said.split()
        if len(words) > request.ask.max_tokens:
            return Reply(" ".join(words[: request.ask.max_tokens]), "length", request.ask.max_tokens, len(prompt.split()))
        return Reply(" " + said, "stop", len(words), len(prompt.split()))
