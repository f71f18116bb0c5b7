"""Requests over a network are noted before they are sent, and a budget holds them: a real server counts."""

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest
from aiohttp import web
from asking import open_endpoint
from hypothesis import given
from hypothesis import strategies as st
from loopback import Server, completion
from pydantic import TypeAdapter

from understudy.core.asks import GREEDY, Call, Decoding, Reply, Request, SamplePath
from understudy.core.errors import EngineError, UnpaidError
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.budget import TEMPLATE, Budget, Price, Spend, compute_maximum
from understudy.sampling.ledger import Ledger
from understudy.sampling.status import status

ASK = Request(Call("teacher", "prompt", max_tokens=100), GREEDY, 0)
MOST = Spend(1, len("prompt") + TEMPLATE, 100)


def one(prompt, **options):
    reply = yield Call("teacher", prompt, **options)
    return reply.text


def sample(ledger, url, n, *, concurrency=8, decoding=None, **options):
    """One flow for each of ``n`` prompts."""
    flows = ((SamplePath(f"p-{i}"), one(f"prompt {i}", max_tokens=10)) for i in range(n))
    engine = open_endpoint(url, "tiny", retries=0, identity="e", concurrency=concurrency)
    return list(run_flows(flows, Cast({"teacher": engine}, decoding or {}, store=ledger), **options))


def outcomes(path):
    with closing(sqlite3.connect(path)) as reader:
        return dict(reader.execute("SELECT outcome, count(*) FROM intents GROUP BY outcome"))


def test_a_request_is_noted_durably_before_it_is_sent(tmp_path):
    path, noted = tmp_path / "ledger.sqlite", []

    def script(_path, body, _n):
        with closing(sqlite3.connect(path)) as reader:
            noted.append(reader.execute("SELECT count(*) FROM intents").fetchone()[0])
        return completion("said")

    with Server(script) as server, Ledger(path) as ledger:
        sample(ledger, server.url, 40, concurrency=4)
    assert len(noted) == 40
    assert all(count >= came for came, count in enumerate(noted, 1)), "the server never knew more than the ledger"


def test_what_is_set_aside_counts_until_the_usage_is_known_and_after_that_the_usage_does(tmp_path):
    with Ledger(tmp_path / "l.sqlite", price=Price(1, 10)) as ledger:
        assert ledger.reserve("k", engine="e", request=ASK)
        assert (ledger.spent.tokens, ledger.spent.money) == (MOST.tokens, pytest.approx((MOST.read + 1000) / 1e6))
        assert ledger.settled == Spend()
        ledger.put("k", Reply("x", tokens=5, prompt_tokens=3), engine="e", request=ASK, seed=0)
        assert (ledger.spent.requests, ledger.spent.tokens, ledger.spent.money) == (1, 8, pytest.approx(53e-6))
        spent = ledger.spent
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert (ledger.spent.tokens, ledger.spent.money) == (spent.tokens, pytest.approx(spent.money))


@pytest.mark.parametrize(
    ("how", "counts"),
    [
        (lambda ledger: ledger.put("k", Reply("x"), engine="e", request=ASK, seed=0), MOST),
        (lambda ledger: ledger.fail("k", EngineError("timeout")), MOST),
        (lambda ledger: ledger.fail("k", UnpaidError("no connection")), Spend()),
        (lambda ledger: None, MOST),
    ],
    ids=["no usage", "failed", "refused", "lost"],
)
def test_what_no_usage_is_known_of_counts_as_set_aside_and_what_was_refused_as_nothing(tmp_path, how, counts):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.reserve("k", engine="e", request=ASK)
        how(ledger)
        assert ledger.spent == counts
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.spent == counts


def test_a_reply_that_is_bought_again_after_it_was_lost_counts_twice(tmp_path):
    for _ in range(2):
        with Ledger(tmp_path / "l.sqlite") as ledger:
            ledger.reserve("k", engine="e", request=ASK)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.spent == MOST + MOST
    assert outcomes(tmp_path / "l.sqlite") == {"lost": 2}


@given(st.text(), st.integers(0, 10_000))
def test_no_prompt_is_set_aside_with_less_than_a_byte_a_token(prompt, most):
    spend = compute_maximum(Request(Call("teacher", prompt, max_tokens=most), GREEDY, 0), Price(1, 1))
    assert spend.read >= len(prompt.encode(errors="surrogatepass"))
    assert spend.written == most
    assert spend.money == pytest.approx((spend.read + most) / 1e6)


EACH = 8
"""Tokens of a reply of the server, read and written."""


@pytest.mark.parametrize(
    ("budget", "came"),
    [
        (Budget(requests=25), 25),
        (Budget(tokens=(25 - 1) * EACH + len("prompt 00") + TEMPLATE + 10), 25),
        (Budget(money=1.0, requests=10_000), None),
    ],
    ids=["requests", "tokens", "money"],
)
def test_a_budget_is_used_up_and_never_exceeded_across_restarts(tmp_path, budget, came):
    path, price = tmp_path / "ledger.sqlite", Price(1000, 10_000)
    with Server(lambda *_: completion("said")) as server:
        got = []
        for _ in range(3):
            with Ledger(path, price=price, budget=budget) as ledger:
                done = sample(ledger, server.url, 60)
                assert budget.covers(ledger.spent)
            got.append(len(server.got))
            assert sum(d.value is not None for d in done) == len(server.got)
            assert all(d.unasked == (d.value is None) for d in done)
        assert got == [got[0]] * 3, "nothing more is asked once it is spent"
        assert came is None or got[0] == came
        paid = 3 * 1000 / 1e6 + 5 * 10_000 / 1e6
        assert 0 < got[0] * paid <= 1.0 + paid or came is not None
        with Ledger(path, price=price, budget=Budget(requests=60)) as ledger:
            assert all(d.value == "said" for d in sample(ledger, server.url, 60))
        assert len(server.got) == 60, "a larger budget buys what is missing, and nothing else"


def test_whatever_is_in_the_ledger_comes_though_the_budget_is_spent(tmp_path):
    with Server(lambda *_: completion("said")) as server:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            sample(ledger, server.url, 10)
        with Ledger(tmp_path / "l.sqlite", budget=Budget(requests=1)) as ledger:
            flows = [(SamplePath(f"p-{i}"), one(f"prompt {i}", max_tokens=10)) for i in (90, 91, 3, 92, 7)]
            engine = open_endpoint(server.url, "tiny", identity="e")
            done = list(run_flows(flows, Cast({"teacher": engine}, store=ledger)))
        assert {d.path.problem for d in done if d.value} == {"p-3", "p-7"}
        assert len(server.got) == 10


def test_status_sees_what_is_under_way_from_outside(tmp_path):
    seen, price = [], Price(1000, 1000)

    async def script(_path, body, n):
        if n == 20:
            await asyncio.sleep(0.1)
            seen.append(await asyncio.to_thread(status, tmp_path))
        return web.Response(status=400) if n % 10 == 5 else completion("said")

    with Server(script) as server, Ledger(tmp_path / "ledger.sqlite", price=price) as ledger:
        sample(ledger, server.url, 40, concurrency=4)
    during, after = seen[0], status(tmp_path)
    assert during.writer is not None
    assert during.in_flight >= 1
    assert during.asked == during.received + during.in_flight + during.failed + during.refused >= 20
    assert (after.writer, after.asked, after.received, after.failed + after.refused, after.in_flight) == (None, 40, 36, 4, 0)
    assert after.money == pytest.approx((after.read + after.written) / 1000)


def test_a_commit_that_takes_long_holds_up_no_reply(tmp_path):
    flushes = []

    class Slow(Ledger):
        def flush(self):
            flushes.append(len(flushes))
            time.sleep(0.05)
            super().flush()

    with Server(lambda *_: completion("said")) as server, Slow(tmp_path / "l.sqlite") as ledger:
        assert len(sample(ledger, server.url, 200, concurrency=50)) == 200
    assert len(flushes) < 200 / 4, "requests that come together share a commit"


@pytest.mark.parametrize("wrong", [{"money": 0.0}, {"tokens": -1}, {"requests": 0}])
def test_a_budget_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="greater than 0"):
        TypeAdapter(Budget).validate_python(wrong)


def test_other_decoding_is_another_request(tmp_path):
    with Server(lambda *_: completion("said")) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        for temperature in (0.5, 0.7, 0.5):
            sample(ledger, server.url, 5, decoding={"teacher": Decoding(temperature)})
        assert len(server.got) == 10
