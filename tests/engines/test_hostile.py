"""Every fault mixed: each ask ends in its own reply, and none is lost, mixed up or counted twice."""

import asyncio
from contextlib import aclosing

import pytest
from asking import open_endpoint, read_keys
from hostile import FAULTS, REFUSALS, Hostile, text_of

from understudy.core.asks import Call, Decoding, SamplePath
from understudy.flows.cast import Cast
from understudy.flows.drive import adrive
from understudy.sampling.ledger import Ledger


def write_prompt(n):
    def flow(i):
        reply = yield Call("teacher", f"Q: {i}\nA:")
        return reply

    return ((SamplePath(str(i)), flow(i)) for i in range(n))


def sampled(server, ledger, n, **options):
    async def run():
        done = []
        with Ledger(ledger) as store:
            async with open_endpoint(server.url, "m", retries=60, wait=0.001, **options) as engine:
                asked = adrive(write_prompt(n), Cast({"teacher": engine}, store=store, decoding={"teacher": Decoding(1.0)}))
                async with aclosing(asked):
                    async for one in asked:
                        done.append(one)
        return done

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("n", "stream"), [(600, False), (400, True), *(pytest.param(5000, s, marks=pytest.mark.hostile) for s in (False, True))]
)
def test_of_calls_with_every_fault_mixed_none_is_lost_and_none_counted_twice(tmp_path, n, stream):
    with Hostile() as server:
        done = sampled(server, tmp_path / "l.sqlite", n, stream=stream, timeout=2.0)
        assert set(server.suffered) == {fault.__name__ for fault in (*FAULTS, *REFUSALS)}, "each fault came"
        assert [one.error for one in done if one.error] == []
        assert {int(one.path.problem): one.value.text for one in done} == {i: text_of(f"Q: {i}\nA:") for i in range(n)}
        assert all((one.value.tokens, one.value.logprobs, one.value.model) == (2, (-0.5, -0.25), "m-1 (fp)") for one in done)
        assert set(server.answered) == {f"Q: {i}\nA:" for i in range(n)}
        # On a busy machine a good answer may come too late, and is bought again.
        assert sum(server.answered.values()) <= 1.02 * n
        with Ledger(tmp_path / "l.sqlite", readonly=True) as store:
            assert len(read_keys(store)) == n
        before = sum(server.answered.values()) + sum(server.suffered.values())
        again = sampled(server, tmp_path / "l.sqlite", n, stream=stream, timeout=2.0)
        assert len(again) == n
        assert sum(server.answered.values()) + sum(server.suffered.values()) == before, "all of it is kept"
