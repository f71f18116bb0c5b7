"""An engine that replies from a script: the public fake for tests of methods, yours too.

engine = ScriptedEngine({"Q: 2 + 2\\nA:": " So the answer is: 4"})
engine = ScriptedEngine(lambda request: f" {request.path}")          # any function of the request
"""

from collections.abc import Callable, Mapping, Sequence

from understudy.core.asks import Answer, Reply, Request, Usage
from understudy.core.errors import EngineError
from understudy.core.protocols import Source
from understudy.engines.each import serve_each
from understudy.engines.stops import find_stop


class ScriptedEngine:
    """Plays any role, local or over a "network" (`serve`, `replies`). ``asked`` lists every request it got, in order.

    ``script`` maps a prompt to its reply text, or is a function from the `Request` to a text or a whole `Reply`. A text is cut at
    its first stop string and follows what the request has begun; its words count as tokens. Raises EngineError for a prompt that is
    not in the script.
    """

    concurrency, n = 64, 1

    def __init__(self, script: Mapping[str, str] | Callable[[Request], str | Reply], *, identity: str = "scripted") -> None:
        self.script = script
        self.identity = identity
        self.asked: list[Request] = []

    def serve(self, source: Source) -> None:
        serve_each(source, self._reply)

    async def replies(self, requests: Sequence[Request]) -> Answer:
        reply = self._reply(requests[0])
        return Answer((reply,), Usage(1, reply.prompt_tokens, reply.tokens))

    def _reply(self, request: Request) -> Reply:
        self.asked.append(request)
        if callable(self.script):
            reply = self.script(request)
        elif request.ask.prompt in self.script:
            reply = self.script[str(request.ask.prompt)]
        else:
            raise EngineError(f"{self.identity}: the script has no reply to the prompt {request.ask.prompt!r}")
        if isinstance(reply, Reply):
            return reply
        end = find_stop(reply, request.ask.stop)
        return Reply(request.begun + reply[:end], tokens=len(reply.split()), prompt_tokens=len(str(request.ask.prompt).split()))
