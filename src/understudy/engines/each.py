"""Serving for engines that answer one request at a time."""

from collections.abc import Callable

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Source


def serve_each(source: Source, respond: Callable[[Request], Reply]) -> None:
    """Answer every request of ``source`` with ``respond``. An EngineError from ``respond`` fails only its own request."""
    while waiting := source.take(256):
        for ticket, request in waiting:
            try:
                answer = respond(request)
            except EngineError as error:
                source.fail(ticket, error)
            else:
                source.give(ticket, answer)
