"""Serving for engines that answer each request on its own."""

from __future__ import annotations

from collections.abc import Callable

from understudy.core.asks import Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Source


def serve_each(source: Source, say: Callable[[Request], Reply]) -> None:
    """Answer everything that ``source`` has with ``say``; an EngineError of ``say`` fails its own request."""
    while waiting := source.take(256):
        for ticket, request in waiting:
            try:
                reply = say(request)
            except EngineError as error:
                source.fail(ticket, error)
            else:
                source.give(ticket, reply)
