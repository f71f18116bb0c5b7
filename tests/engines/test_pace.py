"""How fast an address is asked: by the clock of a loop in which hours take no time, and over HTTP on loopback."""

import asyncio
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import hours
import pytest
from aiohttp import web
from asking import ask_one, open_endpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Server, completion

from understudy.core.asks import Call, Decoding, Request
from understudy.core.errors import AccountError
from understudy.engines.remote.pace import DEAD, REST, START, Address, Pace, choose_address


def now():
    return asyncio.get_running_loop().time()


class Bears:
    """What lets ``most`` in at once, for a second each, and refuses all others at once."""

    def __init__(self, most):
        self.most, self.inside, self.log = most, 0, []

    async def ask(self, pace, tokens=1):
        again = False
        while True:
            number = await pace.enter(tokens, is_retry=again)
            lets_in = self.inside < self.most
            self.log.append(lets_in)
            if lets_in:
                self.inside += 1
                await asyncio.sleep(1)
                self.inside -= 1
                pace.grow()
            else:
                await asyncio.sleep(0.01)
                pace.shrink(number, 0.0)
            pace.leave(tokens, tokens)
            if lets_in:
                return now()
            await asyncio.sleep(0.1)
            again = True


@pytest.mark.parametrize("most", [1, 3, 10, 50, 200, 1000])
def test_an_address_comes_to_be_asked_as_much_as_it_bears(most):
    server, pace, n = Bears(most), Pace(), 40 * most + 100

    async def all_of_them():
        return await asyncio.gather(*(server.ask(pace) for _ in range(n)))

    ends = hours.run(all_of_them())
    assert len(ends) == n
    assert 0.6 * most <= pace.limit <= max(1.3 * most, most + 1.1)
    refusals = Counter(server.log[len(server.log) // 4 :])[False]
    assert refusals < 0.15 * n, "few are refused once it is found"
    assert max(ends) < 1.4 * n / most + 15, "and little of what it bears is left unused"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_whoever_comes_first_goes_first_and_nobody_is_forgotten(cancelled, bears):
    order = []

    async def ask(pace, i):
        await pace.enter(1)
        order.append(i)
        try:
            await asyncio.sleep(1)
        finally:
            pace.leave(1, 1)

    async def all_of_them():
        pace = Pace()
        pace.limit = bears
        tasks = [asyncio.ensure_future(ask(pace, i)) for i in range(60)]
        for i in cancelled:
            await asyncio.sleep(0.3)
            tasks[i].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pace.active == 0
        assert {i for i, task in enumerate(tasks) if not task.cancelled()} <= set(order)

    hours.run(all_of_them())
    assert order == sorted(order)


def test_a_place_goes_back_when_whoever_was_just_given_it_is_gone():
    async def story():
        pace = Pace()
        pace.limit = 1
        await pace.enter(1)
        next_one = asyncio.ensure_future(pace.enter(1))
        await asyncio.sleep(0)
        pace.leave(1, 1)
        next_one.cancel()
        await asyncio.gather(next_one, return_exceptions=True)
        assert pace.active == 0

    hours.run(story())


@pytest.mark.parametrize(("limits", "each"), [((30, None), 1), ((None, 3000), 100), ((60, 3000), 100), ((30, 10**6), 100)])
def test_no_minute_has_more_requests_or_tokens_than_are_allowed(limits, each):
    async def all_of_them():
        pace, times = Pace(*limits), []

        async def ask():
            await pace.enter(each)
            times.append(now())
            await asyncio.sleep(0.5)
            pace.leave(each, each)

        await asyncio.gather(*(ask() for _ in range(100)))
        return times

    times = hours.run(all_of_them())
    assert all(sum(begin <= t < begin + 60 for t in times) <= 30 for begin in times)
    assert times[-1] < 201, "and no fewer"


def test_tokens_that_were_expected_and_not_used_are_given_back():
    async def all_of_them():
        pace = Pace(None, 1000)
        for _ in range(50):
            await pace.enter(1000)
            pace.leave(1000, 10)
        return now()

    assert hours.run(all_of_them()) == pytest.approx(49 * 0.6)


def test_nobody_goes_while_the_address_asks_to_wait_and_one_wave_of_refusals_counts_once():
    async def all_of_them():
        pace = Pace()
        numbers = [await pace.enter(1) for _ in range(START)]
        for number in numbers:
            pace.shrink(number, 30.0)
        assert pace.limit == START / 2
        for _ in numbers:
            pace.leave(1, 1)
        await pace.enter(1)
        return now()

    assert hours.run(all_of_them()) == pytest.approx(30.0)


def test_an_address_that_is_down_is_left_for_a_while_then_one_request_sees_whether_it_is_back():
    async def story():
        one, other = Address("one", Pace()), Address("other", Pace())
        both = [one, other]
        assert choose_address(both, avoid=one) is other
        for _ in range(DEAD):
            one.note_fault()
        assert [choose_address(both, avoid=None) for _ in range(3)] == [other] * 3
        other.pace.active = 5
        await asyncio.sleep(REST + 1)
        assert [choose_address(both, avoid=None) for _ in range(3)] == [one, other, other]
        one.note_answer()
        await asyncio.sleep(REST + 1)
        assert [choose_address(both, avoid=None) for _ in range(3)] == [one] * 3
        for address in both:
            for _ in range(DEAD):
                address.note_fault()
        assert choose_address(both, avoid=None) in both, "where all are down one is asked all the same"

    hours.run(story())


def call(path=0):
    return Request(Call("teacher", "Q: x\nA:"), Decoding(1.0), path)


def ask_all(server, n, **options):
    urls = [one.url for one in server] if isinstance(server, list) else server.url

    async def run():
        async with open_endpoint(urls, "m", wait=0.01, **options) as engine:
            return await asyncio.gather(*(ask_one(engine, call(path)) for path in range(n)), return_exceptions=True)

    return asyncio.run(run())


def test_over_http_every_ask_is_answered_and_a_refusal_takes_no_retry():
    inside, said = 0, Counter()

    def limited(_path, body, _n):
        nonlocal inside
        if inside >= 5:
            said[429] += 1
            return web.Response(status=429, text="slow down")
        inside += 1
        return work(body)

    async def work(body):
        nonlocal inside
        await asyncio.sleep(0.005)
        inside -= 1
        said[200] += 1
        return completion(str(body["seed"] >> 16))

    with Server(limited) as server:
        replies = ask_all(server, 150, retries=0)
    assert [reply.text for reply in replies] == [str(path) for path in range(150)]
    assert said[200] == 150
    assert 0 < said[429] < 150


def later(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "least"),
    [
        (429, lambda: {"Retry-After": "1"}, 1.0),
        (429, lambda: {"Retry-After": "0.5"}, 0.5),
        (503, lambda: {"Retry-After": "0.5"}, 0.5),
        (429, lambda: {"Retry-After-Ms": "700", "Retry-After": "90"}, 0.7),
        (429, lambda: {"Retry-After": later(2)}, 0.9),
        (429, lambda: {"Retry-After": later(3602), "Date": later(3600)}, 1.9),
        (429, lambda: {"Retry-After": "soon"}, 0.0),
        (429, lambda: {"Retry-After": "-5"}, 0.0),
        (429, lambda: {"Retry-After": "nan"}, 0.0),
        (429, lambda: {"Retry-After": "Fri, 99 Foo 2099"}, 0.0),
    ],
)
def test_a_server_that_asks_to_wait_is_given_its_time(status, headers, least):
    with Server(lambda _p, _b, n: web.Response(status=status, headers=headers()) if n == 1 else completion("ok")) as server:
        began = time.monotonic()
        assert [reply.text for reply in ask_all(server, 1, retries=1)] == ["ok"]
        assert time.monotonic() - began >= least


QUOTA = '{"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}}'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: web.Response(status=401, text="bad key"), "HTTP 401: bad key; is the key right"),
        (lambda: web.Response(status=403, text="no"), "HTTP 403: no; .*teacher.key_env"),
        (lambda: web.Response(status=402, text="pay"), "HTTP 402: pay; the account has no credit left: top it up"),
        (lambda: web.Response(status=429, text=QUOTA), "insufficient_quota.*no credit left"),
        (lambda: web.json_response({"error": {"code": 402, "message": "pay"}}), "HTTP 200: .*no credit left"),
        (lambda: web.Response(status=429, text="tomorrow", headers={"Retry-After": "86400"}), "it asks to wait 86,400 s"),
    ],
)
def test_where_key_or_account_are_refused_nothing_more_is_sent(answer, says):
    with Server(lambda *_: answer()) as server:
        replies = ask_all(server, 300)
        assert len(server.got) <= START
    assert all(isinstance(reply, AccountError) for reply in replies)
    for reply in replies:
        assert re.search(says, str(reply)), reply
        assert "run the same command again" in str(reply)


def test_a_server_that_does_nothing_but_refuse_is_given_up_after_a_while(monkeypatch):
    monkeypatch.setattr("understudy.engines.remote.endpoint.PATIENCE", 0.3)
    with Server(lambda *_: web.Response(status=429, text="no")) as server:
        replies = ask_all(server, 30)
    assert all(isinstance(reply, AccountError) for reply in replies)


def test_where_one_address_is_down_the_others_answer_and_it_is_asked_again_when_it_is_back(monkeypatch):
    monkeypatch.setattr("understudy.engines.remote.pace.REST", 0.05)
    down = True

    def shaky(_path, body, _n):
        return web.Response(status=502) if down else completion("a")

    with Server(shaky) as a, Server(lambda *_: completion("b")) as b:

        async def run():
            nonlocal down
            async with open_endpoint([a.url, b.url, "http://127.0.0.1:9/v1"], "m", wait=0.01, identity="m") as engine:
                first = await asyncio.gather(*(ask_one(engine, call(path)) for path in range(100)))
                down, tried = False, len(a.got)
                await asyncio.sleep(0.1)
                for path in range(100, 105):
                    await ask_one(engine, call(path))
                second = await asyncio.gather(*(ask_one(engine, call(path)) for path in range(105, 200)))
                return first, second, tried

        first, second, tried = asyncio.run(run())
    assert {reply.text for reply in first} == {"b"}
    assert tried < 60, "not everybody is sent to what is down"
    assert Counter(reply.text for reply in second)["a"] > 20


def test_several_addresses_must_be_said_to_be_one_model():
    with pytest.raises(ValueError, match="identity must be given"):
        open_endpoint(["http://a/v1", "http://b/v1"], "m")
    assert open_endpoint(["http://a/v1", "http://b/v1"], "m", identity="llama").identity == "llama"
