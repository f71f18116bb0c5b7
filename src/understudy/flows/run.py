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


def run_flows(flows: Flows[T], cast: Cast, *, on_end: OnEnd = lambda _: None) -> Iterator[Done[T]]:
    """Yield every flow as it ends. ``on_end`` is called with each at once; an error that it raises ends the run, and what arrived
    stays in the store."""
    if all(isinstance(engine, LocalEngine) for engine in cast.engines.values()):
        window = max([WINDOW, *(getattr(engine, "window", 0) for engine in cast.engines.values())])
        yield from drive(flows, cast, window=window, on_end=on_end)
        return
    from uvloop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        results, thresholds = _run_network(flows, cast, on_end), gc.get_threshold()
        # Thousands of flows wait at once, and the collector would look through them every 700 new objects, which takes a seventh
        # of the time of sampling (docs/design.md).
        gc.set_threshold(200_000, 20, 20)
        try:
            while group := runner.run(_take_group(results)):
                yield from group
        finally:
            gc.set_threshold(*thresholds)
            runner.run(results.aclose())


async def _run_network(flows: Flows[T], cast: Cast, on_end: OnEnd) -> AsyncGenerator[Done[T], None]:
    """Run `adrive` with its engines opened. Ends early if nothing succeeds."""
    engines = list({id(engine): engine for engine in cast.engines.values()}.values())
    async with AsyncExitStack() as stack:
        for engine in engines:
            if isinstance(engine, AbstractAsyncContextManager):
                await stack.enter_async_context(engine)
        window = max(WINDOW, *(engine.concurrency for engine in engines if isinstance(engine, AsyncEngine)))
        stream = await stack.enter_async_context(aclosing(adrive(flows, cast, window=window)))
        finished = failed = 0
        problems = set[str]()
        async for done in stream:
            on_end(done)
            yield done
            finished += 1
            failed += done.value is None and not done.unasked
            problems.add(done.path.problem)
            if finished == failed >= HOPELESS and (len(problems) > 1 or failed >= 5 * HOPELESS):
                return


async def _take_group(stream: AsyncGenerator[Done[T], None]) -> list[Done[T]]:
    """Return the next ended flows, 1,024 at most, so that the caller need not hold all of them; [] at the end."""
    group: list[Done[T]] = []
    async for done in stream:
        group.append(done)
        if len(group) == 1024:
            break
    return group
