"""The client of `wire` against servers of every kind: bytes on real sockets, no server library in between."""

import asyncio
import gzip
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager, closing, suppress

import pytest

from understudy.core.errors import EngineError, StudyError
from understudy.engines.remote import wire
from understudy.engines.remote.wire import Client, DeniedError, LateError, RetryError

ZIPPED = gzip.compress(b"hi", mtime=0)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Said: A\r\n\r\nhi"


class Wire:
    """Serves on a socket: ``script(n, head)`` gives the bytes that answer the n-th request, None closes at once. ``got`` lists
    (connection, head, body) of each request."""

    def __init__(self, script, tls=None, host="127.0.0.1"):
        self.script, self.tls, self.host, self.got, self.connections = script, tls, host, [], 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, self.host, 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http{'s' if self.tls else ''}://{host}:{self.port}/v1/x?y=1"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        me = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.findall(r"(?im)^content-length: (\d+)", f"{head}\nContent-Length: 0")[0])
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


@asynccontextmanager
async def opened(*, headers=None, timeout=5.0, secret=""):
    client = Client(headers=headers or {}, timeout=timeout, secret=secret, query={})
    try:
        yield client
    finally:
        await client.close()


def ask(script, n=1, *, at_once=False, **options):
    """(answers or errors, what the server got)"""

    async def run():
        async with Wire(script) as server, opened(**options) as client:
            asks = [client.send("POST", server.url, f"body {i}".encode()) for i in range(n)]
            if at_once:
                return await asyncio.gather(*asks, return_exceptions=True), server.got
            return [(await asyncio.gather(one, return_exceptions=True))[0] for one in asks], server.got

    return asyncio.run(run())


def test_a_request_and_its_answer():
    (((said, answer),), ((_, head, body),)) = ask(lambda *_: WHOLE, headers={"Authorization": "Bearer k"})
    assert (said["x-said"], answer) == ("A", b"hi")
    lines = head.split("\r\n")
    assert lines[0] == "POST /v1/x?y=1 HTTP/1.1"
    assert {"Authorization: Bearer k", "Content-Type: application/json", "Content-Length: 6"} <= set(lines)
    assert body == b"body 0"


def test_created_is_an_answer_too():
    """Azure's, to a file that is uploaded."""
    (((_, answer),), _) = ask(lambda *_: WHOLE.replace(b"200 OK", b"201 Created"))
    assert answer == b"hi"


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
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xef\xbb\xbfhi",
    ],
)
def test_an_answer_is_read_however_it_is_cut_and_wherever_it_ends(answer):
    answers, _ = ask(lambda *_: answer, 3)
    assert [body for _, body in answers] == [b"hi"] * 3


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: close\r\n\r\nhi",
        b"SSH-2.0-OpenSSH_9.6\r\n close",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_what_is_no_whole_answer_may_pass_and_the_next_one_is_right(answer):
    answers, _ = ask(lambda n, _: answer if n == 1 else WHOLE, 2)
    assert isinstance(answers[0], RetryError)
    assert answers[0].paid
    assert "the connection broke" in str(answers[0])
    assert answers[1][1] == b"hi"


def test_what_comes_unasked_never_answers_the_next_request():
    async def run(*said):
        async with Wire(lambda n, _: list(said) if n == 1 else WHOLE) as server, opened() as client:
            first = await client.send("POST", server.url, b"1")
            await asyncio.sleep(0.05)
            return first, await client.send("POST", server.url, b"2"), server.got

    stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
    for said in ([WHOLE, stale], [WHOLE + stale], [WHOLE + stale[:20], stale[20:]]):
        (_, first), (_, second), got = asyncio.run(run(*said))
        assert (first, second) == (b"hi", b"hi")
        assert [connection for connection, *_ in got] == [1, 2]


def test_the_time_is_for_the_whole_answer_however_slowly_it_drips():
    async def drip():
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", *[b"x"] * 9999]

    answers, _ = ask(lambda n, _: drip() if n == 1 else WHOLE, 2, timeout=0.3)
    assert isinstance(answers[0], RetryError)
    assert str(answers[0]) == "no answer within 0.3 s"
    assert answers[1][1] == b"hi"


def test_each_request_has_its_own_time_and_a_cancelled_one_stays_cancelled():
    async def run():
        async def silent():
            await asyncio.sleep(60)

        async with Wire(lambda *_: silent()) as server, opened() as client:
            tasks = [asyncio.create_task(client.send("POST", server.url, b"1", timeout=t)) for t in (60, 0.3, 0.1, 0.3)]
            done, _ = await asyncio.wait(tasks, timeout=0.2)
            assert done == {tasks[2]}
            tasks[1].cancel()
            await asyncio.wait(tasks, timeout=0.4)
            tasks[0].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(run())
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, asyncio.CancelledError, LateError, LateError]
    assert [str(answer) for answer in answers[2:]] == ["no answer within 0.1 s", "no answer within 0.3 s"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_larger_than_it_may_be_is_not_read_to_its_end(monkeypatch, packed):
    monkeypatch.setattr(wire, "LARGEST", 100)
    body = gzip.compress(b"x" * 10_000) if packed else b"x" * 200
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (b"Content-Encoding: gzip\r\n" if packed else b"", len(body))
    (answer,), _ = ask(lambda *_: head + body)
    assert isinstance(answer, EngineError)
    assert "the answer exceeds" in str(answer)


def test_nobody_is_there():
    async def run():
        async with opened() as client:
            await client.send("POST", "http://127.0.0.1:9/v1")

    with pytest.raises(RetryError, match=r"no connection .*; is the server running\?") as raised:
        asyncio.run(run())
    assert not raised.value.paid


def test_a_request_that_nobody_waits_for_takes_its_connection_along():
    async def run():
        async def late():
            await asyncio.sleep(0.1)
            return WHOLE

        async with Wire(lambda n, _: late() if n == 1 else WHOLE) as server, opened() as client:
            first = asyncio.ensure_future(client.send("POST", server.url, b"1"))
            await asyncio.sleep(0.05)
            first.cancel()
            second = await client.send("POST", server.url, b"2")
            await asyncio.sleep(0.1)
            return second, await client.send("POST", server.url, b"3"), server.got

    second, third, got = asyncio.run(run())
    assert (second[1], third[1]) == (b"hi", b"hi")
    assert [connection for connection, *_ in got] == [1, 2, 2]


def test_a_redirection_is_followed_for_files_only_and_another_server_does_not_see_the_key():
    async def run():
        async with Wire(lambda *_: WHOLE) as other:
            moved = f"HTTP/1.1 302 Found\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with Wire(lambda *_: moved) as server, opened(headers={"Authorization": "Bearer k"}) as client:
                with pytest.raises(DeniedError, match=r"HTTP 302.*is the url right"):
                    await client.send("POST", server.url, b"1")
                assert not other.got
                parts = []
                await client.send("GET", server.url, sink=parts.append)
                return b"".join(parts), server.got[-1][1], other.got[0][1]

    whole, shown, elsewhere = asyncio.run(run())
    assert whole == b"hi"
    assert "Authorization: Bearer k" in shown
    assert "Authorization" not in elsewhere


@pytest.mark.parametrize("bypassed", [False, True])
def test_the_proxy_of_the_environment_is_used(monkeypatch, bypassed):
    async def run():
        async with Wire(lambda *_: WHOLE) as proxy, Wire(lambda *_: WHOLE) as server:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1" if bypassed else "localhost")
            async with opened() as client:
                await client.send("POST", server.url, b"1")
            return [head.split()[1] for _, head, _ in proxy.got], [head.split()[1] for _, head, _ in server.got], server.url

    through, direct, url = asyncio.run(run())
    assert (through, direct) == (([], ["/v1/x?y=1"]) if bypassed else ([url], []))


SEND = """
import asyncio, sys
from understudy.engines.remote.wire import Client

async def run():
    client = Client(headers={}, timeout=5, secret="", query={})
    try:
        print((await client.send("POST", sys.argv[1], b"1"))[1])
    except Exception as error:
        print(error)
    await client.close()

asyncio.run(run())
"""


class ForwardProxy:
    """Opens tunnels (CONNECT) for whoever asks; ``got`` lists where to. ``refuses``: with this line."""

    def __init__(self, refuses=None):
        self.refuses, self.got = refuses, []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        method, where, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(maxsplit=2)
        self.got.append(f"{method} {where}")
        if self.refuses:
            writer.write(self.refuses)
            writer.close()
            return
        there = await asyncio.open_connection(*where.rsplit(":", 1))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pour(reader, there[1]), pour(there[0], writer))


async def pour(reader, writer):
    with suppress(ConnectionError):
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
    writer.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_is_looked_at_those_of_the_environment_are_known_and_tls_goes_through_a_proxy(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    new += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(new, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def send(**environment):
        async with Wire(lambda *_: WHOLE, tls) as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SEND, server.url, stdout=subprocess.PIPE, env={**os.environ, **environment}
            )
            return (await process.communicate())[0].decode()

    async def send_through(refuses=None):
        async with ForwardProxy(refuses) as proxy:
            where = f"127.0.0.1:{proxy.port}"
            said = await send(SSL_CERT_FILE=str(certificate), HTTPS_PROXY=f"http://ana:hunter2@{where}", NO_PROXY="")
            return said, proxy.got, where

    assert "SSL_CERT_FILE must name its certificates" in asyncio.run(send())
    assert asyncio.run(send(SSL_CERT_FILE=str(certificate))) == "b'hi'\n"
    said, (tunnel,), _ = asyncio.run(send_through())
    assert (said, tunnel.startswith("CONNECT 127.0.0.1:")) == ("b'hi'\n", True)
    said, _, where = asyncio.run(send_through(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    assert re.search(rf"no connection .*407.*through the proxy {where} of the environment", said), said
    assert "hunter2" not in said


def test_a_proxy_that_is_not_there_or_of_another_kind_is_named(monkeypatch):
    async def run():
        async with opened() as client:
            await client.send("POST", "http://api.example/v1", b"1")

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    with pytest.raises(RetryError, match=r"no connection .*through the proxy 127\.0\.0\.1:9 of the environment"):
        asyncio.run(run())
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(StudyError, match=r"a proxy of the kind 'socks5'; only http.*put an HTTP proxy in front of it.*NO_PROXY="):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (False, r"no connection within 0\.2 s; does the port speak TLS"),
        (True, r"no connection .*; does the port speak TLS \(https://\), or is it http://"),
    ],
)
def test_a_port_that_does_not_speak_tls_ends_soon(monkeypatch, answers, says):
    monkeypatch.setattr(wire, "CONNECT", 0.2)

    async def serve(reader, writer):
        if answers:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with closing(writer), suppress(ConnectionError):
            while await reader.read(1000):  # until the client leaves
                pass

    async def run():
        with closing(await asyncio.start_server(serve, "127.0.0.1", 0)) as server:
            async with opened(timeout=60) as client:
                try:
                    await client.send("POST", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", b"1")
                finally:
                    await asyncio.sleep(0.05)

    with pytest.raises(RetryError, match=says) as error:
        asyncio.run(run())
    assert (error.value.paid, error.value.sent) == (False, False)


def test_a_server_may_have_an_address_of_ipv6():
    async def run():
        async with Wire(lambda *_: WHOLE, host="::1") as server, opened() as client:
            return (await client.send("POST", server.url, b"1"))[1]

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    assert asyncio.run(run()) == b"hi"


def test_a_key_in_a_header_of_its_own_does_not_follow_a_redirection():
    async def run():
        async with Wire(lambda *_: WHOLE) as other:
            moved = f"HTTP/1.1 302 Found\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with Wire(lambda *_: moved) as server, opened(headers={"api-key": "k-secret"}, secret="k-secret") as client:
                with pytest.raises(DeniedError, match="HTTP 302"):
                    await client.send("GET", server.url, sink=[].append)
                return other.got

    assert asyncio.run(run()) == []
