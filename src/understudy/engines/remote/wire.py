"""One request to one address over HTTP, and every way in which it can end: with an answer, or with one of these errors.

AgainError       a fault of the server or the line that may pass: 5xx, timeouts, broken connections and answers
ThrottledError   HTTP 429: too many requests
DeniedError      the request itself is refused (another 4xx)
AccountError     the key or the account is refused: nothing can be asked any more
EngineError      anything else that will not pass

The client is aiohttp's: proxies, compression, TLS and HTTP itself are its business.
"""

import asyncio
import io
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from yarl import URL

from understudy.core.errors import AccountError, EngineError, UnpaidError
from understudy.engines.remote.sse import merge_events

LARGEST = 32 << 20
"""Bytes of an answer, at most."""
SECRET = 12
"""Characters from which on a key is a secret; a shorter one is a word that may be in any text (local servers take any)."""
_COPIED = 1 << 20
"""Bytes of a body that aiohttp sends in one piece, at most; it warns about longer ones."""
_PASSING = frozenset({408, 409, 425})
NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""What OpenAI's and compatible servers call an empty account under a 429, in ``code`` or ``type`` of the error."""
_NO_KEY = frozenset({"invalid_api_key", "authentication_error", "invalid_authentication"})
"""What they call a key that they do not know."""
KEPT = "What came is kept: run the same command again to continue"
_ACCOUNT = {
    401: "is the key right (teacher.key_env)?",
    402: "the account has no credit left: top it up.",
    429: "the account has no credit left: top it up.",
}


class AgainError(Exception):
    """A fault that may pass. ``wait``: seconds that the server asks to wait, 0 where it does not say. ``paid``: a model may have
    worked on the request."""

    def __init__(self, what: str, wait: float = 0.0, *, paid: bool = False) -> None:
        super().__init__(what)
        self.wait, self.paid = wait, paid


class ThrottledError(AgainError):
    """Too many requests."""


class DeniedError(UnpaidError):
    """The request is refused as it is. ``body`` is the server's answer, ``names`` are the names that it gives the error."""

    def __init__(self, what: str, body: str) -> None:
        super().__init__(what)
        self.body, self.names = body, _read_names(body)


class ForbiddenError(DeniedError):
    """HTTP 403: the key may not do this, or this prompt is not let in."""


Content = bytes | aiohttp.FormData | None
Response = tuple[Mapping[str, str], bytes]
"""The headers of a 200, and its body."""


class Client:
    """Sends requests with ``headers`` through one aiohttp session, which must be made in the event loop that uses it.

    A request fails ``timeout`` seconds after its beginning when the whole answer has not come. Where an answer repeats ``secret``,
    it is replaced (`hide`). `close` it at the end.
    """

    def __init__(self, *, headers: Mapping[str, str], timeout: float, secret: str = "") -> None:
        self.timeout, self.secret = timeout, secret
        self._proxy, self._deadlines = cache(_find_proxy), _Deadlines()
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # `_Deadlines` keeps them
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self, method: str, url: str, content: Content = None, *, into: Callable[[bytes], Any] | None = None, timeout: float = 0.0
    ) -> Response:
        """The answer to ``content``, a 200. Raises the errors above.

        ``into`` is called with each part of the answer as it comes, of whatever size; then redirections are followed, and another
        server is not shown the key. ``timeout`` takes the place of the client's.
        """
        seconds, body = timeout or self.timeout, bytearray()
        task = self._deadlines.begin(seconds)
        try:
            async with self._session.request(
                method,
                url,
                data=io.BytesIO(content) if isinstance(content, bytes) and len(content) > _COPIED else content,
                headers=_JSON if isinstance(content, bytes) else None,
                allow_redirects=into is not None,
                proxy=self._proxy(URL(url).origin()),
            ) as answer:
                take = into if into is not None and answer.status == 200 else body.extend
                while not answer.content.at_eof():
                    take(await answer.content.readany())
                    if len(body) > LARGEST:
                        raise EngineError(f"{url}: the answer exceeds {LARGEST >> 20} MiB; is this a language model's address?")
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._deadlines.passed(task):
                raise
            raise AgainError(f"no answer within {seconds:g} s", paid=True) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise AgainError(f"no connection ({error}); is the server running?") from error
        except aiohttp.ClientError as error:
            raise AgainError(f"the connection broke ({error or type(error).__name__})", paid=True) from error
        finally:
            self._deadlines.end(task)
        whole = hide(bytes(body), self.secret)
        if answer.status != 200:
            raise classify(url, answer.status, whole.decode("utf-8", "replace"), read_wait(answer.headers))
        return answer.headers, whole


class _Deadlines:
    """Cancels the tasks that have not ended in time. One timer looks after all of them: aiohttp's own, a timer and several contexts
    for each request, take a thirtieth of the time of sampling."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> asyncio.Task[Any]:
        """The task that runs has so many ``seconds`` until `end`."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._due[task] = due = loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            self._look_at(loop, due)
        return task

    def passed(self, task: asyncio.Task[Any]) -> bool:
        """Whether ``task`` was cancelled since its time was over, and for no other reason."""
        return task in self._late and task.uncancel() == 0

    def end(self, task: asyncio.Task[Any]) -> None:
        del self._due[task]
        self._late.discard(task)

    def _look_at(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._look, loop) if due < math.inf else None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, coming = loop.time(), math.inf
        for task, due in self._due.items():
            if due > now:
                coming = min(coming, due)
            elif task not in self._late:
                self._late.add(task)
                task.cancel()
        self._look_at(loop, coming)


class _Connector(aiohttp.TCPConnector):
    """Never sends a request on a connection where bytes have come that nobody asked for: aiohttp would take them for the answer."""

    async def _get(self, key: ConnectionKey, traces: list[Any]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


_JSON = {"Content-Type": "application/json"}


def _find_proxy(url: URL) -> str | None:
    """The proxy that the environment names for ``url`` (HTTPS_PROXY, NO_PROXY, ...). aiohttp's ``trust_env`` would look for it at
    every request, in a thread."""
    return None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)


def hide(body: bytes, secret: str) -> bytes:
    """``body`` with ``secret`` replaced, if it is long enough to be one."""
    if len(secret) < SECRET or secret.encode() not in body:
        return body
    return body.replace(secret.encode(), b"[the key]")


async def post(client: Client, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The JSON object with choices that answers ``body``, and the text that it came as; a stream of chunks is put together. Raises
    the errors above."""
    headers, content = await client.send("POST", url, _write_json(body))
    text = content.decode("utf-8", "replace")
    try:
        if headers.get("Content-Type", "").startswith("text/event-stream"):
            whole = json.dumps(merge_events(text), ensure_ascii=False).encode("utf-8", "surrogatepass")
            content = hide(whole, client.secret)  # a key that came in pieces is whole here
            text = content.decode("utf-8", "surrogatepass")
        found = _read_json(content, text)
    except (ValueError, RecursionError):
        found = None
    return require_choices(url, found, text, headers), text


def _write_json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half characters, which orjson does not write
        return json.dumps(body).encode()


def _read_json(content: bytes, text: str) -> Any:
    try:
        return orjson.loads(content)
    except ValueError:  # half characters, NaN, bytes that are no UTF-8: what can be read of it
        return json.loads(text)


def require_choices(url: str, found: Any, text: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """``found``, which came as ``text`` under a 200, where it is an object with choices. Raises the errors above."""
    if isinstance(found, dict) and found.get("choices") and isinstance(found["choices"], list):
        return found
    if isinstance(found, dict) and "error" in found and not found.get("choices"):
        # Gateways send the errors of servers behind them under a 200.
        inside = found["error"]
        status = _find_status(inside.get("code") if isinstance(inside, dict) else None, _read_names(text))
        raise classify(url, status, text, read_wait(headers))
    raise AgainError(f"this is not an answer of an OpenAI-compatible endpoint: {shorten(text)}", paid=True)


def _find_status(code: Any, names: set[str]) -> int:
    """The status that an error under a 200 should have had."""
    if names & NO_CREDIT:
        return 429
    if names & _NO_KEY:
        return 401
    code = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    return code if type(code) is int and 400 <= code < 600 else 500


def shorten(text: str) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(text[:2000].split())
    return text if len(text) <= 300 else text[:297] + "..."


def classify(url: str, status: int, text: str, wait: float = 0.0) -> Exception:
    """The error that an answer ``text`` with a ``status`` other than 200 is: one of those above."""
    said = f"HTTP {status}: {shorten(text)}"
    if status == 403:
        return ForbiddenError(f"{url}: {said}", text)
    if status in (401, 402) or (status == 429 and NO_CREDIT & _read_names(text)):
        return AccountError(f"{url}: {said}; {_ACCOUNT[status]} {KEPT}")
    if status == 429:
        return ThrottledError(said, wait)
    if status in _PASSING or (status >= 500 and status != 501):
        return AgainError(said, wait)
    hint = "; is the url right, with /v1?" if status == 404 or status < 400 else ""  # a redirection may lead to another server
    return DeniedError(f"{url}: {said}{hint}", text)


def _read_names(text: str) -> set[str]:
    """The names that a server gives the error which it sent."""
    try:
        error = json.loads(text)["error"]
        flagged = {"content_filter"} if (error.get("metadata") or {}).get("reasons") else set()  # OpenRouter's moderation
        return {str(error.get("code")), str(error.get("type"))} | flagged
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return set()


def read_wait(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait: ``retry-after-ms``, or Retry-After in seconds or as a date (RFC 9110, 10.2.3), by the
    server's own clock where it shows it; 0 where it says nothing that can be read."""
    after = headers.get("Retry-After", "")
    for value, unit in ((headers.get("Retry-After-Ms", ""), 1000.0), (after, 1.0)):
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    then = _read_date(after)
    now = _read_date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds()) if then else 0.0


def _read_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
