"""A server on loopback that does everything that real ones do wrong, and counts what it answered well."""

import asyncio
import hashlib
import json
import random
from collections import Counter

from aiohttp import web
from loopback import Server


class Hostile(Server):
    """Answers a completion to its prompt in one request of two; each other one suffers one of `FAULTS`, or a refusal."""

    def __init__(self, seed=0, share=0.5):
        super().__init__(None)
        self.chance, self.share = random.Random(seed), share
        self.answered, self.suffered = Counter(), Counter()

    async def _answer(self, request):
        body = await request.json()
        faults = REFUSALS if self.chance.random() < 0.02 else FAULTS  # many of them would leave one request at a time
        fault = self.chance.choice(faults) if self.chance.random() < self.share else None
        answer = whole(body)
        if fault is None:
            self.answered[body["prompt"]] += 1
            return await self._sent(request, answer, stream=body.get("stream", False))
        self.suffered[fault.__name__] += 1
        return await fault(request, answer)

    async def _sent(self, request, answer, *, stream):
        if not stream:
            return web.json_response(answer)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in streamed(answer):
            await response.write(line)
        await response.write_eof()
        return response


def text_of(prompt):
    """What the server says to a prompt: of its own to each."""
    return f" {hashlib.sha256(prompt.encode()).hexdigest()} für {prompt} 🙂"


def whole(body):
    text = text_of(body["prompt"])
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.5, -0.25]}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c", "object": "text_completion", "model": "m-1", "system_fingerprint": "fp", "choices": [choice], "usage": usage}


def streamed(answer):
    """The answer in chunks, cut in the middle of characters, with a comment in between, and usage in the last."""
    choice = answer["choices"][0]
    head = {name: answer[name] for name in ("id", "object", "model", "system_fingerprint")}
    half = len(choice["text"]) // 2
    for text, logprob, finish in ((choice["text"][:half], -0.5, None), (choice["text"][half:], -0.25, "stop")):
        part = {"index": 0, "text": text, "finish_reason": finish, "logprobs": {"token_logprobs": [logprob]}}
        sent = f"data: {json.dumps(head | {'choices': [part], 'usage': None}, ensure_ascii=False)}\n\n: alive\n\n".encode()
        yield sent[: len(sent) // 3]
        yield sent[len(sent) // 3 :]
    yield f"data: {json.dumps(head | {'choices': [], 'usage': answer['usage']})}\r\n\r\ndata: [DONE]\n\n".encode()


async def too_fast(_request, _answer):
    return web.Response(status=429, text="slow down")


async def too_fast_and_says_when(_request, _answer):
    return web.Response(status=429, text="slow down", headers={"Retry-After-Ms": "5"})


async def overloaded(_request, _answer):
    return web.Response(status=503, text="busy", headers={"Retry-After": "0"})


async def bad_gateway(_request, _answer):
    return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")


async def page_under_200(_request, _answer):
    return web.Response(text="<html><h1>We will be back soon</h1></html>", content_type="text/html")


async def error_under_200(_request, _answer):
    return web.json_response({"error": {"message": "upstream died", "code": 502}})


async def nothing(_request, _answer):
    return web.Response(text="", content_type="application/json")


async def no_choices(_request, answer):
    return web.json_response({"id": answer["id"], "choices": []})


async def not_a_list(_request, answer):
    return web.json_response(answer | {"choices": "many"})


async def not_an_object(_request, _answer):
    return web.json_response([1, 2, 3])


async def half_a_json(_request, answer):
    text = json.dumps(answer)
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


async def deep(_request, _answer):
    return web.Response(text="[" * 200_000, content_type="application/json")


async def reset_at_once(request, _answer):
    request.transport.abort()
    return web.Response()


async def reset_in_the_middle(request, answer):
    text = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(text)), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(text[: len(text) // 2])
    request.transport.abort()
    return response


async def drips(request, answer):
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for byte in json.dumps(answer).encode():
        await response.write(bytes([byte]))
        await asyncio.sleep(0.2)
    return response


async def ends_in_mid_stream(request, answer):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(next(streamed(answer)))
    await response.write_eof()
    return response


async def stream_that_reports_an_error(_request, _answer):
    return web.Response(text='data: {"error": {"message": "out of memory"}}\n\n', content_type="text/event-stream")


async def chunks_of_nonsense(_request, _answer):
    return web.Response(text='data: {"choices": [7]}\n\ndata: {"choices"\n\n', content_type="text/event-stream")


REFUSALS = (too_fast, too_fast_and_says_when, overloaded)
FAULTS = (
    *(bad_gateway, page_under_200, error_under_200, nothing, no_choices, not_a_list),
    *(not_an_object, half_a_json, deep, reset_at_once, reset_in_the_middle, drips, ends_in_mid_stream),
    *(stream_that_reports_an_error, chunks_of_nonsense),
)
