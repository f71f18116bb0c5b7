"""A model on this machine and one over HTTP take turns in one flow: both work at the same time, and say what they say apart."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from asking import open_endpoint
from checkpoints import make
from interrupted import Slow
from loopback import Server, completion
from test_local import call, plain, serve

from understudy.core.asks import Call, Reply, SamplePath
from understudy.core.errors import EngineError
from understudy.engines.local.engine import TransformersEngine
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.ledger import Ledger

FLOWS = 50


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make("llama", tmp_path_factory.mktemp("llama"), context=512)


class Timed(TransformersEngine):
    """Notes when it worked."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.worked = []

    def serve(self, source):
        began = time.monotonic()
        super().serve(source)
        self.worked.append((began, time.monotonic()))


def turns(index, first):
    """As a decomposer and a solver: question and answer in turn, as many as the flow's number says."""
    other = {"local": "remote", "remote": "local"}[first]
    text = f"Bob finds {index} coins."
    for _ in range(1 + index % 3):
        question = yield Call(first, f"{text}\nQ:", max_tokens=6)
        answer = yield Call(other, f"{text} {len(question.text)}\nA:", max_tokens=4)
        text = f"{text[:60]} {question.text} {answer.text}"
    return text


def script(_path, body, _n):
    async def later():
        await asyncio.sleep(0.005)
        return completion(say(body["prompt"]))

    return later()


def say(prompt):
    return f" {sum(map(ord, prompt)) % 97} of them"


def run(engines, first, store=None, **options):
    flows = ((SamplePath(f"p-{i}"), turns(i, first)) for i in range(FLOWS))
    return list(run_flows(flows, Cast(engines, store=store), **options))


@pytest.mark.parametrize("first", ["local", "remote"])
def test_flows_take_turns_between_both_while_both_work(checkpoint, first):
    local, came = Timed(checkpoint, batch_size=4), []

    def timed(path, body, n):
        came.append(time.monotonic())
        return script(path, body, n)

    with Server(timed) as server:
        done = run({"local": local, "remote": open_endpoint(server.url, "tiny")}, first)
    assert len(came) == sum(1 + i % 3 for i in range(FLOWS))
    assert {d.path.problem: d.value for d in done} == {f"p-{i}": apart(checkpoint, i, first) for i in range(FLOWS)}
    during = sum(any(began < at < rests for began, rests in local.worked) for at in came)
    assert during > len(came) / 4, "one waited for the other"


def apart(checkpoint, index, first, engines={}):  # noqa: B006 - loaded once
    """The same turns, one ask at a time, without any driver."""
    engine = engines.setdefault(checkpoint, TransformersEngine(checkpoint))
    flow = turns(index, first)
    try:
        ask = next(flow)
        while True:
            if ask.role == "local":
                reply = serve(engine, [call(ask.prompt, max_tokens=ask.max_tokens)])[0]
            else:
                reply = Reply(say(ask.prompt))
            ask = flow.send(reply)
    except StopIteration as end:
        return end.value


def test_both_engines_replies_are_kept_in_the_store_by_one_thread(checkpoint, tmp_path):
    threads = set()

    class Watched(Ledger):
        def put(self, *arguments, **options):
            threads.add(threading.get_ident())
            super().put(*arguments, **options)

    with Server(script) as server:
        for again in (False, True):
            local, came = Timed(checkpoint), len(server.got)
            with Watched(tmp_path / "l.sqlite") as store:
                done = run({"local": local, "remote": open_endpoint(server.url, "tiny")}, "local", store=store)
            assert len(done) == FLOWS
            assert (len(server.got) == came, local.worked == []) == (again, again)
    assert threads == {threading.get_ident()}


def test_a_request_that_fails_over_the_network_ends_its_own_flow_only(checkpoint):
    from aiohttp import web

    def fails(path, body, n):
        return web.Response(status=400, text="no") if "Bob finds 7 coins. " in body["prompt"] else script(path, body, n)

    with Server(fails) as server:
        done = run({"local": TransformersEngine(checkpoint), "remote": open_endpoint(server.url, "tiny")}, "local")
    assert [(d.path.problem, "HTTP 400" in d.error) for d in done if d.error] == [("p-7", True)]


def test_a_local_model_that_can_answer_nothing_ends_it_all(checkpoint, tmp_path):
    model, tokenizer = plain(checkpoint)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with Server(script) as server, pytest.raises(EngineError, match="not finite"):
        run({"local": TransformersEngine(tmp_path), "remote": open_endpoint(server.url, "tiny")}, "remote")


def test_an_error_in_the_callers_own_code_ends_it_without_waiting_for_what_nobody_wants():
    local = Slow()

    def on_end(_done):
        raise ZeroDivisionError

    with Server(script) as server, pytest.raises(ZeroDivisionError):
        run({"local": local, "remote": open_endpoint(server.url, "tiny")}, "local", on_end=on_end)
    answered = local.answered
    time.sleep(0.1)
    assert local.answered == answered < FLOWS, "its thread has ended, before it had said everything"


def test_an_interrupt_ends_the_process_soon():
    command = [sys.executable, str(Path(__file__).parents[1] / "engines" / "interrupted.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "turn\n"
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert err.rstrip().endswith("KeyboardInterrupt")
