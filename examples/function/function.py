"""An engine of one's own: a teacher that is a Python function, around whatever library or model you have.

    [teacher]
    engine = "function"
    function = "recite"       # a key of this engine alone

The function below knows only how to add up what a question names; yours may call a library, a program or a service. It is asked in
this process, one request at a time. An engine over a network has ``concurrency``, ``n`` and ``async def replies(self, requests)``
instead of ``serve`` (docs/extending.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import EngineOptions, Source

NUMBER = re.compile(r"\d+")


def recite(prompt: str) -> str:
    """Add up the numbers of the last question, step by step."""
    numbers = [int(number) for number in NUMBER.findall(prompt.rpartition("Q: ")[2])]
    if not numbers:
        raise EngineError(f"no number in the question {prompt[-80:]!r}")
    steps, total = [], numbers[0]
    for number in numbers[1:]:
        steps.append(f"{total} + {number} = {total + number}.")
        total += number
    return f" {' '.join(steps)} So the answer is: {total}"


FUNCTIONS: Mapping[str, Callable[[str], str]] = {"recite": recite}


@dataclass(frozen=True)
class FunctionEngine(EngineOptions):
    """The options of the engine: the keys of [teacher] that only it has."""

    function: str

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ValueError(f"function = {self.function!r}: there are {', '.join(FUNCTIONS)}")

    def open(self, *, task: Any, seed: int) -> Function:
        return Function(FUNCTIONS[self.function], identity=f"function {self.function}")


class Function:
    """Answers each request with what the function says of its prompt."""

    def __init__(self, function: Callable[[str], str], *, identity: str) -> None:
        self.function, self.identity = function, identity

    def serve(self, source: Source) -> None:
        """Answer everything that waits; a request that cannot be answered fails alone."""
        while waiting := source.take(64):
            for ticket, request in waiting:
                try:
                    source.give(ticket, self.reply_to(request))
                except EngineError as error:
                    source.fail(ticket, error)

    def reply_to(self, request: Request) -> Reply:
        prompt = request.ask.prompt
        if not isinstance(prompt, str):
            raise EngineError("this function reads raw prompts: format.style = 'raw'")
        text = self.function(prompt)
        return Reply(text, tokens=len(text.split()), prompt_tokens=len(prompt.split()))


UNDERSTUDY = {"engine": {"function": FunctionEngine}}
