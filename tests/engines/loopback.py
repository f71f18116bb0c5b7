"""A real HTTP server on loopback that answers as its script says."""

import asyncio
import random
import threading

from aiohttp import web

from understudy.engines.remote.probe import PROMPT

USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 5}}


def plain(_path, body, _n):
    """The answer to a request of a probe: one choice of digits, drawn by the seed."""
    chance = random.Random(body["seed"])
    text = " ".join(chance.choice("0123456789") for _ in range(12))
    text = text.partition(body["stop"][0])[0] if "stop" in body else text
    choice = {"text": text, "message": {"content": text}, "finish_reason": "stop", "logprobs": {"token_logprobs": []}}
    return {"choices": [choice]} | USAGE


def of_a_probe(body):
    """Whether a request is of a probe."""
    body = body if isinstance(body, dict) else {}
    return PROMPT in (body.get("prompt"), *(message["content"] for message in body.get("messages", ())))


class Server:
    """An OpenAI-compatible server: ``script(path, body, count)`` gives each answer; ``got`` lists what came.

    Requests of a probe are apart: ``probed`` answers them, ``probes`` lists them. ``below``: the path that it serves, on ``host``,
    perhaps with ``tls``."""

    def __init__(self, script, *, method="POST", probed=plain, below="/v1", host="127.0.0.1", tls=None):
        self.method, self.below, self.host, self.tls = method, below, host, tls
        self.script, self.got, self.headers, self.queries = script, [], [], []
        self.probed, self.probes = probed, []
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_route(self.method, f"{self.below}/{{path:.*}}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self.host.strip("[]"), 0, ssl_context=self.tls)
        await site.start()
        self.url = f"{'https' if self.tls else 'http'}://{self.host}:{site._server.sockets[0].getsockname()[1]}{self.below}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request):
        body = await request.json() if request.can_read_body else None
        script, came = (self.probed, self.probes) if of_a_probe(body) else (self.script, self.got)
        came.append((request.match_info["path"], body))
        self.headers.append(dict(request.headers))
        self.queries.append(dict(request.query))
        answer = script(request.match_info["path"], body, len(came))
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(answer)


def completion(text, **more):
    return {"choices": [{"text": text, "finish_reason": "stop", **more}]} | USAGE
