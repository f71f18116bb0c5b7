"""What the usual servers are documented to want, to answer and to refuse; each as a server on loopback."""

import asyncio
import json
import pickle
import re
import tomllib
from pathlib import Path

import pytest
from aiohttp import web
from asking import open_endpoint
from loopback import USAGE, Server, completion
from yarl import URL

from understudy.core.asks import Call, Decoding, Request
from understudy.core.errors import AccountError, EngineError, StudyError, UnpaidError
from understudy.engines.remote import endpoint
from understudy.engines.remote.choices import read_usage
from understudy.engines.remote.options import Endpoint
from understudy.engines.remote.pace import START
from understudy.engines.remote.probe import probe
from understudy.engines.remote.wire import DeniedError
from understudy.sampling.ledger import Ledger
from understudy.studies.schema import build

KEY = "sk-0123456789abcdef"


def ask(script, *, n=1, stop=(), prompt="Q", wait=0.01, below="/v1", **options):
    """The replies to ``n`` requests, the engine, and the server."""
    with Server(script, below=below) as server:

        async def run():
            async with open_endpoint(server.url, "tiny", wait=wait, **options) as engine:
                asks = [Request(Call("teacher", f"{prompt}{i * 'x'}", stop), Decoding(1.0), 0) for i in range(n)]
                return [(await engine.replies([one])).replies[0] for one in asks], engine

        return *asyncio.run(run()), server


def says(message, finish="stop"):
    return {"choices": [{"message": message, "finish_reason": finish}]} | USAGE


def refused(message, status=400, **more):
    return web.json_response({"error": {"message": message, **more}}, status=status)


def minimax(code, message):
    return web.json_response({"choices": None, "base_resp": {"status_code": code, "status_msg": message}})


def stream(*deltas, content_type="text/event-stream"):
    chunks = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return web.Response(body=text.encode(), content_type=content_type)


# The set-ups of docs/teachers.md, each at a server that does what stands there


def read_setups():
    """server -> the keys of [teacher] that the table gives it"""
    text = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text(encoding="utf-8")
    table = re.search(r"^\| server \|.*\n.*\n((\|.*\n)+)", text, re.M)[1]
    rows = [line.split(" | ") for line in table.splitlines()]
    return {row[0][2:]: tomllib.loads("\n".join(re.findall("`(.+?)`", row[1]))) for row in rows}


SETUPS = read_setups()


def without(*names):
    """A server that refuses these fields one by one, as OpenAI does."""

    def answer(body):
        if "max_tokens" in body and "max_tokens" in names:
            return refused("Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        return next((refused(f"Unsupported parameter: '{name}'", param=name) for name in names if name in body), None)

    return answer


def only_known(body):
    extra = [name for name in ("seed", "logprobs") if name in body]
    detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"} for name in extra]
    return web.json_response({"object": "error", "message": {"detail": detail}}, status=422) if extra else None


def no_blank_stop(body):
    blank = any(not stop.strip() for stop in body.get("stop", ()))
    return refused("stop_sequences: each stop sequence must contain non-whitespace") if blank else None


def no_logprobs(body):
    error = {"error": {"code": 400, "message": "Logprobs is not enabled for this model", "status": "INVALID_ARGUMENT"}}
    return web.json_response([error], status=400) if "logprobs" in body else None


DETAILS = {"content": "5", "reasoning": "2 + 3", "reasoning_details": [{"type": "reasoning.text", "text": "2 + 3"}]}
MISTRAL = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2 + 3"}]}, {"type": "text", "text": "5"}]}
BEHAVE = {
    "OpenAI": (without("max_tokens", "stop", "logprobs"), {"content": "2 + 3 = 5"}),
    "Azure OpenAI": (without(), {"content": "2 + 3 = 5"}),
    "OpenRouter": (without(), DETAILS),
    "DeepSeek": (without(), {"content": "5", "reasoning_content": "2 + 3"}),
    "Gemini": (no_logprobs, {"content": "2 + 3 = 5"}),
    "Anthropic": (no_blank_stop, {"content": "2 + 3 = 5"}),
    "Mistral": (only_known, MISTRAL),
    "vLLM": (without(), {"content": "5", "reasoning_content": "2 + 3"}),
    "SGLang": (without(), {"content": "5", "reasoning_content": "2 + 3"}),
    "llama.cpp": (without(), {"content": "2 + 3 = 5"}),
    "Ollama": (without(), {"content": "5", "reasoning": "2 + 3"}),
    "LM Studio": (without(), {"content": "2 + 3 = 5"}),
}
"""server -> (what it refuses, its message)"""
FIRST = {
    "llama.cpp": lambda: web.json_response(
        {"error": {"code": 503, "message": "Loading model"}}, status=503, headers={"Retry-After-Ms": "1"}
    ),
    "SGLang": lambda: says({"content": "2 +"}, "abort"),
}
"""What it answers at first."""


def is_let_in(name, headers, query):
    if name == "Azure OpenAI":
        return headers.get("api-key") == KEY and "Authorization" not in headers and query == {"api-version": "2024-10-21"}
    return not query and (headers.get("Authorization") == f"Bearer {KEY}") == ("key_env" in SETUPS[name])


@pytest.mark.parametrize("name", SETUPS)
def test_the_set_up_of_each_usual_server_works_at_one_that_behaves_so(monkeypatch, tmp_path, name):
    options = dict(SETUPS[name])
    refuses, message = BEHAVE[name]
    below = URL(options.pop("url")).path
    monkeypatch.setenv(options.get("key_env", "NONE"), KEY)

    def script(path, body, n):
        assert path == "chat/completions"
        if not is_let_in(name, server.headers[-1], server.queries[-1]):
            return web.json_response({"error": {"message": "who are you?"}}, status=401)
        if n == 1 and name in FIRST:
            return FIRST[name]()
        if (no := refuses(body)) is not None:
            return no
        answer = json.dumps(says(message))
        return web.Response(text="\n\n\n" * (name == "DeepSeek") + answer, content_type="application/json")

    with Server(script, probed=script, below=below) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        engine = open_endpoint(server.url, "a-model", wait=0.01, **options)
        probe(engine, engine.addresses, ledger)

        async def run():
            async with engine:
                asks = [Request(Call("teacher", f"Q{i}", ("\n\n",)), Decoding(1.0), 0) for i in range(3)]
                return [(await engine.replies([one])).replies[0] for one in asks]

        for reply in asyncio.run(run()):
            thought = reply.reasoning or reply.text
            assert (thought.startswith("2 + 3"), reply.text.endswith("5"), reply.finish) == (True, True, "stop")


def test_every_usual_server_has_its_behaviour():
    assert set(SETUPS) == set(BEHAVE)


# What each set-up of docs/teachers.md sends


@pytest.mark.parametrize(
    ("options", "headers", "query", "body"),
    [
        ({"body": {"reasoning_effort": "low"}}, {"Authorization": f"Bearer {KEY}"}, {}, {"reasoning_effort": "low"}),
        (
            {"headers": {"api-key": "{key}"}, "query": {"api-version": "2024-10-21"}},
            {"api-key": KEY, "Authorization": None},
            {"api-version": "2024-10-21"},
            {},
        ),
        ({"query": {"key": "{key}"}}, {"Authorization": None}, {"key": KEY}, {}),
        ({"headers": {"X-Title": "a study"}}, {"Authorization": f"Bearer {KEY}", "X-Title": "a study"}, {}, {}),
        (
            {"body": {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20}},
            {},
            {},
            {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20},
        ),
    ],
    ids=["OpenAI", "Azure", "key in the query", "OpenRouter", "vLLM"],
)
def test_body_headers_and_query_are_sent_as_they_stand_in_the_study(monkeypatch, options, headers, query, body):
    monkeypatch.setenv("TEACHER", KEY)
    with Server(lambda *_: completion("ok")) as server:

        async def run():
            async with open_endpoint(server.url, "tiny", key_env="TEACHER", **options) as engine:
                return await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0), 0)])

        asyncio.run(run())
        sent = server.headers[0]
        assert {name: sent.get(name) for name in headers} == headers
        assert server.queries == [query]
        assert body.items() <= server.got[0][1].items()
        assert "aiohttp" not in sent["User-Agent"], "firewalls refuse libraries, and clients without a name"


def test_the_body_decides_the_key_of_a_reply_and_headers_and_query_do_not():
    plain = open_endpoint("http://h/v1", "m").identity
    assert open_endpoint("http://h/v1", "m", headers={"X-Title": "t"}, query={"a": "b"}).identity == plain
    low, high = (open_endpoint("http://h/v1", "m", body={"effort": effort}).identity for effort in ("low", "high"))
    assert len({plain, low, high}) == 3
    assert open_endpoint("http://h/v1", "m", body={"effort": "low"}, identity="mine").identity == 'mine {"effort": "low"}'


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"body": {"temperature": 0.2}}, r"teacher: body\.temperature = 0\.2: other keys of the study decide this field"),
        ({"headers": {"api-key": "{key}"}}, r"teacher: headers\.api-key = '\{key\}': needs key_env"),
        ({"headers": {"a": "b\r\nc: d"}}, "has characters that cannot be sent"),
        ({"query": {"version": 3}}, r"teacher\.query = .*string"),
    ],
)
def test_tables_that_cannot_be_sent_are_refused_when_the_study_is_read(table, message):
    with pytest.raises(StudyError, match=message):
        build(Endpoint, {"url": "http://h/v1", "model": "m"} | table, "teacher")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://h/openai/deployments/d?api-version=1", r"query into a table of its own, e\.g\. query"),
        ("http://h/v1/chat/completions", "end it before the API's own path: http://h/v1;"),
        ("http://h:99999/v1", "must look like"),
        ("http://[::1/v1", "must look like"),
    ],
)
def test_an_address_that_is_none_says_how_it_should_be(url, message):
    with pytest.raises(StudyError, match=message):
        open_endpoint(url)


def test_certificates_of_the_environment_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(StudyError, match=r"SSL_CERT_FILE = '.*none\.pem': cannot be read"):
        open_endpoint("https://h/v1")
    open_endpoint("http://h/v1")


# Thought and text


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "2 + 3"}]}, {"type": "text", "text": "5"}]


@pytest.mark.parametrize(
    "message",
    [
        {"content": PARTS},
        {"content": [{"type": "thinking", "thinking": "2 + 3"}, {"type": "text", "text": "5"}]},
        {"content": "5", "reasoning_details": [{"type": "reasoning.text", "text": "2 + 3"}, {"type": "reasoning.encrypted"}]},
        {"content": "5", "reasoning_details": [{"type": "reasoning.summary", "summary": "2 + 3"}]},
        {"content": "5", "reasoning_content": [{"type": "text", "text": "2 + 3"}]},
        {"content": "5", "reasoning": None, "reasoning_content": "2 + 3"},
        {"content": "5", "thinking_blocks": [{"type": "thinking", "thinking": "2 + 3"}]},
        {"content": [{"type": ["odd"], "text": "5"}, 7], "reasoning_content": "2 + 3"},
    ],
    ids=["Mistral", "Anthropic", "OpenRouter", "OpenRouter, summary", "a list", "vLLM", "LiteLLM", "odd parts"],
)
def test_thought_and_text_are_read_whatever_parts_they_come_in(message):
    (reply,), *_ = ask(lambda *_: says(message), api="chat")
    assert (reply.reasoning, reply.text) == ("2 + 3", "5")


def think(text):
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    "deltas",
    [
        ({"content": [think("2 ")]}, {"content": [think("+ 3")]}, {"content": "fi"}, {"content": "ve"}),
        ({"content": ""}, {"content": [think("2 + 3")]}, {"content": [{"type": "text", "text": "five"}]}),
        (
            {"reasoning_details": [{"type": "reasoning.text", "text": "2 "}]},
            {"reasoning_details": [{"type": "reasoning.text", "text": "+ 3"}]},
            {"content": "five"},
        ),
        ({"reasoning": "2 + 3", "reasoning_details": [{"type": "reasoning.text", "text": "2 + 3"}]}, {"content": "five"}),
    ],
)
def test_parts_that_come_in_chunks_are_put_together(deltas):
    (reply,), *_ = ask(lambda *_: stream(*deltas), api="chat", stream=True)
    assert (reply.reasoning, reply.text) == ("2 + 3", "five")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream"])
def test_a_stream_is_one_whatever_its_type_says(content_type):
    (reply,), *_ = ask(lambda *_: stream({"content": "five"}, content_type=content_type), api="chat")
    assert reply.text == "five"


def test_json_is_json_whatever_its_type_says():
    """Gateways that call every answer an event stream, and end it as one."""
    whole = json.dumps(says({"content": "five"}))
    for text in (whole, f"{whole}\n\ndata: [DONE]\n\n"):
        (reply,), *_ = ask(lambda *_, text=text: web.Response(text=text, content_type="text/event-stream"), api="chat")
        assert reply.text == "five"


# Ends and counts


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *((reason, "stop") for reason in ("stop", "STOP", "eos", "end_turn", "stop_sequence")),
        *((reason, "length") for reason in ("length", "MAX_TOKENS", "model_length", "max_tokens", "model_context_window_exceeded")),
        *(
            (reason, "refused")
            for reason in ("content_filter", "sensitive", "SAFETY", "RECITATION", "refusal", "guardrail_intervened")
        ),
    ],
)
def test_reasons_for_an_end_are_understood_in_every_dialect(reason, finish):
    (reply,), engine, _ = ask(lambda *_: says({"content": "5"}, reason), api="chat")
    assert (reply.finish, reply.finish_reason) == (finish, reason)
    assert not engine.findings.summarise()


@pytest.mark.parametrize(
    "reason", ["error", "abort", "network_error", "insufficient_system_resource", "server_error", "cancelled", "failed", "timeout"]
)
def test_a_reply_that_the_server_broke_off_is_asked_for_again(reason):
    (reply,), _, server = ask(lambda _p, _b, n: says({"content": "5"}, reason if n == 1 else "stop"), api="chat")
    assert (reply.finish, len(server.got)) == ("stop", 2)
    with pytest.raises(EngineError, match=f"broke off .finish_reason '{reason}'"):
        ask(lambda *_: says({"content": "5"}, reason), api="chat", retries=0)


def test_an_error_beside_the_text_of_a_choice_says_that_the_reply_broke_off():
    """OpenRouter, where the model's server fails after it began."""
    broken = {"message": {"content": "5"}, "finish_reason": None, "error": {"code": 502, "message": "Provider disconnected"}}
    (reply,), _, server = ask(lambda _p, _b, n: {"choices": [broken]} | USAGE if n == 1 else says({"content": "6"}), api="chat")
    assert (reply.text, len(server.got)) == ("6", 2)
    streamed = (
        f"data: {json.dumps({'choices': [{'delta': {'content': '5'}, 'finish_reason': 'stop', 'error': broken['error']}]})}\n\n"
    )
    with pytest.raises(EngineError, match="broke off"):
        ask(lambda *_: web.Response(text=streamed, content_type="text/event-stream"), api="chat", stream=True, retries=0)


@pytest.mark.parametrize("status", [424, 499])
def test_a_model_that_fails_behind_a_gateway_is_asked_again(status):
    """424: TGI, Bedrock."""
    (reply,), *_ = ask(lambda _p, _b, n: web.Response(status=status) if n < 3 else completion(" 5"))
    assert reply.text == " 5"


def test_a_server_that_does_not_answer_in_time_is_asked_for_less_at_once():
    """Ollama and llama.cpp let requests wait in a queue of any length."""

    async def script(_path, _body, n):
        await asyncio.sleep(9 if n == 1 else 0)
        return completion(" 5")

    replies, engine, _ = ask(script, timeout=0.2)
    assert replies[0].text == " 5"
    assert engine.addresses[0].pace.limit < START


def test_a_content_filter_in_the_middle_of_a_stream_refuses_the_prompt():
    delta = json.dumps({"choices": [{"delta": {"content": "12"}, "finish_reason": None}]})
    body = f'data: {delta}\n\ndata: {{"error": {{"code": 400, "type": "content_filter", "message": "filtered"}}}}\n\n'
    (reply,), _, server = ask(lambda *_: web.Response(text=body, content_type="text/event-stream"), api="chat", stream=True)
    assert (reply.finish, len(server.got)) == ("refused", 1)


@pytest.mark.parametrize("code", [429, 503])
def test_a_refusal_in_the_middle_of_a_stream_is_a_reply_that_broke_off(code):
    delta = json.dumps({"choices": [{"delta": {"content": "12"}, "finish_reason": None}]})
    body = f'data: {delta}\n\ndata: {{"error": {{"code": {code}, "message": "overloaded"}}}}\n\n'
    with pytest.raises(EngineError, match="2 tries") as failed:
        ask(lambda *_: web.Response(text=body, content_type="text/event-stream"), api="chat", stream=True, retries=1)
    assert not isinstance(failed.value, UnpaidError)


def test_a_connection_that_ends_with_blank_lines_alone_was_not_paid_for():
    """DeepSeek sends them while a request waits, and closes after ten minutes."""
    with pytest.raises(UnpaidError, match="the answer is empty"):
        ask(lambda *_: web.Response(text="\n\n\n"), retries=0)


@pytest.mark.parametrize("began", [True, False])
def test_a_stream_that_breaks_off_was_paid_for_if_text_had_come(began):
    delta = [json.dumps({"choices": [{"delta": {"content": "12 + 3"}, "finish_reason": None}]})] if began else []
    body = "".join(f"data: {one}\n\n" for one in [*delta, json.dumps({"error": {"code": 502, "message": "lost"}})])
    with pytest.raises(EngineError) as failed:
        ask(lambda *_: web.Response(text=body, content_type="text/event-stream"), api="chat", stream=True, retries=0)
    assert isinstance(failed.value, UnpaidError) != began


def test_several_choices_that_a_server_answers_with_a_fault_are_asked_for_one_by_one():
    """Older llama.cpp."""

    def script(_path, body, _n):
        return refused("Only one completion choice is allowed", 500) if body.get("n", 1) > 1 else completion(" 5")

    async def run(url):
        async with open_endpoint(url, wait=0.01, n=3) as engine:
            return await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0), path) for path in range(3)])

    with Server(script) as server:
        answer = asyncio.run(run(server.url))
        assert [body.get("n", 1) for _, body in server.got] == [3, 1]
    assert [reply.text for reply in answer.replies] == [" 5"]


def test_the_body_may_say_that_log_probabilities_are_not_wanted():
    """Some servers fail if they are."""

    def script(_path, body, _n):
        return web.Response(status=500, text="list index out of range") if body["logprobs"] else completion(" 5")

    (reply,), *_ = ask(script, body={"logprobs": False})
    assert reply.text == " 5"


def test_a_reason_that_nobody_knows_is_counted():
    _, engine, _ = ask(lambda _p, _b, n: says({"content": "5"}, "tired" if n < 3 else "stop"), n=3, api="chat")
    assert engine.findings.summarise() == {"unknown ends": "tired (2)"}


def test_another_version_of_the_model_is_counted():
    _, engine, _ = ask(lambda _p, _b, n: completion("5") | {"model": "a" if n < 3 else "b"}, n=3)
    assert engine.findings.summarise() == {"versions": "a (2), b (1)"}


def test_hidden_thought_that_only_the_total_counts_was_written():
    def usage(**counts):
        return read_usage({"usage": {f"{name}_tokens": n for name, n in counts.items()}}).written

    assert usage(prompt=10, completion=5, total=815) == 805
    assert usage(prompt=10, completion=5, total=15) == usage(prompt=10, completion=5) == 5
    assert usage(prompt=10, total=15) == 5
    assert usage(completion=5, total=15) == 5
    assert usage(prompt=0, completion=0, total=0) is None, "no prompt has no tokens: such a server does not count"
    beside = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 800}}
    assert read_usage({"usage": beside}).written == read_usage({"usage": beside | {"total_tokens": 815}}).written == 805


def test_an_answer_without_choices_is_cut_off_if_a_thought_took_its_tokens_and_else_a_fault():
    """Gemini's, whose thoughts are in the total alone."""
    usage = {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 810}
    (reply,), _, server = ask(lambda *_: {"choices": [], "usage": usage}, api="chat")
    assert (reply.text, reply.finish, reply.tokens) == ("", "length", 800)
    assert len(server.got) == 1
    with pytest.raises(EngineError, match=r"not an answer .* \(2 tries\)"):
        ask(lambda *_: {"choices": [], "usage": usage | {"total_tokens": 10}}, api="chat", retries=1)


@pytest.mark.parametrize(
    ("counts", "cut"),
    [([2048] * 4, "2,048 tokens"), ([2048, 2048, 2048, 2500], None), ([2047] * 4, None), ([2048, 2048], None)],
)
def test_long_prompts_that_differ_and_have_the_same_round_count_were_cut(counts, cut):
    def script(_path, _body, n):
        return completion("5") | {"usage": {"prompt_tokens": counts[n - 1], "completion_tokens": 1}}

    for prompt, found in (("x" * 14_000, cut), ("x", None)):
        _, engine, _ = ask(script, n=len(counts), prompt=prompt)
        assert engine.findings.summarise().get("prompts cut at") == found


# Refusals


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("stop", "Unsupported parameter: 'stop' is not supported with this model."),
        ("stop", "stop_sequences: each stop sequence must contain non-whitespace"),
        ("logprobs", "Logprobs is not enabled for this model"),
        ("logprobs", "Log probabilities are not supported by this model"),
        ("seed", "Seed is not supported"),
        ("top_p", "Unsupported parameter: 'top_p'"),
    ],
)
def test_a_field_that_is_refused_and_can_be_spared_is_left_out_from_then_on_and_recorded(field, message):
    def script(_path, body, _n):
        return refused(message) if field in body else completion(" 5\n\nQ: next")

    replies, engine, server = ask(script, n=3, stop=("\n\n",))
    assert [reply.text for reply in replies] == [" 5"] * 3, "a stop string is cut here"
    assert [field in body for _, body in server.got] == [True, False, False, False]
    assert engine.changed == field


def test_top_p_decides_the_reply_and_is_never_left_out():
    async def run(url):
        async with open_endpoint(url) as engine:
            await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0, 0.9), 0)])

    with Server(lambda *_: refused("Unsupported parameter: 'top_p'")) as server, pytest.raises(EngineError, match="'top_p'"):
        asyncio.run(run(server.url))
    assert len(server.got) == 1


@pytest.mark.parametrize("refuses", ["both", "temperature"])
def test_a_temperature_other_than_1_is_sent_though_a_probe_at_1_left_it_out(refuses):
    """Claude takes temperature or top_p, o3-mini neither."""

    def script(_path, body, _n):
        if "temperature" in body and ("top_p" in body or refuses == "temperature"):
            return refused("`temperature` and `top_p` cannot both be specified for this model")
        return completion(" 5")

    async def run(url):
        async with open_endpoint(url, wait=0.01, n=3) as engine:
            await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0), 0)])
            return await engine.replies([Request(Call("teacher", "Q"), Decoding(0.3), 0)])

    with Server(script) as server:
        if refuses == "temperature":
            with pytest.raises(EngineError, match="temperature"):
                asyncio.run(run(server.url))
        else:
            asyncio.run(run(server.url))
            sent = [(body.get("temperature"), body.get("top_p")) for _, body in server.got]
            assert sent == [(1.0, 1.0), (None, 1.0), (0.3, 1.0), (0.3, None)]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda: refused("Your credit balance is too low to access the API."), "no credit left"),
        (lambda: refused("Budget has been exceeded!", type="budget_exceeded", code="400"), "no credit left"),
        (lambda: refused("Access denied", code="Arrearage", type="Arrearage"), "no credit left"),
        (lambda: refused("Insufficient Balance", 403), "no credit left"),
        (lambda: refused("Sorry, your account balance is insufficient", 403, code=30001), "no credit left"),
        (lambda: refused("Account a is suspended, possibly due to reaching the monthly spending limit", 412), "no credit left"),
        (lambda: refused("Your team has used all available credits", 403), "no credit left"),
        (lambda: refused("Your account is suspended", 429, type="exceeded_current_quota_error"), "no credit left"),
        (lambda: refused("no", 429, code="1113"), "no credit left"),
        (lambda: web.json_response({"error": "insufficient credits", "code": 7}, status=403), "no credit left"),
        (lambda: web.json_response([{"error": {"code": 400, "message": "API key expired. Renew it."}}], status=400), "key right"),
        (lambda: refused("no", details=[{"reason": "API_KEY_INVALID"}]), "key right"),
        (lambda: refused("Your balance is too low", 200), "no credit left"),
        (lambda: minimax(1008, "insufficient balance"), "no credit left"),
        (lambda: minimax(2049, "invalid api key"), "key right"),
        (lambda: refused("You exceeded your current quota", 401, type="insufficient_quota"), "no credit left"),
        (lambda: refused("Your prepayment credits are depleted.", 429, code=429), "no credit left"),
        (lambda: refused("not enough balance", 403), "no credit left"),
    ],
    ids=[
        "Anthropic",
        "LiteLLM",
        "DashScope",
        "403",
        "SiliconFlow",
        "Fireworks",
        "xAI",
        "Moonshot",
        "Zhipu",
        "a text",
        "Gemini",
        "Gemini, invalid",
        "under a 200",
        "MiniMax",
        "MiniMax, key",
        "401",
        "Gemini, prepaid",
        "Novita",
    ],
)
def test_an_account_without_credit_or_key_ends_the_run_under_any_status(answer, hint):
    with pytest.raises(AccountError, match=hint):
        ask(lambda *_: answer())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: refused("Content Exists Risk", type="invalid_request_error", code="invalid_request_error"),
        lambda: refused("Input may contain inappropriate content", code="data_inspection_failed"),
        lambda: refused("Input may contain inappropriate content", code="DataInspectionFailed"),
        lambda: refused("Input may contain sensitive information", code="SensitiveContentDetected"),
        lambda: refused("no", code="1301"),
        lambda: minimax(1026, "input new_sensitive"),
        lambda: refused("Invalid prompt: flagged", code="invalid_prompt"),
        lambda: refused("filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        lambda: refused("filtered", innererror={"code": "ResponsibleAIPolicyViolation"}),
        lambda: refused("flagged", 403, metadata={"reasons": ["fraud"], "flagged_input": "Ann has insufficient funds"}),
        lambda: refused("Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO", 403),
        lambda: refused("litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException", code="400"),
        lambda: refused("Provider returned error", metadata={"raw": "triggering Azure OpenAI's content management policy."}),
        lambda: refused("no", code="InputTextRiskDetection"),
    ],
    ids=[
        "DeepSeek",
        "DashScope",
        "DashScope's other",
        "Volcengine",
        "Zhipu",
        "MiniMax",
        "OpenAI",
        "Azure",
        "Azure, inside",
        "OpenRouter",
        "xAI",
        "LiteLLM",
        "OpenRouter, Azure",
        "Volcengine, text",
    ],
)
def test_a_prompt_that_is_refused_for_its_content_is_a_reply(answer):
    (reply,), _, server = ask(lambda *_: answer())
    assert (reply.finish, len(server.got)) == ("refused", 1)


def test_a_page_of_a_firewall_is_no_word_about_the_key():
    page = web.Response(status=403, text="<html><h1>Access denied</h1>", content_type="text/html")
    with pytest.raises(AccountError, match=r"Access denied.*perhaps a firewall or a proxy refuses") as error:
        ask(lambda *_: page)
    assert "key_env" not in str(error.value)


def test_a_server_that_loads_its_model_is_waited_for_and_that_is_told(monkeypatch):
    monkeypatch.setattr(endpoint, "TOLD", 0.0005)
    told = []

    def script(_path, _body, n):
        loading = {"error": {"code": 503, "message": "Loading model" if n % 2 else "warming up", "type": "unavailable_error"}}
        return web.json_response(loading, status=503, headers={"Retry-After-Ms": "1"}) if n < 9 else completion("ok")

    with Server(script) as server:

        async def run():
            async with open_endpoint(server.url, retries=0) as engine:
                engine.report = told.append
                return await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0), 0)])

        answer = asyncio.run(run())
    assert (answer.replies[0].text, len(server.got), answer.usage.requests) == ("ok", 9, 1)
    assert len(told) == 1
    assert "Loading model" in told[0]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="<!doctype html><title>Open WebUI</title>", content_type="text/html"),
        lambda: web.json_response({"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    ],
    ids=["a page", "LM Studio"],
)
def test_an_address_without_v1_says_what_answered_and_what_to_try_at_once(answer):
    with pytest.raises(EngineError, match=r"(Open WebUI|Unexpected endpoint).*with /v1\?") as error:
        ask(lambda *_: answer(), below="")
    assert "HTTP 500" not in str(error.value)
    assert "tries" not in str(error.value)


@pytest.mark.parametrize("below", ["/v1", "/a/prefix/v1", "/openai/deployments/d", "/api/v3"])
def test_any_path_may_stand_before_the_api_and_a_slash_behind_it(below):
    with Server(lambda *_: completion("ok"), below=below) as server:

        async def run():
            async with open_endpoint(f"{server.url}/") as engine:
                return (await engine.replies([Request(Call("teacher", "Q"), Decoding(1.0), 0)])).replies[0].text

        assert asyncio.run(run()) == "ok"


def test_a_refusal_may_have_its_reason_behind_a_colon_as_geminis_do():
    replies, *_ = ask(lambda *_: says({"role": "assistant"}, "content_filter: RECITATION"), api="chat")
    assert (replies[0].finish, replies[0].text) == ("refused", "")


@pytest.mark.parametrize("fault", ['error: {"code": 500}', 'data: {"object": "error", "message": "CUDA"}'])
def test_a_stream_that_breaks_off_with_an_error_is_no_reply_even_if_done_follows(fault):
    chunk = json.dumps({"choices": [{"delta": {"content": "12 + 3"}, "finish_reason": None}]})
    body = f"data: {chunk}\n\n{fault}\n\ndata: [DONE]\n\n".encode()
    with pytest.raises(EngineError, match="2 tries"):
        ask(lambda *_: web.Response(body=body, content_type="text/event-stream"), api="chat", stream=True, retries=1)


def test_an_empty_event_keeps_a_stream_alive():
    chunk = json.dumps({"choices": [{"delta": {"content": "15"}, "finish_reason": "stop"}]})
    body = f"data:\n\ndata: {chunk}\n\ndata: [DONE] \n\n".encode()
    replies, *_ = ask(lambda *_: web.Response(body=body, content_type="text/event-stream"), api="chat", stream=True)
    assert replies[0].text == "15"


def test_a_refusal_that_quotes_a_reply_says_nothing_about_the_fields_it_names():
    quoted = {"code": "tool_use_failed", "failed_generation": "one more stop before home"}
    script = lambda _, __, n: refused("the model called a tool", **quoted) if n == 1 else completion(" 5")  # noqa: E731
    with Server(script) as server:

        async def run():
            async with open_endpoint(server.url) as engine:
                asks = [Request(Call("teacher", prompt, ("\n\n",)), Decoding(1.0), 0) for prompt in "ab"]
                with pytest.raises(EngineError, match="the model called a tool"):
                    await engine.replies(asks[:1])
                return await engine.replies(asks[1:])

        asyncio.run(run())
    assert ["stop" in body for _, body in server.got] == [True, True]


def test_of_two_addresses_one_that_serves_another_model_fails_no_request():
    with Server(lambda *_: refused("model not found", 404)) as wrong, Server(lambda *_: completion(" 5")) as right:

        async def run():
            async with open_endpoint([wrong.url, right.url], wait=0.01, identity="m") as engine:
                asks = [Request(Call("teacher", f"Q{i}"), Decoding(1.0), 0) for i in range(20)]
                return [(await engine.replies([one])).replies[0] for one in asks]

        assert [reply.text for reply in asyncio.run(run())] == [" 5"] * 20


@pytest.mark.parametrize("url", ["http://foo..bar/v1", f"http://{'a' * 64}.com/v1"])
def test_a_url_with_an_impossible_host_is_refused(url):
    with pytest.raises((StudyError, ValueError), match="url"):
        open_endpoint(url)


def test_an_error_of_a_request_comes_whole_from_another_process():
    error = DeniedError("http://x: HTTP 404", '{"error": {"code": "gone"}}', 404)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.body, copy.names, copy.status) == (str(error), error.body, {"gone"}, 404)


def test_the_words_of_a_server_behind_a_gateway_name_the_field_to_leave_out():
    raw = json.dumps({"error": {"message": "Unsupported parameter: 'logprobs'"}})
    script = lambda _, body, __: (  # noqa: E731
        refused("Provider returned error", code=400, metadata={"raw": raw}) if "logprobs" in body else completion(" 5")
    )
    replies, *_ = ask(script)
    assert replies[0].text == " 5"


def test_of_two_addresses_one_that_asks_for_a_day_holds_up_no_request(monkeypatch):
    monkeypatch.setattr(endpoint, "REST", 0.05)
    with (
        Server(lambda *_: web.Response(status=429, headers={"Retry-After": "86400"})) as busy,
        Server(lambda *_: completion(" 5")) as free,
    ):

        async def run():
            async with open_endpoint([busy.url, free.url], wait=0.01, identity="m") as engine:
                asks = [Request(Call("teacher", f"Q{i}"), Decoding(1.0), 0) for i in range(40)]
                return await asyncio.wait_for(asyncio.gather(*(engine.replies([one]) for one in asks)), 60)

        assert [answer.replies[0].text for answer in asyncio.run(run())] == [" 5"] * 40


@pytest.mark.parametrize(
    "limit",
    [lambda: refused("API key limit exceeded: 60 requests per minute", 429), lambda: minimax(1002, "rate limit")],
    ids=["under a 429", "under a 200"],
)
def test_a_limit_of_a_key_by_the_minute_is_waited_for(limit):
    answers = iter([limit(), completion(" 5")])
    replies, *_ = ask(lambda *_: next(answers), retries=0)
    assert replies[0].text == " 5"


def test_alibabas_limit_by_the_minute_is_no_empty_account():
    message = "You exceeded your current quota; read https://help.aliyun.com/zh/model-studio/error-code#token-limit"
    answers = iter([refused(message, 429, code="insufficient_quota", type="insufficient_quota"), completion(" 5")])
    replies, *_ = ask(lambda *_: next(answers))
    assert replies[0].text == " 5"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, [{"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}]),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        (503, {"error": {"message": "Service is too busy. We advise users to temporarily switch to alternative providers"}}),
        (498, {"error": {"message": "Flex Tier Capacity Exceeded"}}),
    ],
    ids=["Gemini", "Anthropic", "DeepSeek", "Groq"],
)
def test_an_overloaded_server_is_waited_for(status, body):
    replies, *_ = ask(lambda _p, _b, n: web.json_response(body, status=status) if n < 4 else completion(" 5"), retries=0)
    assert replies[0].text == " 5"


def test_a_request_larger_than_what_a_minute_allows_fails_alone():
    def script(_path, body, _n):
        too_large = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 30601."
        return refused(too_large, 429, code="rate_limit_exceeded") if body["prompt"].endswith("xx") else completion(" 5")

    async def run(url):
        async with open_endpoint(url, wait=0.01, n=3) as engine:
            asks = [Request(Call("teacher", f"Q{i * 'x'}"), Decoding(1.0), 0) for i in range(3)]
            return await asyncio.gather(*(engine.replies([one]) for one in asks), return_exceptions=True)

    with Server(script) as server:
        *others, large = asyncio.run(run(server.url))
    assert [answer.replies[0].text for answer in others] == [" 5", " 5"]
    assert isinstance(large, EngineError) and "Request too large" in str(large)


@pytest.mark.parametrize("answered", [0, 3])
def test_a_server_that_cannot_be_reached_ends_the_run_and_one_that_fails_does_not(answered):
    async def run(server):
        async with open_endpoint(server.url, retries=0) as engine:
            asks = [Request(Call("teacher", f"Q{i}"), Decoding(1.0), 0) for i in range(answered + endpoint.GONE)]
            ended = [await asyncio.gather(engine.replies([one]), return_exceptions=True) for one in asks]
            server.__exit__()
            return ended, [await asyncio.gather(engine.replies([one]), return_exceptions=True) for one in asks]

    server = Server(lambda _p, _b, n: completion(" 5") if n <= answered else web.Response(status=502)).__enter__()
    failing, broken = asyncio.run(run(server))
    assert not any(isinstance(one, AccountError) for (one,) in failing), "a few prompts may be at fault, the only ones left"
    ended = [str(one) for (one,) in broken if isinstance(one, AccountError)]
    assert ended and "times in a row" in ended[0] and "run the same command again" in ended[0]
