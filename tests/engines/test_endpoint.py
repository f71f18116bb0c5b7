"""The endpoint engine against a real HTTP server on loopback that misbehaves as real ones do."""

import asyncio
import json

import pytest
from aiohttp import web
from asking import ask_one, open_endpoint
from loopback import Server, completion

from understudy.core.asks import GREEDY, Call, Decoding, Message, Request
from understudy.core.errors import EngineError, StudyError


def ask(server, request, **options):
    async def run():
        async with open_endpoint(server.url, "tiny", wait=0.01, **options) as engine:
            return await ask_one(engine, request)

    return asyncio.run(run())


def call(prompt="Q: x\nA:", **more):
    return Request(Call("teacher", prompt, attempt=1, **more), Decoding(1.0, 0.9), 2)


def test_a_completion_is_sent_raw_and_read_whole():
    logprobs = {"token_logprobs": [-0.5, -1.0]}
    with Server(lambda *_: completion(" five\n\nQ: more", logprobs=logprobs)) as server:
        reply = ask(server, call(stop=("\n\n",), max_tokens=7))
        path, body = server.got[0]
    assert path == "completions"
    assert {k: body[k] for k in ("prompt", "model", "max_tokens", "temperature", "top_p", "stop")} == {
        "prompt": "Q: x\nA:",
        "model": "tiny",
        "max_tokens": 7,
        "temperature": 1.0,
        "top_p": 0.9,
        "stop": ["\n\n"],
    }
    assert (reply.text, reply.finish, reply.tokens, reply.prompt_tokens) == (" five", "stop", 5, 3)
    assert reply.logprobs == (), "those of text that was cut off here would be of other tokens"
    assert json.loads(reply.raw)["choices"][0]["text"].endswith("more")
    with Server(lambda *_: completion("five", logprobs=logprobs)) as server:
        assert ask(server, call()).logprobs == (-0.5, -1.0)


def test_chat_sends_messages_and_keeps_reasoning_apart():
    def script(_path, _body, _n):
        message = {"content": "The answer is 5.", "reasoning_content": "2 + 3"}
        logprobs = {"content": [{"token": "The", "logprob": -0.25}]}
        return {"choices": [{"message": message, "finish_reason": "length", "logprobs": logprobs}]}

    with Server(script) as server:
        turns = (Message("system", "Be brief."), Message("user", "2 + 3?"))
        reply = ask(server, Request(Call("teacher", turns), GREEDY, 0), api="chat")
        ask(server, call("raw"), api="chat")
        (path, first), (_, second) = server.got
    assert path == "chat/completions"
    assert first["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}]
    assert second["messages"] == [{"role": "user", "content": "raw"}]
    assert (reply.text, reply.reasoning, reply.finish, reply.tokens) == ("The answer is 5.", "2 + 3", "length", None)
    assert reply.logprobs == (-0.25,)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status):
    def script(_path, _body, n):
        return web.Response(status=status, text="busy", headers={"Retry-After": "0"}) if n < 3 else completion("ok")

    with Server(script) as server:
        assert ask(server, call()).text == "ok"
        assert len(server.got) == 3
        assert server.got[0] == server.got[1] == server.got[2]


def test_a_slow_answer_is_a_timeout_and_then_an_error_that_names_the_address():
    async def slow():
        await asyncio.sleep(5)
        return completion("late")

    with Server(lambda *_: slow()) as server, pytest.raises(EngineError, match=r"no answer within 0\.2 s \(2 tries\)") as error:
        ask(server, call(), timeout=0.2, retries=1)
    assert server.url in str(error.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: web.Response(status=404, text="model not found"), "HTTP 404: model not found; is teacher.model right?"),
        (lambda: web.Response(status=404, text="no such page"), "HTTP 404: no such page; is the url right, with /v1?"),
        (lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/v1"}), "HTTP 307: ; is the url right"),
        (lambda: {"choices": [{"finish_reason": "stop"}]}, "the choice has no text"),
        (lambda: web.Response(status=404, text="no such page"), 'with /v1?; perhaps it needs teacher.api = "chat"'),
    ],
)
def test_what_will_not_pass_is_an_error_at_once(answer, says):
    with Server(lambda *_: answer()) as server:
        with pytest.raises(EngineError) as error:
            ask(server, call())
        assert len(server.got) == 1
    assert says in str(error.value)


def test_a_server_that_is_not_there_is_named():
    class Nowhere:
        url = "http://127.0.0.1:9/v1"

    with pytest.raises(EngineError, match="is the server running"):
        ask(Nowhere, call(), retries=1)
    for decoding in (Decoding(beams=3), Decoding(calculator=True)):
        with pytest.raises(EngineError, match="an endpoint has neither beams nor a calculator"):
            ask(Nowhere, Request(Call("teacher", "p"), decoding, 0))


def test_the_key_comes_from_the_environment_and_is_never_kept(monkeypatch):
    with pytest.raises(StudyError, match="UNDERSTUDY_TEST_KEY"):
        open_endpoint("http://localhost/v1", "m", key_env="UNDERSTUDY_TEST_KEY")
    monkeypatch.setenv("UNDERSTUDY_TEST_KEY", "secret")
    with Server(lambda *_: completion("ok")) as server:
        reply = ask(server, call(), key_env="UNDERSTUDY_TEST_KEY")
        assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in reply.raw + open_endpoint("http://localhost/v1", "m", key_env="UNDERSTUDY_TEST_KEY").identity
    for leaks in ("http://me:secret@localhost/v1", "http://localhost/v1?key=secret"):
        with pytest.raises(StudyError, match="no name, password or query"):
            open_endpoint(leaks, "m")
    with pytest.raises(StudyError, match="must look like"):
        open_endpoint("localhost:8000", "m")
