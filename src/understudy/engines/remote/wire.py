"""One request to one address over HTTP, and every way in which that can end: an answer, or one of the errors below.

AgainError       a fault of the server or the line, which may pass: 5xx, timeouts, broken connections and answers
ThrottledError   HTTP 429: too fast
DeniedError      the request itself is refused (another 4xx)
AccountError     key or account are refused: nothing can be asked any more
EngineError      anything else that will not pass
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from understudy.core.errors import AccountError, EngineError, UnpaidError
from understudy.engines.remote.http import BrokenError, Client, ConnectError, Response, TooLargeError, hidden
from understudy.engines.remote.sse import merged

LARGEST = 32 << 20
"""Bytes of an answer at most."""
_PASSING = frozenset({408, 409, 425})
NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""What OpenAI's and compatible servers call an empty account under a 429, in ``code`` or ``type`` of the error."""
_NO_KEY = frozenset({"invalid_api_key", "authentication_error", "invalid_authentication"})
"""What they call a key that they do not know."""
_ACCOUNT = {
    401: "is the key right (teacher.key_env)?",
    402: "the account has no credit left: top it up.",
    429: "the account has no credit left: top it up.",
}


class AgainError(Exception):
    """Something that may pass; ``wait`` is how long the server asks to wait, 0 where it does not say. ``paid``: a model may have
    been at work on it."""

    def __init__(self, what: str, wait: float = 0.0, *, paid: bool = False) -> None:
        super().__init__(what)
        self.wait, self.paid = wait, paid


class ThrottledError(AgainError):
    """Too many requests."""


class DeniedError(UnpaidError):
    """A request that is refused as it is; ``said`` is the server's answer, ``named`` what it calls that."""

    def __init__(self, what: str, said: str) -> None:
        super().__init__(what)
        self.said, self.named = said, _names(said)


class ForbiddenError(DeniedError):
    """HTTP 403: the key may not do this, or this prompt is not let in."""


class MovedError(DeniedError):
    """What was asked for is elsewhere, at ``to``."""

    def __init__(self, what: str, said: str, to: str) -> None:
        super().__init__(what, said)
        self.to = to


async def post(client: Client, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The JSON object that answers ``body``, with choices in it, and the text that it came as; a stream of chunks is put together.
    Raises as said above."""
    answer = await sent(client, "POST", url, _json(body))
    text = answer.body.decode("utf-8", "replace")
    try:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            text = json.dumps(merged(text), ensure_ascii=False)  # what came in pieces is whole
            found = json.loads(hidden(text.encode("utf-8", "surrogatepass"), client.secret))
            text = json.dumps(found, ensure_ascii=False)
        else:
            found = loads(answer.body, text)
    except (ValueError, RecursionError):
        found = None
    return with_choices(url, found, text, _asked_wait(answer.headers)), text


async def sent(  # noqa: PLR0917 - as `Client.request`
    client: Client,
    method: str,
    url: str,
    body: bytes = b"",
    kind: str = "application/json",
    into: Callable[[bytes], Any] | None = None,
) -> Response:
    """The answer to ``body``, a 200. Raises as said above; ``into`` as in `Client.request`."""
    try:
        answer = await client.request(method, url, body, kind, into)
    except TimeoutError:
        raise AgainError(f"no answer within {client.timeout:g} s", paid=True) from None
    except ConnectError as error:
        raise AgainError(f"no connection ({error}); is the server running?") from error
    except BrokenError as error:
        raise AgainError(f"the connection broke ({error})", paid=True) from error
    except TooLargeError:
        largest = f"{client.largest >> 20} MiB"
        raise EngineError(f"{url}: an answer of more than {largest}; is this a language model's address?") from None
    if answer.status != 200:
        text, to = answer.body.decode("utf-8", "replace"), answer.headers.get("location", "")
        refused = refusal(url, answer.status, text, _asked_wait(answer.headers))
        raise MovedError(str(refused), text, to) if 300 <= answer.status < 400 and to else refused
    return answer


def with_choices(url: str, found: Any, text: str, wait: float = 0.0) -> dict[str, Any]:
    """``found``, what came as ``text`` under a 200, where it is an object with choices. Raises as said above."""
    if isinstance(found, dict) and "error" in found and not found.get("choices"):
        # Gateways send the errors of servers behind them under a 200.
        inside = found["error"]
        raise refusal(url, _status(inside.get("code") if isinstance(inside, dict) else None, _names(text)), text, wait)
    if not isinstance(found, dict) or not isinstance(found.get("choices"), list) or not found["choices"]:
        raise AgainError(f"not an answer of an OpenAI-compatible endpoint: {short(text)}", paid=True)
    return found


def _status(code: Any, names: set[str]) -> int:
    """What the status of an error under a 200 would have been."""
    if names & NO_CREDIT:
        return 429
    if names & _NO_KEY:
        return 401
    code = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    return code if type(code) is int and 400 <= code < 600 else 500


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half characters, which orjson does not spell
        return json.dumps(body).encode()


def loads(body: bytes, text: str) -> Any:
    """The JSON value that came, as ``body`` and as ``text``."""
    try:
        return orjson.loads(body)
    except ValueError:  # half characters, NaN, bytes that are no UTF-8: what can be read of it
        return json.loads(text)


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(text[:2000].split())
    return text if len(text) <= 300 else text[:297] + "..."


def refusal(url: str, status: int, text: str, wait: float = 0.0) -> Exception:
    """What an answer ``text`` that is not a 200 comes to: one of the errors above."""
    said = f"HTTP {status}: {short(text)}"
    if status == 403:
        return ForbiddenError(f"{url}: {said}", text)
    if status in (401, 402) or (status == 429 and NO_CREDIT & _names(text)):
        return AccountError(f"{url}: {said}; {_ACCOUNT[status]} What came is kept: run the same command again to go on")
    if status == 429:
        return ThrottledError(said, wait)
    if status in _PASSING or (status >= 500 and status != 501):
        return AgainError(said, wait)
    hint = "; is the url right, with /v1?" if status == 404 or status < 400 else ""  # elsewhere is another server: not followed
    return DeniedError(f"{url}: {said}{hint}", text)


def _names(text: str) -> set[str]:
    """What the error that a server sent calls itself."""
    try:
        error = json.loads(text)["error"]
        flagged = {"content_filter"} if (error.get("metadata") or {}).get("reasons") else set()  # OpenRouter's moderation
        return {str(error.get("code")), str(error.get("type"))} | flagged
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return set()


def _asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait: ``retry-after-ms``, or Retry-After in seconds or as a date (RFC 9110, 10.2.3), by the
    server's own clock where it shows it; 0 where it says nothing that can be read."""
    after = headers.get("retry-after", "")
    for value, unit in ((headers.get("retry-after-ms", ""), 1000.0), (after, 1.0)):
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    then = _date(after)
    return max(0.0, (then - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds()) if then else 0.0


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
