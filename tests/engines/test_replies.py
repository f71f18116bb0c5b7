"""What comes back from an endpoint is kept whole, and read for what it is: over HTTP on loopback."""

import asyncio
import json

import pytest
from aiohttp import web
from asking import ask_one, open_endpoint, read_keys
from hostile import streamed
from hypothesis import given
from hypothesis import strategies as st
from loopback import Server, completion

from understudy.core.asks import Call, Decoding, Reply, Request
from understudy.core.errors import AccountError, EngineError, StudyError, UnderstudyError
from understudy.engines.remote.choices import read_choices
from understudy.engines.remote.sse import merge_events
from understudy.sampling.ledger import Ledger


def ask(script, *, n=1, stop=(), **options):
    """The replies to ``n`` requests, one after the other, and the bodies that were sent."""
    with Server(script) as server:

        async def run():
            async with open_endpoint(server.url, "tiny", wait=0.01, **options) as engine:
                return [await ask_one(engine, Request(Call("teacher", "Q", stop), Decoding(1.0), path)) for path in range(n)]

        return asyncio.run(run()), [body for _, body in server.got]


def chat(message, finish="stop", **more):
    return {"model": "m-2", "choices": [{"message": message, "finish_reason": finish}], **more}


def test_the_reply_says_which_version_answered_why_it_ends_and_how_long_it_took():
    (reply,), _ = ask(lambda *_: completion("ok") | {"model": "m-0613", "system_fingerprint": "fp_1"})
    assert (reply.model, reply.finish_reason) == ("m-0613 (fp_1)", "stop")
    assert 0 < reply.latency < 60


def test_what_is_new_of_a_reply_comes_back_from_the_ledger_and_an_old_row_has_none_of_it(tmp_path):
    reply = Reply("x", finish_reason="eos", model="m (f)", latency=0.25)
    request = Request(Call("teacher", "Q"), Decoding(), 0)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.put("k", reply, engine="e", request=request, seed=0)
        ledger.flush()
        assert {key: ledger.get(key) for key in read_keys(ledger)} == {"k": reply}
        row = ledger._connection.execute("SELECT reply FROM replies").fetchone()[0]
        old = {name: value for name, value in json.loads(row).items() if name not in ("finish_reason", "model", "latency")}
        ledger._connection.execute("UPDATE replies SET reply = ?", (json.dumps(old),))
        assert ledger.get("k") == Reply("x")


@pytest.mark.parametrize(
    ("message", "finish", "text", "reasoning", "ends"),
    [
        ({"content": "5", "reasoning_content": "2 + 3"}, "stop", "5", "2 + 3", "stop"),
        ({"content": "<think>2 + 3</think>\n5", "reasoning_content": "2 + 3"}, "stop", "5", "2 + 3", "stop"),  # in both places
        ({"content": "5", "reasoning": "2 + 3"}, "stop", "5", "2 + 3", "stop"),
        ({"content": "<think>\n2 + 3\n</think>\n\n5"}, "stop", "5", "2 + 3", "stop"),
        ({"content": "2 + 3\n</think>\n\n5"}, "stop", "5", "2 + 3", "stop"),
        ({"content": [{"type": "text", "text": "fi"}, {"type": "text", "text": "ve"}]}, "stop", "five", "", "stop"),
        ({"content": None, "reasoning_content": "2 +"}, "length", "", "2 +", "length"),
        ({"content": "", "reasoning_content": "2 + 3"}, "stop", "", "2 + 3", "stop"),
        ({"content": "<think>2 +"}, "length", "", "2 +", "length"),
        ({"content": None}, "length", "", "", "length"),
        ({"content": None, "refusal": "I cannot"}, "stop", "I cannot", "", "refused"),
        ({"content": ""}, "content_filter", "", "", "refused"),
        ({"content": None}, "content_filter", "", "", "refused"),
    ],
)
def test_reasoning_and_answer_are_told_apart_however_a_server_writes_them(message, finish, text, reasoning, ends):
    (reply,), sent = ask(lambda *_: chat(message, finish), api="chat")
    assert (reply.text, reply.reasoning, reply.finish, reply.finish_reason) == (text, reasoning, ends, finish)
    assert len(sent) == 1, "it is bought once, whatever it is"


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>\nhm\n\nhm\n</think>\n\n5\n\nQ: next"},
        {"content": "hm\n\n</think>\n\n5\n\nQ: next"},
        {"content": "\n\n5\n\nQ: next", "reasoning_content": "hm"},
    ],
)
def test_empty_lines_in_a_thought_and_behind_it_end_no_answer(message):
    (reply,), _ = ask(lambda *_: chat(message), api="chat", stop=("\n\n",))
    assert (reply.text, reply.finish) == ("5", "stop")
    assert "hm" in reply.reasoning


KEY = "zq-SECRET-1234567890"


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_a_server_repeats_is_not_seen(monkeypatch, stream):
    monkeypatch.setenv("TEACHER", KEY)
    whole = completion(f"your key is {KEY}!") | {"id": "c", "object": "o", "model": KEY, "system_fingerprint": "f"}
    pieces = b"".join(streamed(whole))  # the key is in two of them
    answer = web.Response(body=pieces, content_type="text/event-stream") if stream else web.json_response(whole)
    (reply,), _ = ask(lambda *_: answer, key_env="TEACHER", stream=stream)
    assert reply.text == "your key is [the key]!"
    assert KEY not in repr(reply)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_error_shows_the_key(monkeypatch, status):
    monkeypatch.setenv("TEACHER", KEY)
    monkeypatch.setattr("understudy.engines.remote.endpoint.PATIENCE", 0.0)
    with pytest.raises(UnderstudyError, match=r"bad key \[the key\]") as raised:
        ask(lambda *_: web.Response(status=status, text=f"bad key {KEY}"), key_env="TEACHER", retries=0)
    assert KEY not in str(raised.value)


def test_the_key_of_a_server_that_wants_none_is_a_word_like_any_other(monkeypatch):
    monkeypatch.setenv("TEACHER", "EMPTY")
    (reply,), _ = ask(lambda *_: completion("the box is EMPTY"), key_env="TEACHER")
    assert reply.text == "the box is EMPTY"


@pytest.mark.parametrize(
    ("code", "says"), [("insufficient_quota", "no credit left: top it up."), ("invalid_api_key", "the key right")]
)
def test_an_account_that_is_refused_under_a_200_ends_it_all(code, says):
    error = {"error": {"message": "no", "type": code, "code": code}}
    with pytest.raises(AccountError, match=says):
        ask(lambda *_: web.json_response(error))


def test_a_403_of_an_address_that_answers_is_of_its_own_prompt_and_one_of_a_moderation_is_a_refusal():
    def answer(error):
        return lambda _p, body, _n: web.json_response(error, status=403) if body["seed"] >> 16 == 1 else completion("ok")

    flagged = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"]}}}
    (first, reply, last), _ = ask(answer(flagged), n=3)
    assert (first.text, reply.finish, last.text) == ("ok", "refused", "ok")
    error = {"error": {"code": 403, "message": "not you"}}
    with pytest.raises(EngineError, match=r"HTTP 403: .*not you"):
        ask(answer(error), n=2)
    with pytest.raises(AccountError, match="this key may use this model"):
        ask(lambda *_: web.json_response(error, status=403))


def test_a_raw_completion_keeps_its_tags_since_it_may_be_gone_on_with():
    (reply,), _ = ask(lambda *_: completion("<think>2 + 3</think>5"))
    assert (reply.text, reply.reasoning) == ("<think>2 + 3</think>5", "")


def test_a_prompt_that_the_content_filter_holds_back_is_a_refusal_and_no_error():
    said = {"error": {"code": "content_filter", "message": "flagged"}}
    (reply,), sent = ask(lambda *_: web.json_response(said, status=400))
    assert (reply.text, reply.finish, json.loads(reply.raw)) == ("", "refused", said)
    assert len(sent) == 1


@pytest.mark.parametrize("field", ["logprobs", "seed", "temperature"])
def test_what_a_server_does_not_know_and_can_be_spared_is_left_out_from_then_on(field):
    def script(_path, body, _n):
        if field in body:
            return web.json_response({"error": {"message": f"Unsupported parameter: '{field}'"}}, status=400)
        return completion("ok")

    replies, sent = ask(script, n=3)
    assert [reply.text for reply in replies] == ["ok"] * 3
    assert [field in body for body in sent] == [True, False, False, False]


def test_the_limit_goes_under_the_name_that_a_server_wants():
    def script(_path, body, _n):
        if "max_tokens" in body:
            return web.Response(status=400, text="'max_tokens' is not supported, use 'max_completion_tokens' instead")
        return chat({"content": "ok"})

    replies, sent = ask(script, n=2, api="chat")
    assert [reply.text for reply in replies] == ["ok", "ok"]
    assert [body.get("max_completion_tokens") for body in sent] == [None, 256, 256]


def test_what_one_request_finds_out_helps_those_that_are_under_way():
    async def deny(late):
        await asyncio.sleep(late)
        return web.Response(status=400, text="'max_tokens' is not supported, use 'max_completion_tokens' instead")

    with Server(lambda _path, body, n: deny(0.3 * (n > 1)) if "max_tokens" in body else completion("ok")) as server:

        async def run():
            async with open_endpoint(server.url, "tiny") as engine:
                asks = [ask_one(engine, Request(Call("teacher", "Q"), Decoding(1.0), path)) for path in range(3)]
                return await asyncio.gather(*asks)

        assert [reply.text for reply in asyncio.run(run())] == ["ok"] * 3
    assert len(server.got) == 6


def test_what_decides_the_reply_is_never_left_out():
    said = {"error": {"message": "'stop' is not supported"}}
    with pytest.raises(EngineError, match=r"HTTP 400.*'stop' is not supported"):
        ask(lambda *_: web.json_response(said, status=400), stop=("\n\n",))


WITHOUT = {"choices": [{"text": "ok", "finish_reason": "stop", "logprobs": {"content": None}}]}


@pytest.mark.parametrize("answer", [completion("ok"), WITHOUT, web.Response(status=400, text="logprobs: not here")])
def test_log_probabilities_that_a_study_needs_and_does_not_get_end_it(answer):
    with pytest.raises(StudyError, match=r"teacher\.logprobs = true"):
        ask(lambda *_: answer, logprobs=True)


def test_an_answer_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr("understudy.engines.remote.wire.LARGEST", 1 << 20)
    with pytest.raises(EngineError, match="the answer exceeds 1 MiB"):
        ask(lambda *_: web.Response(body=b" " * (2 << 20)))


def test_only_the_first_choice_is_read_and_all_are_kept():
    two = completion("one")
    two["choices"].append({"text": "two", "finish_reason": "length"})
    (reply,), _ = ask(lambda *_: two)
    assert (reply.text, reply.finish) == ("one", "stop")
    assert json.loads(reply.raw) == two


FIELDS = st.sampled_from(
    "text message content reasoning_content reasoning refusal finish_reason logprobs token_logprobs usage model system_fingerprint "
    "completion_tokens prompt_tokens logprob index delta".split()
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=4)
INSIDE = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(FIELDS, PLAIN, max_size=3)
JSON = INSIDE | st.lists(INSIDE, max_size=2) | st.dictionaries(FIELDS, INSIDE, max_size=3)
CHUNK = st.fixed_dictionaries({}, optional={"choices": JSON | st.lists(st.dictionaries(FIELDS, INSIDE, max_size=3), max_size=2)})


@given(st.dictionaries(FIELDS, JSON, max_size=6), st.dictionaries(FIELDS, JSON, max_size=4), st.booleans(), st.integers(1, 2))
def test_whatever_a_choice_is_made_of_it_is_a_reply_that_can_be_kept_or_a_named_error(choice, more, chat, n):
    try:
        answer = more | {"choices": [choice] * n}
        reply, *_ = read_choices(answer, json.dumps(answer), ("\n\n",), chat=chat, n=n)
    except EngineError as error:
        assert "the choice has no text" in str(error)
        return
    for text in (reply.text, reply.reasoning, reply.raw, reply.model, reply.finish_reason):
        text.encode()
    assert all(isinstance(value, float) for value in reply.logprobs)


@given(st.lists(CHUNK, max_size=3))
def test_whatever_chunks_come_they_make_an_answer_or_are_a_broken_stream(chunks):
    try:
        answer = merge_events("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n")
    except ValueError:
        return
    assert answer["choices"]


def test_a_stream_is_read_as_the_answer_that_it_would_have_been_in_one_piece():
    whole = completion("fünf Äpfel", index=0, logprobs={"token_logprobs": [-0.5, -0.25]})
    whole |= {"id": "c", "object": "text_completion", "model": "m", "system_fingerprint": "f"}
    (reply,), (sent,) = ask(lambda *_: web.Response(body=b"".join(streamed(whole)), content_type="text/event-stream"), stream=True)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert json.loads(reply.raw) == {name: value for name, value in whole.items() if name != "object"}


def test_a_chat_comes_in_chunks_too_and_a_server_without_done_is_understood():
    parts = ({"role": "assistant", "reasoning_content": "2 "}, {"reasoning_content": "+ 3"}, {"content": "fi"}, {"content": "ve"})
    chunks = [{"choices": [{"delta": part, "finish_reason": None}]} for part in parts]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "length"}]})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    (reply,), _ = ask(lambda *_: web.Response(text=text, content_type="text/event-stream"), api="chat", stream=True)
    assert (reply.text, reply.reasoning, reply.finish, reply.tokens) == ("five", "2 + 3", "length", None)
