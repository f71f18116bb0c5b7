"""A teacher asked in batches: the same replies under the same keys, nothing bought twice whatever happens, never over the budget.

The server counts. UNDERSTUDY_KILLS=300 (`make test-kill`) kills so often.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import batcher
import pytest
from aiohttp import web
from asking import open_endpoint, read_keys
from batch_server import BatchServer, prompt_of
from batcher import sampled
from loopback import Server, completion

from understudy.core.asks import GREEDY, Call, Decoding, Message, Reply, Request, SamplePath, Usage
from understudy.core.errors import AccountError, StudyError
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling import batches
from understudy.sampling.batches import BatchEngine
from understudy.sampling.budget import Budget, Price
from understudy.sampling.jobs import Job, end_job, note_job, read_jobs
from understudy.sampling.ledger import Ledger

KILLS = int(os.environ.get("UNDERSTUDY_KILLS", "12"))


def one(index):
    return (yield Call("teacher", f"flow {index}", max_tokens=20)).text


def rows(ledger):
    """What the ledger has of each reply but the time."""
    with closing(sqlite3.connect(ledger)) as reader:
        columns = "key, engine, requests.request, path, attempt, seed, problem, role, json_remove(reply, '$.latency')"
        return reader.execute(
            f"SELECT {columns} FROM replies JOIN requests ON requests.number = replies.request ORDER BY key"
        ).fetchall()


def outcomes(ledger):
    with closing(sqlite3.connect(ledger)) as reader:
        return dict(reader.execute("SELECT coalesce(outcome, 'under way'), count(*) FROM intents GROUP BY 1"))


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_batches_and_single_requests_give_the_same_keys_and_fields(tmp_path, api):
    def say(_path, body, _n):
        said = f" said to {prompt_of(body)}"
        more = {"message": {"content": said}} if api == "chat" else {"text": said, "logprobs": {"token_logprobs": [-0.5, -0.25]}}
        return completion(said) | {"choices": [{"finish_reason": "length", **more}], "model": "m-1", "system_fingerprint": "f"}

    with BatchServer(say) as server:
        batched = sampled(tmp_path / "b.sqlite", server.url, 50, api=api)
        assert not server.single
        flows = ((SamplePath(f"p-{i}", i), batcher.turns(i)) for i in range(50))
        with Ledger(tmp_path / "s.sqlite") as store:
            engine = {"teacher": open_endpoint(server.url, "tiny", api=api, identity="e")}
            alone = list(run_flows(flows, Cast(engine, store=store)))
    assert batched == {done.path.index: done.value for done in alone}
    assert rows(tmp_path / "b.sqlite") == rows(tmp_path / "s.sqlite")
    bodies = [line["body"] for batch in server.batches.values() for line in server.lines(batch)]
    assert len(bodies) == 75
    assert all(server.single[key] == 1 for key in map(_canonical, bodies))


def _canonical(body):
    import json

    return json.dumps(body, sort_keys=True)


def test_each_turn_of_all_flows_is_one_batch_and_files_keep_to_the_limits(tmp_path):
    with BatchServer() as server:
        sampled(tmp_path / "l.sqlite", server.url, 40)
        assert [len(server.lines(batch)) for batch in server.batches.values()] == [40, 20]
        sampled(tmp_path / "m.sqlite", server.url, 40, flow=one, max_lines=15)
        assert [len(server.lines(batch)) for batch in list(server.batches.values())[2:]] == [15, 15, 10]
        sampled(tmp_path / "n.sqlite", server.url, 40, flow=one, max_bytes=2000)
        files = [server.files[batch["input_file_id"]] for batch in list(server.batches.values())[5:]]
        assert sum(len(file.splitlines()) for file in files) == 40
        assert all(1000 < len(file) <= 2000 for file in files[:-1])


def choices(_path, body, _n, most=8):
    given = [{"index": i, "text": f" {prompt_of(body)} {i}", "finish_reason": "stop"} for i in range(min(body.get("n", 1), most))]
    return completion("") | {"choices": given[::-1]}


def alike(index):
    """Several flows put the same prompt, each on its own path."""
    return (yield Call("teacher", f"flow {index % 2}", max_tokens=20, decoding=Decoding(1.0))).text


def test_paths_of_one_prompt_share_a_line_and_count_as_one_request(tmp_path):
    with BatchServer(choices) as server:
        done = sampled(tmp_path / "l.sqlite", server.url, 20, flow=alike, n=4)
    assert done == {i: f" flow {i % 2} {i // 2 % 4}" for i in range(20)}
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [6]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert (len(read_keys(ledger)), ledger.spent.requests, ledger.spent.tokens) == (20, 6, server.paid)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_server_that_gives_one_choice_is_asked_for_one_at_a_time(tmp_path, refuses):
    def say(path, body, n):
        return (400, {"error": {"message": "n > 1"}}) if refuses and body.get("n", 1) > 1 else choices(path, body, n, most=1)

    with BatchServer(say) as server:
        assert len(sampled(tmp_path / "l.sqlite", server.url, 20, flow=alike, n=4)) == 20
        assert len(rows(tmp_path / "l.sqlite")) == 20
    assert [len(server.lines(batch)) for batch in server.batches.values()] == ([6, 20] if refuses else [6, 14])


def test_a_second_run_asks_for_nothing(tmp_path):
    with BatchServer() as server:
        first = sampled(tmp_path / "l.sqlite", server.url, 20)
        asked = server.asked.copy()
        assert sampled(tmp_path / "l.sqlite", server.url, 20) == first
        assert server.asked == asked


def test_an_engine_is_used_again(tmp_path):
    with BatchServer() as server, Ledger(tmp_path / "l.sqlite") as store:
        engine = BatchEngine(open_endpoint(server.url, "tiny", identity="e", batch=True, poll=0.01), store, seed=0)
        for number in (3, 7):
            flows = ((SamplePath(f"p-{i}", i), one(i)) for i in range(number))
            done = list(run_flows(flows, Cast({"teacher": engine}, store=store)))
            assert [d.error for d in done] == [None] * number
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [3, 4]


@pytest.mark.parametrize("network", [False, True])
def test_another_engine_plays_along_here_or_over_the_network(tmp_path, network):
    def flow(index):
        first = (yield Call("teacher", f"flow {index}", max_tokens=20)).text
        told = (yield Call("student", f"of {first}")).text
        return (yield Call("teacher", f"flow {index} after {told}", max_tokens=20)).text

    with BatchServer() as server, Ledger(tmp_path / "l.sqlite") as store:
        teacher = BatchEngine(open_endpoint(server.url, "tiny", identity="e", batch=True, poll=0.01), store, seed=0)
        alone = open_endpoint(server.url, "tiny", identity="another")
        student = alone if network else ScriptedEngine(lambda request: f" said to {request.ask.prompt}", identity="another")
        flows = ((SamplePath(f"p-{i}", i), flow(i)) for i in range(12))
        done = list(run_flows(flows, Cast({"teacher": teacher, "student": student}, store=store)))
    assert {d.path.index: d.value for d in done} == {
        i: f" said to flow {i} after  said to of  said to flow {i}" for i in range(12)
    }, [d.error for d in done]
    assert (len(server.bought), set(server.bought.values())) == (24, {1})
    assert server.single.total() == (12 if network else 0)


class Sampling:
    """Processes that sample in batches over one ledger."""

    flows, requests = 120, 180

    def __init__(self, where, server, *, tokens=0):
        where.mkdir(exist_ok=True)
        self.ledger, self.server, self.tokens = where / "ledger.sqlite", server, tokens

    def start(self):
        command = [sys.executable, batcher.__file__, *map(str, (self.ledger, self.server.url, self.flows, self.tokens))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stopped(self, number, when):
        """Begin, and be sent the signal ``number`` as soon as ``when()``; returns whether it was still at work."""
        with self.start() as process:
            process.stdout.readline()
            while not when() and process.poll() is None:
                time.sleep(0.0005)
            process.send_signal(number)
            process.communicate(timeout=60)
        return process.returncode == -number

    def complete(self):
        with self.start() as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return int(out.split()[-1])

    def check(self):
        self.server.work()
        with closing(sqlite3.connect(self.ledger)) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert reader.execute("SELECT count(*) FROM batched").fetchone() == (0,)
        assert set(self.server.bought.values()) == {1}, "nothing is bought twice"
        with Ledger(self.ledger, price=Price(1, 1)) as ledger:
            assert len(read_keys(ledger)) == len(self.server.bought) == self.requests
            assert ledger.spent.requests == self.requests, "what was not sent does not count"
            assert ledger.spent.tokens == self.server.paid


MOMENTS = {
    "before the upload": lambda server: server.asked["POST files"] > 0,
    "after the upload": lambda server: len(server.files) > 0,
    "after it was made": lambda server: len(server.batches) > 0,
    "while it is looked at": lambda server: server.asked["GET batches/id"] > 4,
    "while results are fetched": lambda server: server.asked["GET files/id"] > 0,
    "once the first are fetched": lambda server: server.asked["GET files/id"] > 1,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_kill_9_at_each_step_the_same_command_buys_nothing_twice(tmp_path, moment):
    with BatchServer() as server:
        sampling = Sampling(tmp_path, server)
        assert sampling.stopped(signal.SIGKILL, lambda: MOMENTS[moment](server))
        assert sampling.complete() == sampling.flows
        sampling.check()


def test_a_batch_that_was_made_before_its_id_came_is_found_by_the_name_that_we_gave_it(tmp_path):
    with BatchServer(upset=lambda method, path, n: "hangs" if (method, path, n) == ("POST", "batches", 2) else None) as server:
        sampling = Sampling(tmp_path, server)
        assert sampling.stopped(signal.SIGKILL, lambda: len(server.batches) == 2)
        assert sampling.complete() == sampling.flows
        sampling.check()


def test_after_kill_9_at_random_moments_nothing_is_lost_or_bought_twice(tmp_path):
    chance, kills, at_work = random.Random(0), 0, False
    while kills < KILLS:
        with BatchServer() as server:
            sampling, at_work = Sampling(tmp_path / str(kills), server), True
            while at_work and kills < KILLS:
                wanted = server.asked.total() + chance.randint(0, 8)
                at_work = sampling.stopped(signal.SIGKILL, lambda: server.asked.total() >= wanted)  # noqa: B023
                kills += at_work
            assert sampling.complete() == sampling.flows
            sampling.check()


def test_ctrl_c_leaves_batches_to_be_gone_on_with(tmp_path):
    with BatchServer(states=("validating", *["in_progress"] * 30)) as server:
        sampling = Sampling(tmp_path, server)
        sampling.stopped(signal.SIGINT, lambda: len(server.batches) == 3)
        assert outcomes(sampling.ledger) == {"under way": 120}
        with Ledger(sampling.ledger, price=Price(1, 1)) as ledger:
            assert ledger.spent.requests == 120, "what is held stays set aside, once"
        assert outcomes(sampling.ledger) == {"under way": 120}, "and is not lost"
        assert sampling.complete() == sampling.flows
        sampling.check()


def test_a_budget_holds_over_batches_and_kills(tmp_path):
    with BatchServer() as server:
        sampling = Sampling(tmp_path, server, tokens=6000)
        for looks in (2, 5, 9):
            sampling.stopped(signal.SIGKILL, lambda looks=looks: server.asked["GET batches/id"] >= looks)
        sampling.complete()
        assert set(server.bought.values()) == {1}
        with Ledger(sampling.ledger, price=Price(1, 1)) as ledger:
            assert server.paid == ledger.spent.tokens <= 6000
        bought = len(server.bought)
        assert 6000 - server.paid < 130 or bought == sampling.requests, "and is used as far as it goes"


@pytest.mark.parametrize("fault", ["lost", "reset", 500])
@pytest.mark.parametrize("where", ["POST files", "POST batches", "GET batches/id", "GET files/id", "GET batches"])
def test_faults_of_line_and_server_buy_nothing_twice(tmp_path, where, fault):
    def upset(method, path, n):
        if f"{method} {path}" == where and n % 2:
            return fault if isinstance(fault, str) else web.Response(status=500, text="oh")
        if f"{method} {path}" == "POST batches" and where == "GET batches" and n == 1:
            return "lost"
        return None

    with BatchServer(upset=upset) as server:
        assert len(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)) == 30
    assert len(server.batches) == 1
    assert set(server.bought.values()) == {1}


def test_lines_that_fail_go_into_the_next_batch_and_those_that_are_refused_do_not(tmp_path):
    def say(_path, body, n):
        number = int(prompt_of(body).split()[1])
        if number % 5 == 0 and n < 3:
            return 500, {"error": {"message": "oh"}}
        if number % 5 == 1:
            return 400, {"error": {"message": "too long", "code": "context_length_exceeded"}}
        if number % 5 == 2:
            return 400, {"error": {"message": "no", "code": "content_filter"}}
        if number % 5 == 3 and n == 1:
            return {"choices": []}
        return completion(" well")

    with BatchServer(say) as server:
        done = sampled(tmp_path / "l.sqlite", server.url, 50, flow=one)
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [50, 20, 10]
    assert {done[i] for i in range(0, 50, 5)} == {" well"}
    assert all("context_length_exceeded" in done[i] for i in range(1, 50, 5))
    assert {done[i] for i in range(2, 50, 5)} == {""}
    assert outcomes(tmp_path / "l.sqlite") == {"reply": 40, "refused": 10}


def test_a_line_that_goes_on_failing_fails_after_all_its_tries(tmp_path):
    with BatchServer(lambda _p, body, _n: (503, {}) if prompt_of(body) == "flow 3" else completion(" well")) as server:
        done = sampled(tmp_path / "l.sqlite", server.url, 5, flow=one, retries=1)
    assert "HTTP 503" in done[3]
    assert "(2 tries)" in done[3]
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [5, 1]


def test_a_field_that_is_not_known_is_left_out_of_the_next_batch(tmp_path):
    def say(_path, body, _n):
        return (400, {"error": {"message": "unknown field: seed"}}) if "seed" in body else completion(" well")

    with BatchServer(say) as server:
        assert set(sampled(tmp_path / "l.sqlite", server.url, 5, flow=one, retries=0).values()) == {" well"}


@pytest.mark.parametrize("how", ["expired", "cancelled"])
def test_what_came_of_a_batch_that_ended_early_is_taken_and_the_others_go_into_a_new_one(tmp_path, how):
    with BatchServer(fate=lambda n, lines: (how, 12) if n == 0 else ("completed", len(lines))) as server:
        if how == "cancelled":  # by hand: it is not made again at once
            with pytest.raises(AccountError, match=r"batch_0 was cancelled. What came is kept: run the same command again"):
                sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
            assert (len(server.batches), outcomes(tmp_path / "l.sqlite")) == (1, {"reply": 12, "refused": 18})
        assert len(set(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one).values())) == 30
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [30, 18]
    assert set(server.bought.values()) == {1}


def test_a_batch_that_failed_costs_nothing_and_its_reason_is_told(tmp_path):
    with BatchServer(fate=lambda *_: ("failed invalid_json_line", 0)) as server:
        with pytest.raises(StudyError, match=r"batch_0 failed: .*invalid_json_line.*none of its requests was"):
            sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
        assert outcomes(tmp_path / "l.sqlite") == {"refused": 30}
        server.fate = lambda _n, lines: ("completed", len(lines))
        assert len(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)) == 30


def test_a_server_that_has_too_much_to_do_is_given_smaller_batches_when_others_have_ended(tmp_path):
    with BatchServer(fate=lambda _n, lines: ("failed token_limit_exceeded", 0) if len(lines) > 12 else ("completed", 12)) as server:
        assert len(set(sampled(tmp_path / "l.sqlite", server.url, 40, flow=one).values())) == 40
    assert set(server.bought.values()) == {1}
    assert len(server.bought) == 40


def test_results_may_be_incomplete_doubled_or_of_others(tmp_path):
    def garble(lines):
        later = [line.replace(b'"status_code": 200', b'"status_code": 500') for line in lines]
        return [b'{"custom_id": "another"}\n', b"[1]\n", b"no\n", *lines[4:], *later[6:], b'{"custom_id": 7}']

    told = []
    with BatchServer(garble=garble) as server:
        done = sampled(tmp_path / "l.sqlite", server.url, 11, flow=one, retries=3, tell=told.append)
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [11, 4, 4, 4]
    assert sum("without a line for this request (4 tries)" in value for value in done.values()) == 4
    assert told[1].endswith("2 unknown lines are ignored")
    assert "7 of 11 requests answered, 4 go into the next" in told[2]


def test_results_that_break_off_are_fetched_again_not_bought_again(tmp_path):
    content = {}

    def upset(method, path, n):
        if f"{method} {path}" != "GET files/id" or n > 2:
            return None
        file = server.files[server.batches["batch_0"]["output_file_id"]]
        return web.Response(body=file[: len(file) // n // 2 + n])  # a proxy that ends it as if that were all

    with BatchServer(upset=upset) as server:
        assert len(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)) == 30, content
    assert (len(server.batches), server.asked["GET files/id"]) == (1, 3)


def test_results_may_lie_elsewhere_which_does_not_see_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY", "secret")

    def content(_path, _body, _n):
        return web.Response(body=server.files[server.batches["batch_0"]["output_file_id"]])

    with Server(content, method="GET") as store:
        there = web.Response(status=302, headers={"Location": f"{store.url}/file"})
        with BatchServer(upset=lambda _m, path, _n: there if path == "files/id" else None) as server:
            assert len(sampled(tmp_path / "l.sqlite", server.url, 5, flow=one, key_env="KEY")) == 5
    assert ["Authorization" in headers for headers in store.headers] == [False]
    assert b"secret" not in (tmp_path / "l.sqlite").read_bytes()


@pytest.mark.parametrize(("status", "says"), [(401, "is the key right"), (402, "top it up")])
def test_an_account_that_is_refused_ends_it_at_once(tmp_path, status, says):
    with BatchServer(upset=lambda method, *_: web.Response(status=status) if method == "POST" else None) as server:
        with pytest.raises(AccountError, match=says):
            sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
    assert server.asked == {"POST files": 1}


def test_credit_that_ends_within_a_batch_ends_it_and_what_came_is_kept(tmp_path):
    def say(_path, body, _n):
        return (429, {"error": {"code": "insufficient_quota"}}) if broke and "2" in prompt_of(body) else completion(" well")

    broke = True
    with BatchServer(say) as server:
        with pytest.raises(AccountError, match=r"no credit left: top it up"):
            sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
        broke = False
        assert set(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one).values()) == {" well"}
    assert [len(server.lines(batch)) for batch in server.batches.values()] == [30, 12]


def test_a_server_without_batches_is_told_and_nothing_is_set_aside(tmp_path):
    with BatchServer(upset=lambda *_: web.Response(status=404)) as server:
        with pytest.raises(StudyError, match=r"teacher.batch = true: .*HTTP 404.*leave it out"):
            sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
    assert outcomes(tmp_path / "l.sqlite") == {"refused": 30}


def test_a_server_that_is_not_there_ends_it_and_nothing_is_bought_twice_when_it_is_back(tmp_path):
    with BatchServer() as server:
        pass
    with pytest.raises(AccountError, match=r"no connection .*30 requests are in batch understudy-.* run the same command again"):
        sampled(tmp_path / "l.sqlite", server.url, 30, flow=one, retries=1)


def test_a_batch_of_which_the_server_says_nothing_for_long_ends_the_run_and_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE", 0.2)
    down = True
    with BatchServer(upset=lambda _m, path, _n: web.Response(status=503) if down and path == "batches/id" else None) as server:
        with pytest.raises(AccountError, match=r"HTTP 503.*30 requests are in batch batch_0.*run the same command again"):
            sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)
        down = False
        assert len(sampled(tmp_path / "l.sqlite", server.url, 30, flow=one)) == 30
    assert (len(server.batches), set(server.bought.values())) == (1, {1})


class TestHeld:
    """Batches that are under way when a run begins."""

    def make(self, where, server, n=10):
        with pytest.raises(ZeroDivisionError):
            sampled(where / "l.sqlite", server.url, n, flow=one, tell=lambda line: 1 / ("sent" not in line))

    def test_what_nobody_asks_for_any_more_is_kept_all_the_same(self, tmp_path):
        with BatchServer() as server:
            self.make(tmp_path, server)
            server.work()
            sampled(tmp_path / "l.sqlite", server.url, 1, flow=lambda _: one("another"))
        assert len(rows(tmp_path / "l.sqlite")) == 11
        assert outcomes(tmp_path / "l.sqlite") == {"reply": 11}

    def test_requests_of_their_own_wait_until_it_has_ended_and_take_what_came(self, tmp_path):
        with BatchServer(states=["in_progress"] * 1000) as server:
            self.make(tmp_path, server)
            with pytest.raises(StudyError, match=r"^10 requests are in batch batch_0 .*paid for twice.*teacher\.batch = true"):
                sampled(tmp_path / "l.sqlite", server.url, 10, flow=one, batch=False)
            server._end(server.batches["batch_0"], "cancelled", 6)
            sampled(tmp_path / "l.sqlite", server.url, 10, flow=one, batch=False)
            assert (len(server.bought), server.single.total()) == (6, 4)
        assert len(rows(tmp_path / "l.sqlite")) == 10

    def test_one_of_which_nobody_knows_whether_it_was_made_counts_as_lost_and_its_requests_are_asked_again(self, tmp_path):
        def upset(method, path, n):
            if (method, path) == ("POST", "batches") and n == 1:
                return "lost"
            return web.Response(status=501) if (method, path) == ("GET", "batches") else None

        with BatchServer(upset=upset) as server:
            with pytest.raises(AccountError, match=r"it is not known whether it was made: .*HTTP 501"):
                sampled(tmp_path / "l.sqlite", server.url, 10, flow=one)
            told = []
            assert len(sampled(tmp_path / "l.sqlite", server.url, 10, flow=one, tell=told.append)) == 10
        assert "it is not known whether it was made" in told[0]
        assert outcomes(tmp_path / "l.sqlite") == {"lost": 10, "reply": 10}

    def test_one_at_an_address_that_the_study_does_not_name_is_left_alone(self, tmp_path):
        with BatchServer(states=["in_progress"] * 1000) as server, BatchServer() as other:
            self.make(tmp_path, server)
            assert len(sampled(tmp_path / "l.sqlite", other.url, 10, flow=one)) == 10
        assert len(other.bought) == 10
        assert outcomes(tmp_path / "l.sqlite") == {"reply": 10, "under way": 10}

    def test_one_that_the_server_does_not_know_is_not_bought_again_unless_that_is_said(self, tmp_path):
        with BatchServer(states=["in_progress"] * 1000) as server:
            self.make(tmp_path, server)
            server.batches.clear()
            with pytest.raises(StudyError, match=r"HTTP 404.*10 requests are in batch batch_0 there: .*teacher.key_env"):
                sampled(tmp_path / "l.sqlite", server.url, 10, flow=one)
            sampled(tmp_path / "l.sqlite", server.url, 10, flow=one, batch=False)
            assert server.single.total() == 10
        assert outcomes(tmp_path / "l.sqlite") == {"lost": 10, "reply": 10}


def test_a_request_comes_out_of_the_ledger_as_it_went_in(tmp_path):
    chat = (Message("system", "s"), Message("user", "ü"))
    asks = [(Call("teacher", prompt, ("\n", "."), 7, GREEDY, 2), problem) for prompt, problem in (("ü", None), (chat, "p-1"))]
    requests = [Request(ask, GREEDY, path, problem) for path, (ask, problem) in enumerate(asks)]
    with Ledger(tmp_path / "l.sqlite", budget=Budget(requests=5)) as ledger:
        held = {request.key("e"): request for request in requests}
        job = Job("e", "u", lines={"line": held})
        assert all(ledger.reserve(key, engine="e", request=request) for key, request in held.items())
        note_job(ledger, job)
        job.id = "b"
        note_job(ledger, job)
    with Ledger(tmp_path / "l.sqlite", budget=Budget(requests=2)) as ledger:
        assert read_jobs(ledger, "e", ["elsewhere"]) == read_jobs(ledger, "another", ["u"]) == []
        [again] = read_jobs(ledger, "e", ["u"])
        assert (again.lines, again.tag, again.id) == (job.lines, job.tag, "b")
        assert {request.problem for request in again.lines["line"].values()} == {None, "p-1"}
        for key, request in again.lines["line"].items():
            assert ledger.reserve(key, engine="e", request=request), "it is set aside already"
            ledger.put(key, Reply("said"), engine="e", request=request, seed=0, usage=Usage(1, 2, 1))
        end_job(ledger, again)
        assert read_jobs(ledger, "e", ["u"]) == []
        assert (ledger.spent.requests, ledger.spent.tokens) == (2, 6)
