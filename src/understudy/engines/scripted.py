"""An engine that says what it is told: the public fake, for the tests of methods (yours too).

engine = ScriptedEngine({"Q: 2 + 2\\nA:": " So the answer is: 4"})
engine = ScriptedEngine(lambda request: f" {request.path}")          # any function of the request
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from understudy.core.asks import Answer, Call, Reply, Request, Usage
from understudy.core.errors import EngineError
from understudy.core.protocols import Source
from understudy.engines.each import serve_each

Script = Mapping[str, str] | Callable[[Request], str | Reply]


class ScriptedEngine:
    """Plays any role, local or over a "network" (`serve`, `replies`). ``asked`` lists every request it got, in order.

    ``script``: prompt -> reply text, or a function of the `Request` that returns a text or a whole `Reply`. A text is cut at
    its first stop string and counted in words. Raises EngineError for a prompt that is not in the script.
    """

    concurrency, n = 64, 1

    def __init__(self, script: Script, *, identity: str = "scripted") -> None:
        self.script = script
        self.identity = identity
        self.capabilities = frozenset({"stop"})
        self.asked: list[Request] = []

    def serve(self, source: Source) -> None:
        serve_each(source, self._say)

    async def replies(self, requests: Sequence[Request]) -> Answer:
        reply = self._say(requests[0])
        return Answer((reply,), Usage(1, reply.prompt_tokens, reply.tokens))

    def _say(self, request: Request) -> Reply:
        self.asked.append(request)
        if callable(self.script):
            said = self.script(request)
        elif request.ask.prompt in self.script:
            said = self.script[str(request.ask.prompt)]
        else:
            raise EngineError(f"{self.identity}: no reply is scripted for the prompt {request.ask.prompt!r}")
        if isinstance(said, Reply):
            return said
        stop = request.ask.stop if isinstance(request.ask, Call) else ()
        end = min((at for s in stop if (at := said.find(s)) >= 0), default=len(said))
        return Reply(said[:end], tokens=len(said.split()), prompt_tokens=len(str(request.ask.prompt).split()))
