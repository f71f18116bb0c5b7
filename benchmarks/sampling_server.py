"""An OpenAI-compatible chat server on loopback for `sampling.py`: as fast as it can be, each answer 50 ms after its request.

    python benchmarks/sampling_server.py PORT CORE                       # serves
    python benchmarks/sampling_server.py --drive URL CONCURRENCY SECONDS CORE  # what it sustains: requests made beforehand, no JSON

A reply of about 100 tokens (400 characters) begins with the hash of the prompt. ``model = "tail"``: one prompt in 50, chosen by
that hash, takes 3 s. GET /stats: what came since the last time, and how long after its request each answer really left.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import deque
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any

import uvloop

LATENCY, SLOW, ONE_IN = 0.050, 3.0, 50
_SAID = (
    " First we read what is asked and write down what is known, one fact a line. Then we combine two facts at a time and say what "
    "follows from them. After that we look at the numbers again, since one of them is a rate and another one is a count. The rate "
    "times the time gives the distance, from which we take what was gone before. That leaves forty-two. So the answer is: 42"
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_REFUSED = b'HTTP/1.1 400 Bad Request\r\ncontent-length: 35\r\n\r\n{"error":{"message":"no messages"}}'


def slow(digest: str) -> bool:
    """Whether the prompt of this hash is one of the slow ones."""
    return int(digest[:8], 16) % ONE_IN == 0


def answer(digest: str) -> bytes:
    """The whole answer, as such servers send it."""
    body: dict[str, Any] = {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "loopback",
        "system_fingerprint": "fp_0",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": digest + _SAID}, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 100, "total_tokens": 400},
    }
    return json.dumps(body).encode()


class Served:
    """What all connections share: the answers that are due, soonest first, and the figures."""

    def __init__(self) -> None:
        self.due: deque[tuple[float, float, asyncio.Transport, bytes]] = deque()  # one latency: they are due in order
        self.late: list[tuple[float, float, int, asyncio.Transport, bytes]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.comes = 0.0
        before, after = answer("0" * 16).split(b"0" * 16)[0], answer("0" * 16).split(b"0" * 16)[1:]
        self.parts = (before, *after)
        self.length = len(answer("0" * 16))
        self.clear()

    def clear(self) -> None:
        self.calls = self.flying = self.most = 0
        self.first = self.last = 0.0
        self.prompts: set[str] = set()
        self.took: list[float] = []

    def ask(self, transport: asyncio.Transport, body: bytes) -> None:
        now = time.monotonic()
        asked = json.loads(body)
        if not asked["messages"]:  # curator looks for rate limits so
            transport.write(_REFUSED)
            return
        said = asked["messages"][-1]["content"]
        if not isinstance(said, str):
            said = "".join(part["text"] for part in said)
        digest = blake2b(said.encode(), digest_size=8).hexdigest()
        self.calls += 1
        self.first = self.first or now
        self.flying += 1
        self.most = max(self.most, self.flying)
        self.prompts.add(digest)
        reply = _HEAD % (self.length, digest.encode().join(self.parts))
        if asked["model"] == "tail" and slow(digest):
            heappush(self.late, (now + SLOW, now, self.calls, transport, reply))
        else:
            self.due.append((now + LATENCY, now, transport, reply))
        if self.timer is None or self.comes > now + LATENCY + 0.002:  # it waits for a slow one
            self.tick()

    def tick(self) -> None:
        """Send what is due, and come again when the next is: in whole milliseconds (that is what libuv has), not before."""
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, came, transport, reply = self.due.popleft()
            self.send(came, now, transport, reply)
        while self.late and self.late[0][0] <= now:
            _, came, _, transport, reply = heappop(self.late)
            self.send(came, now, transport, reply)
        waits = [queue[0][0] for queue in (self.due, self.late) if queue]
        if self.timer is not None:
            self.timer.cancel()
        self.timer, self.comes = None, min(waits, default=0.0)
        if waits:
            self.timer = asyncio.get_running_loop().call_later(max(0.001, self.comes - now + 0.0004), self.tick)

    def send(self, came: float, now: float, transport: asyncio.Transport, reply: bytes) -> None:
        self.flying -= 1
        self.last = now
        self.took.append(now - came)
        if not transport.is_closing():
            transport.write(reply)

    def stats(self) -> bytes:
        took = sorted(t for t in self.took if t < SLOW)
        found = {
            "calls": self.calls,
            "prompts": len(self.prompts),
            "most": self.most,
            "first": self.first,
            "last": self.last,
            "took": [took[0], took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]] if took else [],
            "slow": len(self.took) - len(took),
            "cpu": time.process_time(),
        }
        self.clear()
        return json.dumps(found).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with content-length, kept alive; no more of the protocol than clients of an API use."""

    served: Served

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.got = b""
        self.needs = 0

    def data_received(self, data: bytes) -> None:
        self.got = self.got + data if self.got else data
        while len(self.got) >= self.needs:
            end = self.got.find(b"\r\n\r\n") + 4
            if end == 3:
                return
            head = self.got[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 : head.index(b"\r", at)]) if at >= 0 else 0
            if len(self.got) < end + size:
                self.needs = end + size
                return
            body, self.got, self.needs = self.got[end : end + size], self.got[end + size :], 0
            if head.startswith(b"post "):
                self.served.ask(self.transport, body)
            else:
                found = self.served.stats() if head.startswith(b"get /stats") else b'{"object":"list","data":[]}'
                self.transport.write(_HEAD % (len(found), found))
            if not self.got:
                return


async def serve(port: int) -> None:
    Connection.served = Served()
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


class Driver(asyncio.Protocol):
    """A connection that sends the next request when an answer is there; all of them made beforehand."""

    requests: list[bytes]
    at = 0
    answered = 0
    until = 0.0
    over: asyncio.Event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.left = 0
        self.next()

    def next(self) -> None:
        Driver.at += 1
        self.transport.write(self.requests[Driver.at % len(self.requests)])

    def data_received(self, data: bytes) -> None:
        if not self.left:
            head, _, _ = data.partition(b"\r\n\r\n")
            self.left = len(head) + 4 + int(head.rpartition(b": ")[2])
        self.left -= len(data)
        if self.left == 0:
            if time.monotonic() > self.until:
                self.over.set()
                return
            Driver.answered += 1
            self.next()


async def drive(url: str, concurrency: int, seconds: float) -> None:
    host, port = url.split("/")[2].split(":")
    Driver.requests = []
    for i in range(4 * concurrency):
        said = f"{i} " + "as it would be asked, so many words " * 34
        body = json.dumps({"model": "loopback", "messages": [{"role": "user", "content": said}], "max_tokens": 256}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        Driver.requests.append(head + body)
    Driver.over, began = asyncio.Event(), time.monotonic()
    Driver.until = began + seconds
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.create_connection(Driver, host, int(port)) for _ in range(concurrency)))
    await Driver.over.wait()
    print(json.dumps({"rate": Driver.answered / (time.monotonic() - began), "cpu": time.process_time()}))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, {int(sys.argv[-1])})
    if sys.argv[1] == "--drive":
        uvloop.run(drive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    else:
        uvloop.run(serve(int(sys.argv[1])))
