"""One request to one address over HTTP. It ends with an answer or with one of these errors:

RetryError       a fault of the server or the connection that may pass: 5xx, timeouts, broken connections and answers
ThrottledError   HTTP 429: too many requests; a 503 that says that the server is busy, or loads its model
DeniedError      the request itself is refused (another 4xx)
AccountError     the key or the account is refused, so no further request can succeed
EngineError      anything else that will not pass

The client is aiohttp's, which handles proxies, compression, TLS and HTTP itself.
"""

import asyncio
import codecs
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
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

from understudy.core.errors import RESUME_HINT, AccountError, EngineError, StudyError, UnpaidError
from understudy.core.values import object_in
from understudy.engines.remote.sse import merge_events

LARGEST = 32 << 20
"""Most bytes of an answer."""
SECRET = 12
"""Characters from which on a key is a secret. A shorter one is a word that may be in any text (local servers accept any key)."""
CONNECT = 20.0
"""Seconds that a connection may take, including TLS: a port that does not speak TLS may never answer."""
_MAX_ONE_PIECE = 1 << 20
"""Most bytes of a body that aiohttp sends in one piece; it warns about longer ones."""
_PASSING_STATUSES = frozenset({408, 409, 424, 425, 499})
NO_CREDIT = frozenset(
    "insufficient_quota billing_hard_limit_reached billing_not_active budget_exceeded Arrearage exceeded_current_quota_error "
    "1113".split()
)
"""Names of an empty account, in ``code`` or ``type``, of OpenAI and compatible servers (LiteLLM, DashScope, Moonshot, Zhipu)."""
_NO_CREDIT_WORDS = re.compile(
    r"(?i)balance is (too low|insufficient)|insufficient (balance|credits?|funds)\b|account is in good standing|"
    r"not enough balance|spend(ing)? (limit|cap)|credits are depleted|used all available credits|key limit exceeded \(|"
    r"API usage limits|overdue balance"
)
"""Other servers' words for it (Anthropic, DeepSeek, DashScope, SiliconFlow, Fireworks, Groq, xAI)."""
_PER_MINUTE = re.compile(r"(?i)allocated quota exceeded|(aliyun|alibabacloud|qwencloud)\.com")
"""Alibaba's words for a limit per minute, which it calls insufficient_quota; an empty account is Arrearage."""
_NO_KEY = frozenset({"invalid_api_key", "authentication_error", "invalid_authentication", "API_KEY_INVALID"})
"""Servers' names for an unknown key."""
_NO_KEY_WORDS = re.compile(r"api[ _]key (has )?expired|api[ _]key not valid", re.I)
_ACCOUNT_STATUSES = {400, 401, 403, 412, 429}
"""Further statuses with which a server may refuse an account or a key."""
_FILTERED_WORDS = re.compile(
    "Content violates usage guidelines|ContentPolicyViolation|content management policy|SensitiveContentDetected|TextRiskDetection"
)
"""Other servers' words for a prompt that a content filter refuses (xAI, LiteLLM, Azure behind OpenRouter, Volcengine)."""
_BUSY = re.compile(r"(?i)overloaded|over capacity|at capacity|high demand|busy|queue is full|(?P<loading>loading|warming up)")
_MINIMAX = {"1002": 429, "1004": 401, "1008": 402, "1026": 400, "1027": 400, "1039": 429, "2013": 400, "2049": 401}
"""MiniMax's codes -> the HTTP statuses that mean the same (https://platform.minimax.io/docs/api-reference/errorcode.md)."""
_NO_PATH = re.compile(r"(?i)unexpected endpoint|(endpoint|path|route|page|url|resource) (is |was )?not found|no such (path|route)")
_ACCOUNT_HINTS = {401: "is the key right (teacher.key_env)?", 402: "the account has no credit left: top it up."}


class RetryError(Exception):
    """A fault that may pass. ``wait``: seconds that the server asks to wait, 0 if it does not say. ``paid``: a model may have
    worked on the request. ``sent``: the request counts as sent."""

    def __init__(self, message: str, wait: float = 0.0, *, paid: bool = False, sent: bool = True) -> None:
        super().__init__(message)
        self.wait, self.paid, self.sent = wait, paid, sent


class ThrottledError(RetryError):
    """Too many requests, or the server says that it is busy. This does not count as a try: the request is sent again until it is
    accepted."""


class LateError(RetryError):
    """No answer came in time: perhaps too many requests wait in the server's queue."""


class DeniedError(UnpaidError):
    """The request itself is refused. ``body`` is the server's answer, ``status`` its HTTP status (403: the key may not do this, or
    this prompt is refused), and ``names`` are the names that it gives the error."""

    def __init__(self, message: str, body: str, status: int) -> None:
        super().__init__(message)
        self.body, self.names, self.status = body, _read_names(body), status

    def __reduce__(self) -> tuple[Any, ...]:  # it comes from another process
        return DeniedError, (str(self), self.body, self.status)


Content = bytes | aiohttp.FormData | None


class Client:
    """Sends requests with ``headers`` and ``query`` through one aiohttp session, which must be made in the event loop that uses it.

    A request fails if the whole answer has not come ``timeout`` seconds after its beginning. If an answer repeats ``secret``, the
    secret is replaced (`hide`). `close` the client at the end.
    """

    def __init__(self, *, headers: Mapping[str, str], timeout: float, secret: str, query: Mapping[str, str]) -> None:
        self.timeout, self.secret, self._query = timeout, secret, dict(query) or None
        # When a redirection leads to another server, aiohttp removes only the header Authorization.
        self._follow_redirects = not any(secret and secret in value for name, value in headers.items() if name != "Authorization")
        self._proxy = cache(_find_proxy)
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT),  # `send` limits the rest
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self, method: str, url: str, content: Content = None, *, sink: Callable[[bytes], Any] | None = None, timeout: float = 0.0
    ) -> tuple[Mapping[str, str], bytes]:
        """Send ``content`` and return the headers and the body of the answer, a 200. Raises the errors above.

        ``sink`` is called with each part of the answer as it arrives, however large; redirections are followed only then, and
        another server does not get the key. ``timeout`` replaces the client's.
        """
        seconds, body, proxy = timeout or self.timeout, bytearray(), self._proxy(url)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method,
                    url,
                    data=io.BytesIO(content) if isinstance(content, bytes) and len(content) > _MAX_ONE_PIECE else content,
                    headers={"Content-Type": "application/json"} if isinstance(content, bytes) else None,
                    params=self._query,
                    allow_redirects=sink is not None and self._follow_redirects,
                    proxy=proxy,
                ) as answer,
            ):
                take = sink if sink is not None and answer.status // 100 == 2 else body.extend
                while not answer.content.at_eof():
                    take(await answer.content.readany())
                    if len(body) > LARGEST:
                        raise EngineError(f"{url}: the answer exceeds {LARGEST >> 20} MiB; is this a language model's address?")
        except aiohttp.ConnectionTimeoutError as error:
            raise RetryError(f"no connection within {CONNECT:g} s{_explain(error, proxy)}", sent=False) from error
        except TimeoutError:
            raise LateError(f"no answer within {seconds:g} s", paid=True) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise RetryError(f"no connection ({_describe(error)}){_explain(error, proxy)}", sent=False) from error
        except aiohttp.ClientError as error:
            raise RetryError(f"the connection broke ({_describe(error)})", paid=True) from error
        cleaned = hide(_unpack(bytes(body)), self.secret)
        if answer.status // 100 != 2:
            raise classify(url, answer.status, cleaned.decode("utf-8", "replace"), read_wait(answer.headers))
        return answer.headers, cleaned


class _Connector(aiohttp.TCPConnector):
    """Never sends a request on a connection that has received unrequested bytes: aiohttp would take them for the answer."""

    async def _get(self, key: ConnectionKey, traces: list[Any]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


def _find_proxy(address: str) -> str | None:
    """Find the proxy that the environment names for ``address`` (HTTPS_PROXY, NO_PROXY, ...). aiohttp's ``trust_env`` would look
    for it at every request, in a thread. Raises StudyError if it is not an HTTP proxy."""
    url = URL(address).origin()
    if proxy_bypass(url.host or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and URL(proxy).scheme not in ("http", "https"):
        problem = f"{url.scheme.upper()}_PROXY or ALL_PROXY names a proxy of the kind {URL(proxy).scheme!r}"
        advice = "put an HTTP proxy in front of it (docs/teachers.md says how) and name that one"
        raise StudyError(f"{url}: {problem}; only http:// and https:// work: {advice}, or set NO_PROXY={url.host} to go without")
    return proxy


def _describe(error: aiohttp.ClientError) -> str:
    """Describe ``error``; that of an answer would show its url, which may hold the key or the proxy's password."""
    name = type(error).__name__
    return f"{error.status}, {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error) or name


def _explain(error: Exception, proxy: str | None) -> str:
    """Say how the connection was tried, and what may help."""
    route = f", through the proxy {URL(proxy).host}:{URL(proxy).port} of the environment" if proxy else ""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{route}; if a private authority signed the server's certificate, SSL_CERT_FILE must name its certificates"
    if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ConnectionTimeoutError):
        return f"{route}; does the port speak TLS (https://), or is it http://?"
    return f"{route}; is the server running?"


def _unpack(body: bytes) -> bytes:
    """Unpack ``body`` if it is gzipped although no header says so, and remove a byte order mark."""
    if body.startswith(b"\x1f\x8b"):
        with suppress(zlib.error):
            body = zlib.decompressobj(wbits=31).decompress(body, LARGEST)
    return body.removeprefix(codecs.BOM_UTF8)


def hide(body: bytes, secret: str) -> bytes:
    """Replace ``secret`` in ``body``, if it is long enough to be one."""
    return body if len(secret) < SECRET else body.replace(secret.encode(), b"[the key]")


async def post(client: Client, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Send ``body`` and return the JSON object with choices that answers it, and its text; a stream of chunks is put together.
    Raises the errors above."""
    headers, content = await client.send("POST", url, _write_json(body))
    text, answer = content.decode("utf-8", "replace"), None
    with suppress(ValueError, RecursionError):
        typed = headers.get("Content-Type", "").startswith("text/event-stream") and not text.lstrip().startswith("{")
        if typed or content.startswith((b"data:", b"event:", b":")):
            merged = json.dumps(merge_events(text), ensure_ascii=False).encode("utf-8", "surrogatepass")
            text = hide(merged, client.secret).decode("utf-8", "surrogatepass")  # a key that came in pieces is whole here
        answer = parse(text.partition("\n\ndata:")[0])  # of a gateway that writes JSON and ends it as a stream
    return require_choices(url, answer, text, headers), text


def _write_json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half characters (lone surrogates), which orjson does not write
        return json.dumps(body).encode()


def require_choices(url: str, answer: Any, text: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return ``answer``, which came as ``text`` under a 200, if it is an object with choices. One without any is a reply that was
    cut off, if it says that tokens were written: Gemini sends it if a thought took all of them. Raises the errors above."""
    if isinstance(answer, dict) and answer.get("choices") and isinstance(answer["choices"], list):
        return answer
    if isinstance(answer, dict) and (error := answer.get("error") or answer.get("base_resp")):
        # Gateways send the errors of the servers behind them under a 200; so does MiniMax, in base_resp.
        status = _find_status(_read_code(error) if isinstance(error, dict) else None, str(error))
        raise classify(url, status, text, read_wait(headers), sent_status=200, paid=bool(answer.get("began")))
    usage = object_in(answer, "usage") if isinstance(answer, dict) and answer.get("choices") == [] else {}
    read, total = usage.get("prompt_tokens"), usage.get("total_tokens")
    if isinstance(read, int) and isinstance(total, int) and read < total:
        return {**answer, "choices": [{"finish_reason": "length"}]}
    if not text.strip():
        raise RetryError("the answer is empty; is the url right, with /v1?")
    reason = f"this is not an answer of an OpenAI-compatible endpoint: {shorten(text)}; is the url right, with /v1?"
    if text.lstrip().startswith("<") and not re.search(r"/v\d", url):  # a web page, and the next answer will be one, too
        raise DeniedError(f"{url}: {reason}", text, 200)
    raise RetryError(reason, paid=True)


def _read_code(error: Mapping[str, Any]) -> Any:
    return error.get("code", _MINIMAX.get(str(error.get("status_code"))))


def _find_status(code: Any, text: str) -> int:
    """Find the status that an error under a 200 should have had."""
    if _NO_PATH.search(text):
        return 404
    code = int(code) if isinstance(code, str) and re.fullmatch("[0-9]{3}", code) else code
    return code if type(code) is int and 400 <= code < 600 else 500


def shorten(text: str) -> str:
    """Return the beginning of a text, on one line."""
    text = " ".join(text[:2000].split())
    return text if len(text) <= 300 else text[:297] + "..."


def classify(url: str, status: int, text: str, wait: float = 0.0, sent_status: int = 0, *, paid: bool = False) -> Exception:
    """Return the error, one of those above, for an answer ``text`` with a ``status`` other than 200. ``sent_status``: the status
    that it came with, if that is another. ``paid``: it came after the beginning of a reply."""
    reason = f"HTTP {sent_status or status}: {shorten(text)}"
    if status in _ACCOUNT_STATUSES or sent_status:
        names = _read_names(text)
        words = " ".join(names) or text  # the rest of the text may repeat the prompt
        if _PER_MINUTE.search(words):
            names.discard("insufficient_quota")
        if NO_CREDIT & names or _NO_CREDIT_WORDS.search(words):
            status = 402
        elif _NO_KEY & names or _NO_KEY_WORDS.search(words):
            status = 401
    if status in _ACCOUNT_HINTS:
        return AccountError(f"{url}: {reason}; {_ACCOUNT_HINTS[status]} {RESUME_HINT}")
    busy = _BUSY.search(text) if status in (503, 529) else None  # another 503 may be about this request alone
    # OpenAI's "Request too large": this one needs more tokens than a minute allows, so waiting does not help.
    throttles = busy or status == 498 or (status == 429 and not re.search("request too large", text, re.I))
    if throttles and not paid:
        return ThrottledError(reason, wait or (2.0 if busy and busy["loading"] else 0.0), sent=False)
    if throttles or status in _PASSING_STATUSES or (status >= 500 and status != 501):
        # A gateway gave up; the model behind it may go on.
        return LateError(reason, wait, paid=True) if status in (408, 504, 524) else RetryError(reason, wait, paid=paid)
    hint = "; is the url right, with /v1?" if status == 404 or status < 400 else ""  # a redirection may lead to another server
    hint = "; is teacher.model right?" if status == 404 and re.search(r"\b(model|deployment)", text, re.I) else hint
    if status in (404, 405) and url.endswith("/completions") and not url.endswith("/chat/completions"):
        hint += '; perhaps it needs teacher.api = "chat"'
    return DeniedError(f"{url}: {reason}{hint}", text, status)


def parse(text: str | bytes) -> Any:
    """Parse ``text`` as a JSON value; None if it is none."""
    for read in (orjson.loads, json.loads):  # json is slower, and reads half characters and NaN, too
        with suppress(ValueError, RecursionError):
            return read(text)
    return None


def _read_names(text: str) -> set[str]:
    """Read the names that a server gives the error which it sent, and its message."""
    answer = parse(text)
    answer = answer[0] if isinstance(answer, list) and answer else answer  # Gemini's come in a list
    error = answer.get("error") or answer.get("base_resp") if isinstance(answer, dict) else None
    tables = [answer, error]
    if isinstance(error, dict):
        details = error.get("details")
        tables += [error.get("innererror"), error.get("metadata"), *(details if isinstance(details, list) else [])]
        if isinstance(metadata := error.get("metadata"), dict) and metadata.get("reasons"):
            tables.append({"code": "content_filter"})  # OpenRouter's moderation
    keys = ("code", "type", "reason", "message", "param", "detail", "raw", "status_code", "status_msg")
    values = [table.get(key) for table in tables if isinstance(table, dict) for key in keys]
    names = {str(value) for value in values if value} | ({error} if isinstance(error, str) else set())
    return names | {"content_filter"} if _FILTERED_WORDS.search(" ".join(names)) else names


def read_wait(headers: Mapping[str, str]) -> float:
    """Read the seconds that the server asks to wait: ``retry-after-ms``, or Retry-After in seconds or as a date (RFC 9110, 10.2.3),
    by the server's own clock if it shows it; 0 if it says nothing that can be read."""
    retry_after = headers.get("Retry-After", "")
    for value, unit in ((headers.get("Retry-After-Ms", ""), 1000.0), (retry_after, 1.0)):
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    date = _read_date(retry_after)
    now = _read_date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (date - now).total_seconds()) if date else 0.0


def _read_date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        date = parsedate_to_datetime(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
