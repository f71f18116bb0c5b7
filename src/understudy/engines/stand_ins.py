"""Engines in the place of a part of a method: gold, and a rationale that is given.

Gold replies with what the data set's own solution says at that point of the conversation. A student whose rationale is given is
asked only for what comes after.
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
    """Plays a part of ``method`` that writes the rationale: ``rationales`` (problem id -> text) stand in its place, and the
    ``student`` goes on from there where it states the answer."""

    def __init__(self, student: LocalEngine, method: MethodWithRationale, rationales: Mapping[str, str], name: str) -> None:
        self.student, self.method, self.rationales = student, method, rationales
        self.identity = f"{student.identity}, rationale: {name}"

    def serve(self, source: Source) -> None:
        self.student.serve(_AfterRationale(source, self))


class _AfterRationale:
    """The requests of ``source`` as the student gets them."""

    def __init__(self, source: Source, probe: ProbeEngine) -> None:
        self.source, self.probe = source, probe
        self.begin_again, self.give, self.fail = source.begin_again, source.give, source.fail

    def take(self, n: int) -> list[tuple[int, Request]]:
        while waiting := self.source.take(n):
            if left := [(ticket, given) for ticket, request in waiting if (given := self._give(ticket, request)) is not None]:
                return left
        return []

    def _give(self, ticket: int, request: Request) -> Request | None:
        """What the student is asked; None where the rationale alone is the reply."""
        rationale = self.probe.rationales.get(request.problem or "")
        if rationale is None:
            self.fail(ticket, EngineError("there is no rationale of this problem to be altered"))
            return None
        text, goes_on = self.probe.method.put_rationale(rationale, request.ask)
        if goes_on:
            return replace(request, begun=text)
        self.give(ticket, Reply(text, tokens=0, prompt_tokens=0))
        return None
