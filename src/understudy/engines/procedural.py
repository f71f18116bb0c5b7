"""The teacher of a procedural world: it writes varied chains offline and errs at a known rate."""

import random
import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import EngineOptions, LocalEngine, Source
from understudy.core.values import digest
from understudy.core.worlds import World
from understudy.engines.each import serve_each
from understudy.engines.layouts import WorldTeacher, write_reply
from understudy.engines.stops import find_stop


@dataclass(frozen=True)
class Procedural(EngineOptions):
    """The teacher that comes with a procedural world (the keys of [teacher] for ``engine = "procedural"``)."""

    slip: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Chance of a wrong result in a step."""
    misread: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Chance that a chain misreads the world's ambiguous word."""

    def check(self, task: Any, *, chats: bool) -> None:  # noqa: ARG002 - as the protocol has it
        """Raise ValueError if the task is not a world."""
        if not hasattr(task, "work"):
            reason = f"engine = 'procedural': the task {type(task).__name__} is not a procedural world, so it has no procedural"
            raise ValueError(f"{reason} teacher; use recorded chains, an endpoint or a transformers model")

    def open(self, *, task: Any, seed: int) -> LocalEngine:
        """Open the engine of the world ``task``."""
        return ProceduralEngine(task, slip=self.slip, misread=self.misread, seed=seed)


class ProceduralEngine:
    """Answers raw prompts. The end of a prompt decides the form of the reply (`engines.layouts`).

    ``slip`` is the chance of a wrong result per step. ``misread`` is the chance that a chain misreads the world's ambiguous word.
    The temperature has no effect: paths differ by their noise, which is a function of (seed, request, path).
    """

    def __init__(self, world: World, *, slip: float, misread: float, seed: int) -> None:
        self.world, self.slip, self.misread, self.seed = world, slip, misread, seed
        self.identity = f"procedural {type(world).__name__.lower()} {digest([repr(world), slip, misread])}"

    def serve(self, source: Source) -> None:
        serve_each(source, self._reply)

    def _reply(self, request: Request) -> Reply:
        prompt = request.ask.prompt
        if not isinstance(prompt, str):
            raise EngineError('the procedural teacher answers raw prompts, not messages; set format.style = "raw"')
        if request.decoding.beams > 1 or request.decoding.calculator:
            raise EngineError(f"the procedural teacher supports neither beams nor a calculator: {request.decoding}")
        work = partial(self.world.work, rng=random.Random(request.noise(self.seed)), slip=self.slip, misread=self.misread)
        teacher = WorldTeacher(work, lambda question: self.world.work(question, random.Random(0), slip=0.0, misread=0.0))
        try:
            text = write_reply(prompt, teacher)
        except ValueError as error:
            raise EngineError(f"the procedural teacher cannot read the question that ends {prompt[-200:]!r}: {error}") from None
        words = re.findall(r"\s*\S+", text[: find_stop(text, request.ask.stop)])
        written = words[: request.ask.max_tokens]
        return Reply("".join(written), "stop" if written == words else "length", len(written), len(prompt.split()))
