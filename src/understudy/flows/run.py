"""Flows over whatever engine is there: local ones alone in this thread, network ones in an event loop of their own, with local
ones beside them in threads."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, contextmanager
from typing import TypeVar

from understudy.core.asks import Decoding
from understudy.core.protocols import Engine, LocalEngine, ReplyStore
from understudy.flows.board import Done, Flows
from understudy.flows.drive import WINDOW, adrive, drive

T = TypeVar("T")

HOPELESS = 20
"""So many flows over an endpoint that fail before any succeeds end it all: it cannot be asked."""
BATCH = 1024
"""Flows that ended are handed on in groups of so many: whoever takes them need not hold all of them."""


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
    """Every flow as it ends. ``on_end`` hears of each at once, and what it raises ends them all (what came is in the store).
    ``concurrency``: requests at once, of network engines."""
    local = {role: engine for role, engine in engines.items() if isinstance(engine, LocalEngine)}
    if len(local) == len(engines):
        yield from drive(flows, local, store=store, decoding=decoding, seed=seed, on_end=on_end)
        return

    async def asked() -> AsyncGenerator[Done[T], None]:
        async with AsyncExitStack() as stack:
            for engine in {id(e): e for e in engines.values()}.values():
                if isinstance(engine, AbstractAsyncContextManager):
                    await stack.enter_async_context(engine)
            window = max(WINDOW, concurrency)
            flowing = adrive(flows, engines, store=store, decoding=decoding, seed=seed, window=window, concurrency=concurrency)
            await stack.enter_async_context(aclosing(flowing))
            ended = failed = 0
            async for done in flowing:
                on_end(done)
                yield done
                ended += 1
                failed += done.value is None and not done.unasked
                if ended == failed == HOPELESS:
                    return

    with _fewer_collections(), asyncio.Runner() as runner:
        all_of_them = asked()
        try:
            while some := runner.run(_some(all_of_them)):
                yield from some
        finally:
            runner.run(all_of_them.aclose())


async def _some(flowing: AsyncGenerator[Done[T], None]) -> list[Done[T]]:
    """The next ones; [] at the end."""
    found: list[Done[T]] = []
    async for done in flowing:
        found.append(done)
        if len(found) == BATCH:
            break
    return found


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Thousands of flows wait at once, and the collector would look through them every 700 new objects: a seventh of the work of
    sampling (docs/design.md)."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
