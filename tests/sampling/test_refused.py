"""The ledger counts what the server counts: what was refused or never sent costs nothing, whatever ends the run."""

import asyncio

import pytest
from aiohttp import web
from asking import open_endpoint
from loopback import Server, completion

from understudy.core.asks import Call, Decoding, SamplePath
from understudy.core.errors import AccountError, UnderstudyError
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.budget import Budget, Price
from understudy.sampling.ledger import Ledger


def one(problem):
    reply = yield Call("teacher", f"prompt of {problem}", stop=("\n\n",), max_tokens=8192)
    return reply.text


def sample(path, url, *, on_end=lambda _: None, problems=100, samples=1, **options):
    """What ``problems`` asks came to, and the error that ended them; what the ledger says then, opened again."""
    price, error, done = Price(0.5, 1.5), None, []
    with Ledger(path, price=price, budget=Budget(money=20.0)) as ledger:
        engine = open_endpoint(url, **{"n": 8, "concurrency": 64, "wait": 0.01} | options)
        flows = ((SamplePath(f"p{i}", k), one(f"p{i}")) for i in range(problems) for k in range(samples))
        cast = Cast({"teacher": engine}, store=ledger, decoding={"teacher": Decoding(0.7)})
        try:
            done = list(run_flows(flows, cast, on_end=on_end))
        except (UnderstudyError, ZeroDivisionError) as raised:
            error = raised
    with Ledger(path, price=price) as ledger:  # what nobody closed is lost now
        return done, error, ledger.spent


def refusal(status, text="temperature 0.7 is not supported"):
    return lambda *_: web.Response(status=status, text=text)


@pytest.mark.parametrize("samples", [1, 8])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_a_server_that_refuses_everything_has_taken_no_money_and_was_sent_what_the_ledger_says(tmp_path, status, samples):
    with Server(refusal(status)) as server:
        done, error, spent = sample(tmp_path / "l.sqlite", server.url, samples=samples)
        assert (spent.money, spent.tokens, spent.requests) == (0, 0, len(server.got))
    assert 0 < spent.requests <= 200
    assert isinstance(error, AccountError) == (status in (401, 402, 403))
    assert all(one.error for one in done)
    with Server(lambda *_: completion("ok")) as server:
        done, error, spent = sample(tmp_path / "l.sqlite", server.url, problems=10, identity="another")
    assert (error, [one.value for one in done]) == (None, ["ok"] * 10), "there is room for the corrected study"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_a_server_could_not_do_costs_no_money_either(tmp_path, status):
    with Server(lambda _p, _b, n: completion("ok") if n % 2 else web.Response(status=status, text="later")) as server:
        done, _, spent = sample(tmp_path / "l.sqlite", server.url, retries=9, concurrency=4)
        assert [one.value for one in done] == ["ok"] * 100
        throttled = status == 429
        # A throttled request is sent again until it is let in, and counts once.
        assert spent.requests == (100 if throttled else len(server.got))
    assert spent.written == 5 * 100


@pytest.mark.parametrize("status", [408, 504, 524])
def test_where_a_gateway_gave_up_the_model_may_have_gone_on_so_that_counts(tmp_path, status):
    with Server(lambda _p, _b, n: completion("ok") if n % 2 else web.Response(status=status, text="later")) as server:
        _, _, spent = sample(tmp_path / "l.sqlite", server.url, problems=20, retries=9, concurrency=4)
        lost = len(server.got) - 20
    assert lost and spent.written == 5 * 20 + 8192 * lost, "the most that each could have written"


def test_nothing_is_counted_where_there_is_no_server(tmp_path):
    _, _, spent = sample(tmp_path / "l.sqlite", "http://127.0.0.1:9/v1", retries=1)
    assert (spent.requests, spent.money) == (0, 0)


@pytest.mark.parametrize("ends", ["the key is refused", "the caller has enough", "nothing but errors"])
def test_what_is_under_way_when_a_run_ends_is_awaited_and_kept(tmp_path, ends):
    first, seen = 4, []

    async def script(_path, body, n):
        if n <= first and ends != "nothing but errors":
            return completion("ok")
        if n == first + 1 and ends == "the key is refused":
            await asyncio.sleep(0.2)
            return web.Response(status=401, text="expired")
        if ends == "nothing but errors" and n <= 20:
            return web.Response(status=400, text="no")
        await asyncio.sleep(0.6)
        return completion("late")

    def on_end(done):
        seen.append(done)
        if ends == "the caller has enough" and len(seen) == first:
            raise ZeroDivisionError

    with Server(script) as server:
        _, error, spent = sample(tmp_path / "l.sqlite", server.url, on_end=on_end, n=1, concurrency=24)
        came = len(server.got)
        assert spent.requests == came < 100
        with Ledger(tmp_path / "l.sqlite") as ledger, ledger.reading() as reader:
            counts = dict(reader.execute("SELECT outcome, count(*) FROM intents WHERE requests > 0 GROUP BY outcome"))
    refused = {"the key is refused": 1, "the caller has enough": 0, "nothing but errors": 20}[ends]
    assert counts == {"reply": came - refused} | ({"refused": refused} if refused else {})
    assert type(error) is {"the key is refused": AccountError, "the caller has enough": ZeroDivisionError}.get(ends, type(None))
