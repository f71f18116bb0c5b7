"""Gold in the place of a part: the engine replies with what the data set's own solution says at that point of the conversation."""

from collections.abc import Mapping

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import MethodWithParts, Source
from understudy.core.values import Chain, Problem
from understudy.engines.each import serve_each
from understudy.engines.stops import find_stop


class GoldEngine:
    """Plays any part of ``method`` from ``solutions`` (problem id -> the problem and its own chain). Its replies cost no tokens."""

    identity = "gold"

    def __init__(self, method: MethodWithParts, solutions: Mapping[str, tuple[Problem, Chain]]) -> None:
        self.method, self.solutions = method, solutions

    def serve(self, source: Source) -> None:
        serve_each(source, self._reply)

    def _reply(self, request: Request) -> Reply:
        call = request.ask
        problem = call.about.problem if call.about else ""
        if problem not in self.solutions:
            raise EngineError(f"problem {problem!r}: the data set has no solution for the role {call.role!r}")
        text = self.method.quote(*self.solutions[problem], call)
        return Reply(text[: find_stop(text, call.stop)], tokens=0, prompt_tokens=0)
