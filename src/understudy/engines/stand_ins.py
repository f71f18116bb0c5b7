"""Engines that take the place of one part of a method: gold solutions, or given rationales.

Gold replies with what the data set's own solution says at that point of the conversation. A student with a given rationale is
asked only for what comes after it.
"""

from collections.abc import Mapping
from dataclasses import replace

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import LocalEngine, MethodWithParts, MethodWithRationale, Source
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
        call, problem = request.ask, request.problem or ""
        if problem not in self.solutions:
            raise EngineError(f"problem {problem!r}: the data set has no solution for the role {call.role!r}")
        text = self.method.quote(*self.solutions[problem], call)
        return Reply(text[: find_stop(text, call.stop)], tokens=0, prompt_tokens=0)


class ProbeEngine:
    """Plays a part of ``method`` that writes the rationale: ``rationales`` (problem id -> text) take its place. If the part also
    states the answer, the ``student`` continues from there."""

    def __init__(self, student: LocalEngine, method: MethodWithRationale, rationales: Mapping[str, str], name: str) -> None:
        self.student, self.method, self.rationales = student, method, rationales
        self.identity = f"{student.identity}, rationale: {name}"

    def serve(self, source: Source) -> None:
        self.student.serve(_PrefilledSource(source, self))


class _PrefilledSource:
    """The requests of ``source`` as the student gets them."""

    def __init__(self, source: Source, probe: ProbeEngine) -> None:
        self.source, self.probe = source, probe
        self.begin_again, self.give, self.fail = source.begin_again, source.give, source.fail

    def take(self, n: int) -> list[tuple[int, Request]]:
        while waiting := self.source.take(n):
            if ready := [(ticket, begun) for ticket, request in waiting if (begun := self._begin(ticket, request)) is not None]:
                return ready
        return []

    def _begin(self, ticket: int, request: Request) -> Request | None:
        """Return what the student is asked; None if the rationale alone is the reply."""
        rationale = self.probe.rationales.get(request.problem or "")
        if rationale is None:
            self.fail(ticket, EngineError("this problem has no rationale to alter"))
            return None
        text, continues = self.probe.method.put_rationale(rationale, request.ask)
        if continues:
            return replace(request, begun=text)
        self.give(ticket, Reply(text, tokens=0, prompt_tokens=0))
        return None
