"""An HTTP/1.1 client for many small requests to few servers: connections that stay open, one request on each at a time.

A general client spends more on each request than sampling may in all; docs/design.md has what was measured. This one follows
no redirection, keeps no cookies, asks for no compression, and knows no proxy. httptools reads what comes (llhttp, the parser of
Node.js).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import SplitResult, quote, urlsplit

import httptools

_LARGE = 1 << 20
"""Bytes of a body that are not copied to be sent in one go with its head."""
_AS_IT_IS = "/%:@!$&'()*+,;=?-._~"


class ConnectError(Exception):
    """No connection came about."""


class BrokenError(Exception):
    """The connection ended, or what came is no HTTP, before the answer was whole."""


class TooLargeError(Exception):
    """The answer is larger than it may be."""


SECRET = 12
"""Characters from which on a key is a secret, and no word that may be in any text."""


@dataclass(frozen=True)
class Response:
    """``headers``: by name in lower case; of one that comes several times, the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def hidden(body: bytes, secret: str) -> bytes:
    """``body`` with ``secret`` out of sight. Keys of no secrecy, which local servers are content with, are shorter than others."""
    if len(secret) < SECRET or secret.encode() not in body:
        return body
    return body.replace(secret.encode(), b"[the key]")


class Client:
    """Sends requests with ``headers`` and gives up after ``timeout`` seconds, from the beginning of a request to the end of its
    answer, which has ``largest`` bytes at most. Where an answer repeats ``secret``, it is not seen. Use it as an async context, or
    `close` it."""

    def __init__(self, *, headers: Mapping[str, str], timeout: float, largest: int, secret: str = "") -> None:
        self.timeout, self.largest, self.secret = timeout, largest, secret
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._places: dict[str, _Place] = {}
        self._tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        kind: str = "application/json",
        into: Callable[[bytes], Any] | None = None,
    ) -> Response:
        """The answer to ``body`` of the media type ``kind``; what comes under a 200 is given to ``into`` as it comes, however
        large, where that is given. Raises TimeoutError, ConnectError, BrokenError, TooLargeError."""
        place = self._places.get(url) or self._places.setdefault(url, _Place(url, self._headers))
        loop = asyncio.get_running_loop()
        until = loop.time() + self.timeout
        connection = place.take() or await self._connect(place)
        answer = connection.answer = loop.create_future()
        connection.into = into
        timer = loop.call_at(until, connection.fail, TimeoutError())
        head = place.head(method, kind, len(body))
        if len(body) < _LARGE:
            connection.transport.write(head + body)
        else:
            connection.transport.write(head)
            connection.transport.write(body)
        try:
            found: Response = await answer
        finally:
            timer.cancel()
            if connection.answer is answer:  # nobody waits for it any more
                connection.fail(BrokenError("given up"))
        body = hidden(found.body, self.secret)
        return found if body is found.body else replace(found, body=body)

    async def _connect(self, place: _Place) -> _Connection:
        at = place.parts
        tls = at.scheme == "https"
        if tls and self._tls is None:
            self._tls = ssl.create_default_context()
        connecting = asyncio.get_running_loop().create_connection(
            lambda: _Connection(place, self.largest),
            at.hostname or "",
            at.port or (443 if tls else 80),
            ssl=self._tls if tls else None,
        )
        try:
            _, connection = await asyncio.wait_for(connecting, self.timeout)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectError(error.strerror or str(error)) from error
        return connection

    async def close(self) -> None:
        for place in self._places.values():
            while place.free:
                place.free.pop().transport.close()
        await asyncio.sleep(0)  # they are closed by then

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Place:
    """Where requests go, the beginning of each of them, and the connections that wait for one."""

    def __init__(self, url: str, headers: str) -> None:
        self.parts: SplitResult = urlsplit(url)
        path = quote(self.parts.path or "/", safe=_AS_IT_IS) + (
            f"?{quote(query, safe=_AS_IT_IS)}" if (query := self.parts.query) else ""
        )
        host = (self.parts.hostname or "").encode("idna").decode()
        host = (f"[{host}]" if ":" in host else host) + (f":{self.parts.port}" if self.parts.port else "")
        self._path, self._headers = path.encode(), f" HTTP/1.1\r\nHost: {host}\r\n{headers}".encode("latin-1")
        self.free: list[_Connection] = []

    def take(self) -> _Connection | None:
        """A connection that waits; the one that was used last."""
        while self.free:
            connection = self.free.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def head(self, method: str, kind: str, length: int) -> bytes:
        said = f"Content-Type: {kind}\r\n" if length else ""
        return b"%b %b%b%bContent-Length: %d\r\n\r\n" % (method.encode(), self._path, self._headers, said.encode(), length)


class _Connection(asyncio.Protocol):
    """One request at a time: ``answer`` is waited for, None while none is."""

    transport: asyncio.Transport

    def __init__(self, place: _Place, largest: int) -> None:
        self.place, self.largest = place, largest
        self.answer: asyncio.Future[Response] | None = None
        self.into: Callable[[bytes], Any] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._to_the_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.answer is None:  # nothing was asked
            self.fail(BrokenError("it speaks unasked"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(BrokenError(f"not HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and self._to_the_end and error is None:
            self._end()
        self.fail(BrokenError(str(error) if error else "closed in the middle of an answer" if self._headers else "closed"))

    def fail(self, error: Exception) -> None:
        """Tell who waits, and never use this connection again."""
        if self in self.place.free:
            self.place.free.remove(self)
        answer, self.answer = self.answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self.transport.abort()

    def on_message_begin(self) -> None:
        self._headers, self._body, self._size = {}, [], 0
        if self.answer is None:  # nothing was asked, and it may go on in the answer to what will be
            self.fail(BrokenError("it speaks unasked"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        # Without either its end is the connection's (RFC 9112, 6.3).
        self._to_the_end = "content-length" not in self._headers and "transfer-encoding" not in self._headers

    def on_body(self, part: bytes) -> None:
        if self.into is not None and self._parser.get_status_code() == 200:
            self.into(part)
            return
        self._size += len(part)
        if self._size > self.largest:
            self.fail(TooLargeError())
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:  # before, there is more to come
            self._end()

    def _end(self) -> None:
        answer, self.answer = self.answer, None
        if answer is None:
            return
        if not answer.done():
            answer.set_result(Response(self._parser.get_status_code(), self._headers, b"".join(self._body)))
        if self._parser.should_keep_alive() and not self._to_the_end:
            self.place.free.append(self)
        else:
            self.transport.close()
