"""Many clients at once: no answer differs, nobody loses one because another leaves, fails or is too slow, and the end is clean."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import aiohttp
import pytest
from command import understudy
from served import make_student, serving

from understudy.core.asks import Call, SamplePath
from understudy.core.errors import UserError
from understudy.core.values import Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.evaluation.run import answer
from understudy.runs.ask import open_bundle
from understudy.serving.board import PATIENCE, LiveBoard
from understudy.serving.server import ServerOptions, serve
from understudy.serving.students import open_students


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return make_student(tmp_path_factory.mktemp("students") / "one", options={"max_tokens": 48})


QUESTIONS = [f"Bob finds {i} more, and then loses {7 * i} of them. How many coins?" for i in range(64)]


def body_of(question, **more):
    return {"model": "one", "messages": [{"role": "user", "content": question}], **more}


def test_64_clients_at_once_get_what_the_evaluation_says_though_some_leave(student):
    opened = open_students([student])
    bundle = opened["one"].bundle
    problems = [Problem(question, question, "number") for question in QUESTIONS]
    known = answer(
        problems, bundle.method, open_bundle(student).engines, votes=2, decoding=replace(bundle.card.decode, votes=2).decoding
    )

    async def ask(session, url, question, *, leaves):
        async with asyncio.timeout(0.005 if leaves else 60):
            async with session.post(f"{url}/v1/chat/completions", json=body_of(question, n=2, temperature=0.7)) as got:
                return [choice["understudy"]["text"] for choice in (await got.json())["choices"]]

    async def ask_all(url):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            asked = [ask(session, url, question, leaves=i % 5 == 0) for i, question in enumerate(QUESTIONS)]
            return await asyncio.gather(*asked, return_exceptions=True)

    with serving(students=opened) as served:
        got = asyncio.run(ask_all(served.url))
        assert served.get("/health")[0] == 200
    for i, (question, texts) in enumerate(zip(QUESTIONS, got, strict=True)):
        if i % 5:
            assert texts == [solution.text for solution in known.solutions if solution.problem == question]


class GatedEngine(ScriptedEngine):
    """It says " 4" once its gate is open, and breaks at "break"."""

    def __init__(self):
        super().__init__(self._say)
        self.gate = threading.Event()

    def _say(self, request):
        assert self.gate.wait(60)
        if "break" in request.ask.prompt:
            raise RuntimeError("out of memory")
        return " So the answer is: 4"


@pytest.fixture
def gated(student):
    engine = GatedEngine()
    opened = open_students([student])
    yield engine, {"one": replace(opened["one"], bundle=opened["one"].bundle._replace(engines={"student": engine}))}
    engine.gate.set()


def wait_for(served, requests):
    for _ in range(2000):
        if served.get("/health")[1]["requests"] == requests:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"there were never {requests} requests under way")


def ask(served, question):
    return served.post("/v1/chat/completions", body_of(question))


def test_more_requests_than_may_be_are_told_to_come_again(gated):
    engine, students = gated
    with serving(students=students, max_requests=1) as served, ThreadPoolExecutor() as clients:
        first = clients.submit(ask, served, "first?")
        wait_for(served, 1)
        status, body = ask(served, "second?")
        assert (status, body["error"]["type"]) == (429, "rate_limit_error")
        engine.gate.set()
        assert first.result()[0] == 200
        assert ask(served, "second?")[0] == 200


def test_an_answer_that_takes_too_long_is_given_up_and_the_next_is_not(gated):
    engine, students = gated
    with serving(students=students, timeout=0.1) as served:
        status, body = ask(served, "slow?")
        assert (status, body["error"]["code"]) == (503, "timeout")
        engine.gate.set()
        assert ask(served, "slow?")[0] == 200


def test_what_a_client_that_left_asked_is_not_begun_and_others_lose_nothing(gated):
    engine, students = gated
    with serving(students=students) as served, ThreadPoolExecutor() as clients:
        first = clients.submit(ask, served, "first?")
        wait_for(served, 1)
        while not engine.asked:
            threading.Event().wait(0.005)
        leaving = http.client.HTTPConnection(served.url.removeprefix("http://"))
        leaving.request("POST", "/v1/chat/completions", json.dumps(body_of("never?")))
        wait_for(served, 2)
        leaving.close()
        wait_for(served, 1)
        engine.gate.set()
        status, body = first.result()
        assert (status, body["choices"][0]["understudy"]["answer"]) == (200, "4")
        assert ask(served, "last?")[0] == 200
    assert ["never" in request.ask.prompt for request in engine.asked] == [False, False]


def test_flows_begin_in_groups_or_when_they_have_waited_long_enough():
    def flow():
        return (yield Call("s", "Q"))

    engine = GatedEngine()
    live = LiveBoard({"s": engine})
    first = live.submit(SamplePath("first"), flow())
    while not engine.asked:  # from now on the board's own thread waits at the gate, and this one asks in its place
        threading.Event().wait(0.005)
    for i in range(15):
        live.submit(SamplePath(str(i)), flow())
    assert [next(live)[0].problem for _ in range(15)] == list(map(str, range(15)))
    live.submit(SamplePath("a"), flow())
    assert next(live, None) is None, "one of 16"
    live.submit(SamplePath("b"), flow())
    assert [next(live)[0].problem, next(live)[0].problem, next(live, None)] == ["a", "b", None], "two of 16"
    live.submit(SamplePath("c"), flow())
    assert [next(live, None) for _ in range(PATIENCE)] == [None] * PATIENCE
    assert next(live)[0].problem == "c"
    engine.gate.set()
    assert first.result(60).text == " So the answer is: 4"
    live.stop()


def test_an_engine_that_fails_ends_what_it_was_asked_and_goes_on(gated, capfd):
    engine, students = gated
    engine.gate.set()
    with serving(students=students) as served:
        status, body = ask(served, "break?")
        assert (status, body["error"]["type"]) == (503, "server_error")
        assert ask(served, "again?")[0] == 200
    assert "RuntimeError: out of memory" in capfd.readouterr().err


def test_a_server_that_stops_answers_what_is_under_way(gated):
    engine, students = gated
    with ThreadPoolExecutor() as clients:
        with serving(students=students) as served:
            last = clients.submit(ask, served, "last?")
            wait_for(served, 1)
            threading.Timer(0.2, engine.gate.set).start()
        assert last.result()[0] == 200


def test_the_command_serves_on_loopback_until_it_is_told_to_stop(student):
    command = [sys.executable, "-m", "understudy", "serve", str(student), "--port", "0", "--key-env", "SERVED_KEY"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"SERVED_KEY": "k"}) as process:
        try:
            told = process.stdout.readline()
            host, port = re.fullmatch(r"serving one at http://(127\.0\.0\.1):(\d+)/v1; Ctrl-C stops it\n", told).groups()
            asked = http.client.HTTPConnection(host, int(port))
            asked.request("GET", "/v1/models", headers={"Authorization": "Bearer k"})
            assert json.loads(asked.getresponse().read())["data"][0]["id"] == "one"
            asked.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_key_without_a_value_and_a_taken_port_are_named(student, tmp_path, gated):
    wrong = understudy("serve", str(student), "--key-env", "NO_SUCH_KEY", cwd=tmp_path)
    assert (wrong.code, "--key-env NO_SUCH_KEY: that environment variable has no value" in wrong.err) == (2, True)
    _, students = gated
    with serving(students=students) as served:
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"--port {port}: cannot listen there"):
            serve(students, ServerOptions(port=port), print)
    with pytest.raises(UserError, match="--port 99999: must be between 0 and 65535"):
        serve(students, ServerOptions(port=99999), print)
