"""A server on loopback that speaks the OpenAI batch protocol, and single requests too; it outlives whoever asks, and counts."""

import asyncio
import json
import random
import threading
from collections import Counter

from aiohttp import web
from loopback import completion, of_a_probe, plain


class BatchServer:
    """Answers each line as ``script(path, body, n)`` says: a body, or (status, body); n: how often this custom_id came.

    A batch moves on one state with each look: ``states``, then what ``fate(n, lines)`` says of the n-th batch: (how it ends, how
    many of its lines are answered). ``upset(method, path, n)``: None, a Response in place of the answer, "reset" before it is taken
    in, "lost" or "hangs" after. ``garble(lines)``: what becomes of the lines of results. ``bought``: how often each custom_id was
    answered under a 200; ``asked``: what was called, by method and first part of the path; ``paid``: tokens of what was answered.
    """

    def __init__(self, script=None, *, states=("validating", "in_progress", "finalizing"), fate=None, upset=None, garble=None):
        self.script, self.states = script or (lambda _p, body, _n: completion(f" said to {prompt_of(body)}")), states
        self.fate = fate or (lambda _n, lines: ("completed", len(lines)))
        self.upset, self.garble = upset or (lambda *_: None), garble or shuffled
        self.files, self.batches, self.looks = {}, {}, Counter()
        self.asked, self.came, self.bought, self.single = Counter(), Counter(), Counter(), Counter()
        self.paid = 0
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
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/v1/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request):
        parts = request.match_info["path"].split("/")
        what = f"{request.method} {parts[0]}{'/id' if len(parts) > 1 and parts[0] in ('files', 'batches') else ''}"
        self.asked[what] += 1
        fault = self.upset(request.method, what.split(" ")[1], self.asked[what])
        if isinstance(fault, web.StreamResponse):
            return fault
        if fault == "reset":
            request.transport.abort()
            return web.Response()
        match request.method, *parts:
            case "POST", "files":
                answer = await self._upload(request)
            case "POST", "batches":
                answer = self._create(await request.json())
            case "GET", "batches":
                answer = self._list(request.query)
            case "GET", "batches", batch:
                answer = self._look(batch)
            case "POST", "batches", batch, "cancel":
                self._end(self.batches[batch], "cancelled", 0)
                answer = self.batches[batch]
            case "GET", "files", file, "content":
                return web.Response(body=self.files[file], content_type="application/octet-stream")
            case _:
                body = await request.json()
                self.single[json.dumps(body, sort_keys=True)] += not of_a_probe(body)
                answer = (plain if of_a_probe(body) else self.script)("/".join(parts), body, 1)
        if fault == "hangs":
            await self._stop.wait()
        if fault in ("lost", "hangs"):
            request.transport.abort()
            return web.Response()
        if answer is None:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        return web.json_response(answer)

    async def _upload(self, request):
        fields = {}
        async for part in await request.multipart():
            fields[part.name] = await part.read()
        assert fields["purpose"] == b"batch"
        return {"id": self._kept(fields["file"]), "object": "file", "purpose": "batch", "bytes": len(fields["file"])}

    def _kept(self, content):
        name = f"file-{len(self.files)}"
        self.files[name] = bytes(content)
        return name

    def _create(self, body):
        assert body["completion_window"] == "24h"
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "status": "validating",
            "created_at": 2_000_000_000 + len(self.batches),
            "metadata": body.get("metadata"),
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
        }
        return self.batches[name]

    def _list(self, query):
        newest = list(self.batches.values())[::-1]
        names = [batch["id"] for batch in newest]
        begin = names.index(query["after"]) + 1 if "after" in query else 0
        page = newest[begin : begin + min(int(query["limit"]), 3)]
        return {"object": "list", "data": page, "has_more": begin + len(page) < len(newest)}

    def _look(self, name):
        batch = self.batches.get(name)
        if batch is None:
            return None
        if batch["status"] in (*self.states, "validating"):
            self.looks[name] += 1
            if self.looks[name] < len(self.states):
                batch["status"] = self.states[self.looks[name]]
            else:
                self._end(batch, *self.fate(int(name.split("_")[1]), self.lines(batch)))
        return batch

    def work(self):
        """Bring every batch to its end, whether anybody looks at it or not."""
        for name, batch in self.batches.items():
            while batch["status"] in (*self.states, "validating"):
                self._look(name)

    def lines(self, batch):
        """What was uploaded for it."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def _end(self, batch, how, answered):
        """``how``: a state of the protocol; "failed CODE" says why."""
        batch["status"], _, code = how.partition(" ")
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": code, "message": "because", "param": None, "line": 1}]}
            return
        lines = self.lines(batch)
        assert len({line["custom_id"] for line in lines}) == len(lines)
        good, bad = [], []
        for line in lines[:answered]:
            assert line["url"] == batch["endpoint"]
            assert line["method"] == "POST"
            key = line["custom_id"]
            self.came[key] += 1
            answer = self.script(line["url"].removeprefix("/v1/"), line["body"], self.came[key])
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            out = {"id": f"r-{key}", "custom_id": key, "response": {"status_code": status, "body": body}, "error": None}
            (good if status == 200 else bad).append(out)
            if status == 200:
                self.bought[key] += 1
                usage = body.get("usage") or {}
                self.paid += usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
        left = {"code": f"batch_{batch['status']}", "message": "This request could not be executed in time."}
        bad += [{"id": "r", "custom_id": line["custom_id"], "response": None, "error": left} for line in lines[answered:]]
        batch["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        for name, results in (("output_file_id", good), ("error_file_id", bad)):
            if results:
                batch[name] = self._kept(b"".join(self.garble([json.dumps(one).encode() + b"\n" for one in results])))


def prompt_of(body):
    return body.get("prompt") or body["messages"][-1]["content"]


def shuffled(lines):
    return random.Random(0).sample(lines, len(lines))
