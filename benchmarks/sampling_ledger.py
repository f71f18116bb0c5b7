"""What grows with a corpus, for `sampling.py`: memory over 200,000 replies, and opening and planning against a million.

    python benchmarks/sampling_ledger.py memory URL DIR
    python benchmarks/sampling_ledger.py ledger URL DIR

The ledger (1.6 GB) is made in DIR where it is not there, which takes minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
from run_understudy import flow, sample_chains
from workload import MAX_TOKENS, TEMPERATURE, Spec, hashed, prompt

from understudy.core.asks import Call, Decoding, Flow, Reply, Request, SamplePath
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.options import Endpoint
from understudy.flows.cast import Cast
from understudy.flows.drive import adrive
from understudy.flows.run import run_flows
from understudy.sampling.database import VERSION
from understudy.sampling.ledger import Ledger

CALLS, CONCURRENCY = 200_000, 512
PROBLEMS, PATHS = 40_000, 25
DECODING = Decoding(TEMPERATURE)
WARM = 20_000
"""Replies after which memory is expected to stay."""


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def tell(benchmark: str, subject: str, concurrency: int | None, value: float, unit: str) -> None:
    print(
        json.dumps({"benchmark": benchmark, "subject": subject, "concurrency": concurrency, "value": value, "unit": unit}),
        flush=True,
    )


def flows(texts: Iterable[str], paths: int) -> Iterator[tuple[SamplePath, Flow[str]]]:
    for i, text in enumerate(texts):
        for index in range(paths):
            yield SamplePath(str(i), index), flow(text)


async def sample(engine: EndpointEngine, ledger: Path, calls: int) -> list[float]:
    """Memory after each `WARM` replies, none of which is kept here."""
    seen, n = [], 0
    with Ledger(ledger) as store:
        async with engine:
            asked = adrive(flows(map(prompt, range(calls)), 1), Cast({"teacher": engine}, {"teacher": DECODING}, store=store))
            async for done in asked:
                assert done.error is None, done.error
                n += 1
                if n % WARM == 0:
                    seen.append(resident())
    assert n == calls
    return seen


def memory(url: str, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place) as work:
        engine = EndpointEngine(Endpoint(url, "loopback", api="chat", concurrency=CONCURRENCY, n=1))
        seen = asyncio.run(sample(engine, Path(work) / "ledger.sqlite", CALLS))
    tell("memory", "understudy", CONCURRENCY, seen[0], f"MB after {WARM:,} replies")
    tell("memory growth", "understudy", CONCURRENCY, seen[-1] - seen[0], f"MB more after {CALLS:,}")
    # The chains wait on disk until they are written.
    few = int(CALLS / 4)
    texts = [prompt(i) for i in range(few)]
    before = resident()
    with tempfile.TemporaryDirectory(dir=place) as work:
        made = sample_chains(Spec(url, "", few, CONCURRENCY, "loopback", work), texts)
        tell("memory growth", "understudy chains", CONCURRENCY, (resident() - before) / len(made) * 1000, "KB a chain")


def request(text: str, path: int) -> Request:
    return Request(Call("teacher", text, max_tokens=MAX_TOKENS, decoding=DECODING), DECODING, path)


def build(ledger: Path, engine: EndpointEngine) -> None:
    """As a sampling writes it: path after path of a problem, in groups; but nobody is asked."""
    said = "x" * 380
    with Ledger(ledger) as store:
        for i in range(PROBLEMS):
            text = prompt(i)
            for path in range(PATHS):
                asked = request(text, path)
                key = asked.key(engine.identity)
                store.reserve(key, engine=engine.identity, request=asked)
                content = f"{hashed(text)} {path} {said}"
                choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
                raw = json.dumps({"id": key, "object": "chat.completion", "created": 1700000000, "model": "m", "choices": [choice]})
                reply = Reply(content, "stop", 100, 300, raw=raw, finish_reason="stop", model="m", latency=0.05)
                store.put(key, reply, engine=engine.identity, request=asked, seed=0)
            if i % 20 == 0:
                store.flush()
            if i % 4000 == 0:
                print(f"  ledger: {i * PATHS:,} replies", file=sys.stderr, flush=True)


def million(url: str, place: Path) -> None:
    engine = EndpointEngine(Endpoint(url, "loopback", api="chat", identity="the teacher", n=1))
    ledger = place / f"million-{VERSION}.sqlite"
    if not ledger.is_file():
        for left in place.glob("million-*"):
            left.unlink()
        making = place / "making.sqlite"
        for left in place.glob("making.sqlite*"):
            left.unlink()
        build(making, engine)
        making.rename(ledger)
    tell("ledger", "size", None, ledger.stat().st_size / 1e9, "GB")
    texts = list(map(prompt, range(PROBLEMS)))
    began = time.monotonic()
    with Ledger(ledger) as store:
        opened = time.monotonic()

        n = 0
        for done in run_flows(flows(texts, PATHS), Cast({"teacher": engine}, {"teacher": DECODING}, store=store)):
            assert done.value is not None and not done.bought, "it was asked again"
            n += 1
        assert n == PROBLEMS * PATHS
        finished = time.monotonic()
    tell("ledger", "opened", None, opened - began, "s")
    tell("ledger", "planned", None, finished - opened, "s")
    tell("ledger", "opened and planned", None, finished - began, "s")
    tell("ledger", "memory", None, resident(), "MB")


if __name__ == "__main__":
    {"memory": memory, "ledger": million}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
