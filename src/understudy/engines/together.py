"""Flows over whatever engine is there: local ones in this thread, network ones in an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import TypeVar

from understudy.core.asks import Decoding
from understudy.core.protocols import AsyncEngine, Engine, LocalEngine, ReplyStore
from understudy.engines.drive import Done, Flows, adrive, drive

T = TypeVar("T")

HOPELESS = 20
"""So many flows over an endpoint that fail before any succeeds end it all: it cannot be asked."""


def ended(
    flows: Flows[T],
    engines: Mapping[str, Engine],
    *,
    store: ReplyStore | None,
    decoding: Mapping[str, Decoding],
    seed: int,
    on_end: Callable[[Done[T]], None],
    concurrency: int = 64,
) -> Iterator[Done[T]]:
    """Every flow as it ends. ``engines`` are all local or all network ones; ``on_end`` hears of each flow at once, and what it
    raises ends them all (what came is in the store). ``concurrency``: requests at once, of network engines."""
    local = {role: engine for role, engine in engines.items() if isinstance(engine, LocalEngine)}
    if len(local) == len(engines):
        yield from drive(flows, local, store=store, decoding=decoding, seed=seed, on_end=on_end)
        return
    remote = {role: engine for role, engine in engines.items() if isinstance(engine, AsyncEngine)}
    assert not local and len(remote) == len(engines), "engines are all local or all network ones"
    found: list[Done[T]] = []

    async def ask() -> None:
        async with AsyncExitStack() as stack:
            for engine in {id(e): e for e in remote.values()}.values():
                await stack.enter_async_context(engine)  # type: ignore[arg-type]
            asked = adrive(flows, remote, store=store, decoding=decoding, seed=seed, concurrency=concurrency)
            async for done in asked:
                found.append(done)
                on_end(done)
                if len(found) == HOPELESS and all(d.value is None for d in found):
                    await asked.aclose()  # type: ignore[attr-defined]
                    return

    asyncio.run(ask())
    yield from found
