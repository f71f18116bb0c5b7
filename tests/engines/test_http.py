"""The client speaks HTTP/1.1 with whatever a server makes of it: bytes on real sockets, no server library in between."""

import asyncio
import shutil
import ssl
import subprocess
import time

import pytest

from understudy.engines.remote.http import BrokenError, Client, ConnectError, TooLargeError

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Said: A\r\n\r\nhi"


class Wire:
    """Serves on a socket: ``script(n, head)`` gives the bytes that answer the n-th request, None closes at once. ``got`` lists
    (connection, head, body) of each request."""

    def __init__(self, script, tls=None):
        self.script, self.tls, self.got, self.connections = script, tls, [], 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1/x?y=1"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        me = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(next(line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")))
                self.got.append((me, head, await reader.readexactly(length)))
                said = self.script(len(self.got), head)
                if asyncio.iscoroutine(said):
                    said = await said
                if said is None:
                    return
                for part in said if isinstance(said, list) else [said]:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if b"close" in b"".join(said if isinstance(said, list) else [said]).split(b"\r\n\r\n")[0]:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


def ask(script, n=1, *, timeout=5.0, largest=1 << 20, at_once=False, headers=None):
    """(answers or errors, what the server got)"""

    async def run():
        async with Wire(script) as wire, Client(headers=headers or {}, timeout=timeout, largest=largest) as client:
            asks = [client.request("POST", wire.url, f"body {i}".encode()) for i in range(n)]
            if at_once:
                return await asyncio.gather(*asks, return_exceptions=True), wire.got
            return [(await asyncio.gather(one, return_exceptions=True))[0] for one in asks], wire.got

    return asyncio.run(run())


def test_a_request_and_its_answer():
    (answer,), ((_, head, body),) = ask(lambda *_: WHOLE, headers={"Authorization": "Bearer k"})
    assert (answer.status, answer.headers["x-said"], answer.body) == (200, "A", b"hi")
    lines = head.split("\r\n")
    assert lines[0] == "POST /v1/x?y=1 HTTP/1.1"
    assert {"Authorization: Bearer k", "Content-Type: application/json", "Content-Length: 6"} <= set(lines)
    assert body == b"body 0"


def test_requests_one_after_another_use_one_connection_and_those_at_once_use_several():
    assert {connection for connection, *_ in ask(lambda *_: WHOLE, 5)[1]} == {1}

    async def slowly():
        await asyncio.sleep(0.05)
        return WHOLE

    assert {connection for connection, *_ in ask(lambda *_: slowly(), 5, at_once=True)[1]} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    "answer",
    [
        [bytes([byte]) for byte in WHOLE],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nX: close\r\n\r\nhi",
    ],
)
def test_an_answer_is_read_however_it_is_cut_and_wherever_it_ends(answer):
    answers, _ = ask(lambda *_: answer, 3)
    assert [(one.status, one.body) for one in answers] == [(200, b"hi")] * 3


def test_a_connection_that_the_server_closes_is_not_used_again():
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    assert [connection for connection, *_ in ask(lambda *_: closing, 3)[1]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: close\r\n\r\nhi", "in the middle"),
        (b"SSH-2.0-OpenSSH_9.6\r\n close", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", "not HTTP"),
    ],
)
def test_what_is_no_whole_answer_is_said_and_the_next_one_is_right(answer, says):
    answers, _ = ask(lambda n, _: answer if n == 1 else WHOLE, 2)
    assert isinstance(answers[0], BrokenError)
    assert says in str(answers[0])
    assert answers[1].body == b"hi"


def test_what_comes_unasked_never_answers_the_next_request():
    async def run(*said):
        async with Wire(lambda n, _: list(said) if n == 1 else WHOLE) as wire:
            async with Client(headers={}, timeout=5, largest=100) as client:
                first = await client.request("POST", wire.url, b"1")
                await asyncio.sleep(0.05)
                return first, await client.request("POST", wire.url, b"2"), wire.got

    stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
    for said in ([WHOLE, stale], [WHOLE + stale], [WHOLE + stale[:20], stale[20:]], [WHOLE + b"rubbish"]):
        first, second, got = asyncio.run(run(*said))
        assert (first.body, second.body) == (b"hi", b"hi")
        assert [connection for connection, *_ in got] == [1, 2]


def test_the_time_is_for_the_whole_answer_however_slowly_it_drips():
    async def drip():
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", *[b"x"] * 9999]

    began = time.monotonic()
    answers, _ = ask(lambda n, _: drip() if n == 1 else WHOLE, 2, timeout=0.3)
    assert isinstance(answers[0], TimeoutError)
    assert answers[1].body == b"hi"
    assert time.monotonic() - began < 3


def test_an_answer_larger_than_it_may_be_is_not_read_to_its_end():
    answers, _ = ask(lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200, largest=100)
    assert isinstance(answers[0], TooLargeError)


def test_nobody_is_there():
    async def run():
        async with Client(headers={}, timeout=5, largest=100) as client:
            await client.request("POST", "http://127.0.0.1:9/v1")

    with pytest.raises(ConnectError, match=r"refused|Connect call failed"):
        asyncio.run(run())


def test_a_request_that_nobody_waits_for_takes_its_connection_along():
    async def run():
        async def late():
            await asyncio.sleep(0.1)
            return WHOLE

        async with Wire(lambda n, _: late() if n == 1 else WHOLE) as wire, Client(headers={}, timeout=5, largest=100) as client:
            first = asyncio.ensure_future(client.request("POST", wire.url, b"1"))
            await asyncio.sleep(0.05)
            first.cancel()
            second = await client.request("POST", wire.url, b"2")
            await asyncio.sleep(0.1)
            return second, await client.request("POST", wire.url, b"3"), wire.got

    second, third, got = asyncio.run(run())
    assert (second.body, third.body) == (b"hi", b"hi")
    assert [connection for connection, *_ in got] == [1, 2, 2]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_is_looked_at(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    new += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(new, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def run():
        async with Wire(lambda *_: WHOLE, tls) as wire, Client(headers={}, timeout=5, largest=100) as client:
            return await client.request("POST", wire.url, b"1")

    with pytest.raises(ConnectError, match="certificate"):
        asyncio.run(run())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert asyncio.run(run()).body == b"hi"
