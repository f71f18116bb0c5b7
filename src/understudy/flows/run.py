"""Run flows over any engines: only local ones in this thread; network ones in an event loop, local ones alongside in threads."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing

from understudy.core.asks import T
from understudy.core.protocols import AsyncEngine, LocalEngine
from understudy.flows.board import Done, Flows, OnEnd
from understudy.flows.cast import Cast
from understudy.flows.drive import WINDOW, adrive, drive

HOPELESS = 20
"""The run ends if this many flows over a network fail before any succeeds: the endpoint cannot be asked."""
GROUP = 1024
"""Ended flows are passed on in groups of this size, so that the caller need not hold all of them."""


def run_flows(flows: Flows[T], cast: Cast, *, on_end: OnEnd = lambda _: None) -> Iterator[Done[T]]:
    """Yield every flow as it ends. ``on_end`` is called with each at once; an error that it raises ends the run, and what arrived
    stays in the store."""
    if all(isinstance(engine, LocalEngine) for engine in cast.engines.values()):
        window = max([WINDOW, *(getattr(engine, "window", 0) for engine in cast.engines.values())])
        yield from drive(flows, cast, window=window, on_end=on_end)
        return
    from uvloop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        all_of_them, before = _run_network(flows, cast, on_end), gc.get_threshold()
        # Thousands of flows wait at once, and the collector would look through them every 700 new objects, which takes a seventh
        # of the time of sampling (docs/design.md).
        gc.set_threshold(200_000, 20, 20)
        try:
            while some := runner.run(_take(all_of_them)):
                yield from some
        finally:
            gc.set_threshold(*before)
            runner.run(all_of_them.aclose())


async def _run_network(flows: Flows[T], cast: Cast, on_end: OnEnd) -> AsyncGenerator[Done[T], None]:
    """Run `adrive` with its engines opened. Ends early if nothing succeeds."""
    engines = list({id(engine): engine for engine in cast.engines.values()}.values())
    async with AsyncExitStack() as stack:
        for engine in engines:
            if isinstance(engine, AbstractAsyncContextManager):
                await stack.enter_async_context(engine)
        window = max(WINDOW, *(engine.concurrency for engine in engines if isinstance(engine, AsyncEngine)))
        flowing = await stack.enter_async_context(aclosing(adrive(flows, cast, window=window)))
        finished = failed = 0
        async for done in flowing:
            on_end(done)
            yield done
            finished += 1
            failed += done.value is None and not done.unasked
            if finished == failed == HOPELESS:
                return


async def _take(flowing: AsyncGenerator[Done[T], None]) -> list[Done[T]]:
    """Return the next ended flows; [] at the end."""
    some: list[Done[T]] = []
    async for done in flowing:
        some.append(done)
        if len(some) == GROUP:
            break
    return some
