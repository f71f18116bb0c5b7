"""Several choices in one request: what comes is the same as of as many requests, and what does not come is asked for alone."""

import asyncio
import json
from collections import Counter
from dataclasses import asdict

import pytest
from aiohttp import web
from asking import open_endpoint, read_keys
from loopback import Server, completion

from understudy.core.asks import Call, Decoding, SamplePath
from understudy.core.errors import EngineError
from understudy.engines.remote.choices import read_choices
from understudy.flows.board import Done
from understudy.flows.cast import Cast
from understudy.flows.drive import adrive
from understudy.sampling.budget import Budget, Price, Spend
from understudy.sampling.ledger import Ledger

PRICE = Price(input=10, output=100)


def choice(body, index, **more):
    """The text says which draw it is: of which seed, and which in its answer."""
    return {"index": index, "text": f"{body['seed'] >> 16} {index}", "logprobs": {"token_logprobs": [-0.5] * 4}, **more}


def several(body, choices=None):
    n = body.get("n", 1)
    choices = [choice(body, i) for i in range(n)] if choices is None else choices
    return {"choices": choices, "usage": {"prompt_tokens": 100, "completion_tokens": 4 * n}}


def one_flow(problem):
    reply = yield Call("teacher", f"prompt of {problem}", max_tokens=16)
    return reply.text


def sample(server, where, *, problems=2, paths=range(10), temperature=1.0, budget=None, **options):
    """(what became of each path, what it counts as, the bodies that were sent)"""

    async def run(ledger) -> list[Done]:
        flows = ((SamplePath(f"p{i}", path), one_flow(f"p{i}")) for i in range(problems) for path in paths)
        async with open_endpoint(server.url, "m", **{"n": 4, "retries": 0, "identity": "m", "concurrency": 3} | options) as engine:
            asked = adrive(flows, Cast({"teacher": engine}, store=ledger, decoding={"teacher": Decoding(temperature)}))
            return [done async for done in asked]

    before = len(server.got)
    with Ledger(where / "ledger.sqlite", price=PRICE, budget=budget) as ledger:
        found = asyncio.run(run(ledger))
        return found, ledger.settled, [body for _, body in server.got[before:]]


def rows(where):
    with Ledger(where / "ledger.sqlite", readonly=True) as ledger:
        return {key: ledger.get(key) for key in read_keys(ledger)}


def test_paths_of_one_problem_share_a_request_and_its_prompt_is_paid_once(tmp_path):
    with Server(lambda _p, body, _n: several(body)) as server:
        found, spent, bodies = sample(server, tmp_path)
    assert [body.get("n", 1) for body in bodies] == [4, 4, 2] * 2
    assert len({body["prompt"] for body in bodies[:3]}) == 1, "never those of two problems"
    drawn = [f"{first} {i}" for first in (0, 4, 8) for i in range(min(4, 10 - first))]
    assert Counter(done.value for done in found) == Counter(drawn * 2)
    assert spent == Spend(6, 6 * 100, 20 * 4, pytest.approx((600 * 10 + 80 * 100) / 1e6))


def test_n_in_one_request_and_n_requests_make_the_same_records(tmp_path):
    together, apart = tmp_path / "together", tmp_path / "apart"
    with Server(lambda _p, body, _n: several(body)) as server:
        for where, n in ((together, 4), (apart, 1)):
            where.mkdir()
            sample(server, where, n=n)
    assert rows(together).keys() == rows(apart).keys()
    for key, reply in rows(together).items():
        other = rows(apart)[key]
        same = {name for name, value in asdict(reply).items() if type(value) is type(getattr(other, name))}
        assert same == asdict(other).keys()
        assert (reply.tokens, reply.prompt_tokens, reply.finish, len(reply.logprobs)) == (4, 100, "stop", 4)
        assert [c["text"] for c in json.loads(reply.raw)["choices"]] == [reply.text], "its own part of the answer"


def test_more_paths_later_ask_for_those_only(tmp_path):
    with Server(lambda _p, body, _n: several(body)) as server:
        sample(server, tmp_path, problems=1)
        assert sample(server, tmp_path, problems=1)[2] == []
        found, _, bodies = sample(server, tmp_path, problems=1, paths=range(13))
    assert [(body.get("n", 1), body["seed"] >> 16) for body in bodies] == [(3, 10)]
    assert len({done.value for done in found}) == 13, "another seed draws others than the first time"


@pytest.mark.parametrize("refuses", [False, True])
def test_a_server_that_gives_one_choice_is_asked_for_one_at_a_time_and_nothing_twice(tmp_path, refuses):
    def script(_path, body, _n):
        if refuses and body.get("n", 1) > 1:
            return web.Response(status=400, text="only one choice, please")
        return completion(f"{body['seed'] >> 16}")

    with Server(script) as server:
        found, spent, bodies = sample(server, tmp_path)
    assert Counter((done.path.problem, done.value) for done in found) == {(f"p{i}", f"{k}"): 1 for i in range(2) for k in range(10)}
    answered = [body for body in bodies if not (refuses and "n" in body)]
    assert (len(answered), spent.requests) == (20, len(bodies)), "refused ones count, and cost nothing"
    assert 1 <= sum("n" in body for body in bodies) <= 3, "those that were under way when the first answer came"


def test_a_choice_that_cannot_be_read_is_asked_for_again_alone(tmp_path):
    def script(_path, body, n):
        return several(body, [choice(body, i) | ({"text": None} if i == 1 and n == 1 else {}) for i in range(body.get("n", 1))])

    with Server(script) as server:
        found, _, bodies = sample(server, tmp_path, problems=1, paths=range(4))
    assert [body.get("n", 1) for body in bodies] == [4, 1]
    assert {done.path.index: done.value for done in found} == {0: "0 0", 1: "0 2", 2: "0 3", 3: "3 0"}


def test_choices_come_in_the_order_of_their_indices():
    body = {"seed": 0}
    found = read_choices(several(body | {"n": 3}, [choice(body, i) for i in (2, 0, 1)]), "", (), chat=False, n=3)
    assert [reply.text for reply in found] == ["0 0", "0 1", "0 2"]


def test_tokens_of_each_of_several_choices_are_not_made_up():
    body = {"seed": 0, "n": 2}
    found = read_choices(several(body, [{"index": i, "text": "so"} for i in range(2)]), "", (), chat=False, n=2)
    assert [reply.tokens for reply in found] == [None, None]


def test_what_nobody_counts_by_choice_is_counted_all_the_same(tmp_path):
    with Server(lambda _p, body, _n: several(body, [{"index": i, "text": f"{i}"} for i in range(body.get("n", 1))])) as server:
        _, spent, _ = sample(server, tmp_path, problems=1)
    assert (spent.read, spent.written) == (3 * 100, 10 * 4)


def test_choices_without_usage_count_as_much_as_single_replies(tmp_path):
    def script(_path, body, _n):
        return {"choices": [choice(body, i, logprobs=None) for i in range(body.get("n", 1))]}

    spent = {}
    for n in (1, 4):
        (tmp_path / str(n)).mkdir()
        with Server(script) as server:
            _, spent[n], _ = sample(server, tmp_path / str(n), problems=1, paths=range(8), n=n)
    assert spent[1].written == spent[4].written == 8 * 16


def test_a_budget_with_room_for_some_of_them_asks_for_these(tmp_path):
    with Server(lambda _p, body, _n: several(body)) as server:
        found, spent, bodies = sample(server, tmp_path, problems=1, budget=Budget(requests=6))
    assert [body.get("n", 1) for body in bodies][:2] == [4, 2]
    assert sum(done.value is not None for done in found) == 10, "three requests are what it took"
    assert spent.requests <= 6


def test_a_request_that_fails_fails_all_that_it_asked_for_and_counts_once(tmp_path):
    with Server(lambda *_: web.Response(text="no json")) as server:
        found, spent, _ = sample(server, tmp_path, problems=1, paths=range(4))
    assert all("not an answer of an OpenAI-compatible endpoint" in done.error for done in found)
    assert (spent.requests, spent.written) == (1, 4 * 16), "it may have been paid for"


def test_what_is_certain_is_asked_once_without_n(tmp_path):
    with Server(lambda _p, body, _n: several(body)) as server:
        _, _, (body,) = sample(server, tmp_path, problems=1, temperature=0.0)
    assert "n" not in body


def test_each_further_try_that_may_have_been_paid_for_counts(tmp_path):
    def script(_path, body, n):
        return several(body) if n == 3 else web.Response(text="no json")

    with Server(script) as server:
        (done,), spent, _ = sample(server, tmp_path, problems=1, paths=range(1), retries=2, wait=0.001)
    assert done.value == "0 0"
    assert (spent.requests, spent.written) == (3, 4 + 2 * 16)


def test_a_server_that_is_not_there_has_taken_nothing(tmp_path):
    with Server(lambda _p, body, _n: several(body)) as server:
        gone = type("Gone", (), {"url": "http://127.0.0.1:9/v1", "got": server.got})
        found, spent, _ = sample(gone, tmp_path, problems=1, retries=1, wait=0.001)
    assert all("no connection" in done.error for done in found)
    assert (spent.read, spent.written, spent.money) == (0, 0, 0.0)


def test_a_reply_that_nobody_can_read_is_an_error():
    with pytest.raises(EngineError, match="the choice has no text"):
        read_choices(several({"n": 2}, [{}, {}]), "", (), chat=False, n=2)
