"""Gold in the place of a part: it says what the data set's own working says there, whatever was said before."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.core.asks import Call, Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Parted, Source
from understudy.core.values import Chain, Problem
from understudy.engines.each import serve_each


class GoldEngine:
    """Plays any part of ``method`` by the ``workings`` (problem id -> the problem and its own chain). It costs no tokens."""

    identity = "gold"
    capabilities = frozenset({"stop"})

    def __init__(self, method: Parted, workings: Mapping[str, tuple[Problem, Chain]]) -> None:
        self.method, self.workings = method, workings

    def serve(self, source: Source) -> None:
        serve_each(source, self._say)

    def _say(self, request: Request) -> Reply:
        ask = request.ask
        about = ask.about.problem if ask.about else ""
        if not isinstance(ask, Call) or about not in self.workings:
            raise EngineError(f"problem {about!r} has no working of its own to play the part {ask.role!r}")
        said = self.method.told(*self.workings[about], ask)
        end = min((at for stop in ask.stop if (at := said.find(stop)) >= 0), default=len(said))
        return Reply(said[:end], tokens=0, prompt_tokens=0)
