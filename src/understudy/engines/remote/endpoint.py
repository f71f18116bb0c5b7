"""An OpenAI-compatible endpoint (completions or chat) as an engine: one server, on this machine or elsewhere, or several with the
same model.

A 200 does not mean that the server honoured a field, so nothing is taken for granted: replies are cut at stop strings here too,
log-probabilities and token counts are None if the server sends none, and the whole answer is kept. An optional field that the
server refuses is left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yarl import URL

from understudy.core.asks import Answer, Message, Request, Usage, amend, prompt_bytes
from understudy.core.errors import RESUME_HINT, AccountError, EngineError, StudyError, UnpaidError
from understudy.core.processes import allow_files
from understudy.engines.remote.choices import gives_logprobs, make_refusal, read_choices, read_usage
from understudy.engines.remote.findings import Findings
from understudy.engines.remote.options import KEY, Endpoint
from understudy.engines.remote.pace import GONE, REST, Address, Pace, choose_address
from understudy.engines.remote.wire import Client, DeniedError, LateError, RetryError, ThrottledError, post

LONGEST_WAIT = 60.0
"""Most seconds between two tries, if the server does not ask for more."""
PATIENCE = 600.0
"""Seconds after which the run ends if an endpoint has only refused (HTTP 429) or asked to wait."""
TOLD = 10.0
"""Seconds after which a person is told so."""
_OPTIONAL_FIELDS = {
    "logprobs": r"((top_)?logprobs|log[ -]probabilities)",
    "seed": "seed",
    "stop": r"stop([ _]?(sequence|string|word)s?)?",
    "stream_options": "stream_options",
}
"""Fields that are optional if a server refuses them -> its names for them when it does. Without them there are no
log-probabilities, the server's own draw decides, and replies are cut at stop strings here."""

FILTERED = frozenset(
    {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "invalid_prompt"}
    | {"data_inspection_failed", "DataInspectionFailed", "Content Exists Risk", "SensitiveContentDetected", "1301", "1026", "1027"}
)
"""Servers' names for the error when a content filter refuses a prompt (HTTP 400; OpenAI, Azure, DashScope, DeepSeek, Volcengine,
Zhipu, MiniMax)."""
_KEY_HINT = "check that this key may use this model (teacher.key_env)"
_FIREWALL_HINT = "the answer is a web page, so perhaps a firewall or a proxy refuses and not the API"


class EndpointEngine:
    """Answers calls as ``options`` say. It is an `AsyncEngine`, used as an async context; ``wait``: seconds before the second try.

    With several addresses, a request goes to the one with most room that is not down. After a refused connection, ``timeout``
    seconds without the whole answer, a broken answer or a 5xx, the request is sent again, each time after twice the wait. A 429
    does not count as a try.

    Raises StudyError if the key's variable is not set. `replies` raises EngineError, which names address and answer, if this
    request cannot be answered; AccountError if none can; StudyError if the endpoint does not give what the study needs.
    """

    client: Client

    def __init__(self, options: Endpoint, *, wait: float = 1.0) -> None:
        urls = [_check_url(url) for url in ([options.url] if isinstance(options.url, str) else options.url)]
        self.options, self.wait, self.concurrency = options, wait, allow_files(options.concurrency)
        body = f" {json.dumps(options.body, sort_keys=True, ensure_ascii=False)}" if options.body else ""
        self.model = f" {options.api} {options.model}{body}"
        """The end of its identity if the study names none."""
        self.identity = f"{options.identity}{body}" if options.identity else f"endpoint {urls[0]}{self.model}"
        self.addresses = [Address(url, Pace(options.requests_per_minute, options.tokens_per_minute)) for url in urls]
        self.chat = options.api == "chat"
        self.path = "chat/completions" if self.chat else "completions"
        """The path of its API below an address."""
        self.renames: dict[str, str] = {}
        """Fields that the server refuses -> the name to send instead, "" to leave the field out."""
        self.findings = Findings()
        self.report: Callable[[str], None] = lambda _: None
        """Gets a line when something takes long."""
        self._key = _read_key(options.key_env)
        self._stopped: AccountError | UnpaidError | None = None
        self._waiting: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> EndpointEngine:
        headers, query = dict(self.options.headers), dict(self.options.query)
        if self._key and not any(KEY in value for value in (*headers.values(), *query.values())):
            headers["Authorization"] = f"Bearer {KEY}"
        headers = ({} if "user-agent" in map(str.lower, headers) else {"User-Agent": "understudy"}) | headers
        headers, query = ({name: value.replace(KEY, self._key) for name, value in table.items()} for table in (headers, query))
        self.client = Client(headers=headers, timeout=self.options.timeout, secret=self._key, query=query)
        self._stopped = None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    @property
    def n(self) -> int:
        """Replies that one request may ask for: as many as the options say, until an address gives only one."""
        return 1 if False in [address.takes_n for address in self.addresses] else self.options.n

    async def replies(self, requests: Sequence[Request]) -> Answer:
        """Answer requests that differ only in their path, in one answer; only the first if the endpoint gives one choice."""
        history = _History(min(self.n, len(requests)))
        return await self._count_tries(self._answer(requests, history), history)

    async def _count_tries(self, answering: Awaitable[Answer], history: _History) -> Answer:
        """Await an answer. Its usage, or that of the error that it ends with, is that of all tries."""
        try:
            answer = await answering
        except (AccountError, EngineError) as error:
            if isinstance(error, AccountError):
                self._stopped = self._stopped or error
            error.usage = history.sum_usage(error.usage or Usage(0, 0, 0))
            raise
        return replace(answer, usage=history.sum_usage(answer.usage))

    def build_url(self, address: Address) -> str:
        """Return the url that requests go to: what a server does may differ between its APIs."""
        return f"{address.url}/{self.path}"

    def stop(self) -> None:
        """Send nothing more; requests that are not under way end with UnpaidError."""
        self._stopped = self._stopped or UnpaidError("it was not sent: the run had ended")
        for task in self._waiting:
            task.cancel()

    async def _answer(self, requests: Sequence[Request], history: _History) -> Answer:
        body = self.build_body(requests[0])
        # Four bytes a token is the usual estimate for English text; the answer's usage replaces it.
        prompt_tokens = prompt_bytes(requests[0].ask.prompt) // 4
        pause = 0.0
        while True:
            address, expected, number = await self._enter(prompt_tokens, body["max_tokens"], history, pause)
            cost, pause = expected, 0.0
            try:
                if self._stopped is not None:
                    raise type(self._stopped)(str(self._stopped))
                answer = await self._ask(address, body, requests[: history.n], history)
            except RetryError as error:
                pause = self._decide_wait(error, address, number, history)
            except DeniedError as error:
                if error.names & FILTERED:
                    return Answer((make_refusal(error.body),) * history.n, Usage(0, 0, 0))
                if error.status == 403 and (address.note_fault() >= GONE or not address.has_answered):
                    is_page = error.body.lstrip().startswith("<")
                    raise AccountError(f"{error}; {_FIREWALL_HINT if is_page else _KEY_HINT}. {RESUME_HINT}") from error
                if history.n == 1 and error.status in (404, 405) and len(self.addresses) > 1 and not address.has_answered:
                    reason = str(error).removeprefix(f"{self.build_url(address)}: ")  # it may serve another model than the others
                    pause = self._decide_wait(RetryError(reason), address, number, history)
                    continue
                if history.n == 1:
                    raise
                if address.takes_n is None and re.search(r"(?<!\\)\bn\b", error.body):
                    address.takes_n = False
                history.n, history.address = 1, None
            else:
                if len(requests) > 1 and address.takes_n is None:
                    address.takes_n = len(answer.replies) > 1
                cost = (answer.usage.read or 0) + (answer.usage.written or 0) or expected
                address.note_answer()
                return answer
            finally:
                address.pace.leave(expected, cost)

    async def _enter(self, prompt_tokens: int, max_tokens: int, history: _History, pause: float) -> tuple[Address, int, int]:
        """Wait until a request may go, first for ``pause`` seconds. Returns its address, the tokens that it may take, and its
        number there. A caller that is cancelled here has sent nothing (more)."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            if pause or history.address:
                await asyncio.sleep(pause)
            address = history.address = choose_address(self.addresses, avoid=history.address)
            expected = prompt_tokens + history.n * max_tokens
            return address, expected, await address.pace.enter(expected, is_retry=history.tries + history.throttled > 0)
        except asyncio.CancelledError:
            raise UnpaidError("it was not sent: the run had ended") from None
        finally:
            self._waiting.discard(task)

    async def ask_once(self, address: Address, request: Request, more: dict[str, Any]) -> Answer:
        """Try once at ``address``, with the fields ``more`` added. Of several choices the first is read, and all are in ``raw``.
        Raises the errors of `engines.remote.wire`; those of `core.errors` have their usage."""
        history = _History(1)
        answer = await self._count_tries(self._ask(address, self.build_body(request) | more, [request], history), history)
        address.has_answered = True
        return answer

    def _decide_wait(self, error: RetryError, address: Address, number: int, history: _History) -> float:
        """Return the seconds until request ``number`` may be sent again; raises the error that ends it if it may not."""
        url = self.build_url(address)
        if isinstance(error, ThrottledError):
            refusing = address.note_refusal(error.wait)
            if refusing > PATIENCE and all(a.refusing_since < math.inf for a in self.addresses):
                late = f"asks to wait {error.wait:,.0f} s" if error.wait > PATIENCE else f"refused for {PATIENCE / 60:g} minutes"
                reason = f"{url}: {error}; it {late}. {RESUME_HINT};"
                raise AccountError(f"{reason} teacher.requests_per_minute, or a smaller teacher.concurrency, may help") from error
            # One that accepts nothing is left alone where others may answer meanwhile.
            rests = error.wait > PATIENCE or (len(self.addresses) > 1 and address.pace.limit == 1)
            address.pace.shrink(number, REST if rests else error.wait)
            if refusing > TOLD and not address.told:
                address.told = True
                self.report(f"{url}: {error}; waiting until it answers, {PATIENCE / 60:g} minutes at most")
            history.throttled += 1
            return 0.0 if error.wait else self.compute_backoff(history.throttled - 1)
        address.note_fault()
        if isinstance(error, LateError):
            address.pace.shrink(number, 0.0)
        history.lost += error.paid
        history.tries += 1
        if "one completion choice" in str(error):  # older llama.cpp answers n with a 500
            address.takes_n, history.n = False, 1
        if history.tries > self.options.retries:
            kind = EngineError if history.lost else UnpaidError
            tries = "1 try" if history.tries == 1 else f"{history.tries} tries"
            if not error.sent and all(a.faults >= GONE for a in self.addresses):
                raise AccountError(f"{url}: {error}, {address.faults:,} times in a row. {RESUME_HINT}") from error
            raise kind(f"{url}: {error} ({tries})") from error
        # If there are other addresses, ask them first, at once.
        return min(error.wait, PATIENCE) or self.compute_backoff(history.tries - 1) if history.tries >= len(self.addresses) else 0.0

    def compute_backoff(self, tries: int) -> float:
        """Return the seconds to wait after so many tries."""
        # Jitter decides only when, so it is drawn without a seed on purpose.
        return min(LONGEST_WAIT, self.wait * 2.0 ** min(tries, 30) * random.uniform(0.75, 1.25))

    async def _ask(self, address: Address, body: dict[str, Any], requests: Sequence[Request], history: _History) -> Answer:
        """Send one request, and again without optional fields that were denied; ``history`` counts the sendings. The answer has a
        reply for each choice that can be read, at least one."""
        url, added = self.build_url(address), dict[str, str]()
        while True:
            began, applied = time.monotonic(), self.renames | added
            history.sent += 1
            try:
                answer, raw = await post(self.client, url, fit_body(body, len(requests), applied))
                break
            except RetryError as error:
                history.sent -= not error.sent
                raise
            except EngineError as error:
                if not isinstance(error, DeniedError):  # an answer came, and was paid for
                    history.lost += 1
                    raise
                new = self.find_refused(error, body, added)
                if not new and applied == self.renames | added:  # else another request has found out what to leave out
                    raise
                added |= new
        self.renames |= added
        latency = round(time.monotonic() - began, 4)
        read = self.read_answer(url, answer, raw, requests)
        return replace(read, replies=tuple(amend(reply, latency=latency) for reply in read.replies))

    def read_answer(self, url: str, answer: Mapping[str, Any], raw: str, requests: Sequence[Request]) -> Answer:
        """Read the replies in ``answer``, which has choices and came as ``raw``. Raises EngineError if there is none, StudyError if
        required log-probabilities are missing."""
        try:
            replies = read_choices(answer, raw, requests[0].ask.stop, chat=self.chat, n=len(requests))
        except EngineError as error:
            raise EngineError(f"{url}: {error}", read_usage(answer)) from None
        self.findings.note(replies, requests[0].ask.prompt)
        if self.options.logprobs and replies[0].finish != "refused" and not gives_logprobs(answer):
            raise StudyError(f"teacher.logprobs = true: {url} gives no log-probabilities; leave it out, or use a server that does")
        return Answer(tuple(replies), read_usage(answer))

    def find_refused(self, error: DeniedError, body: Mapping[str, Any], added: Mapping[str, str]) -> dict[str, str]:
        """Find the fields to leave out of a request that was denied for them, or to rename (as `without`); {} if there are none."""
        changed = self.renames | dict(added)
        if error.names & FILTERED:
            return {}
        if "max_completion_tokens" in error.body and "max_tokens" not in changed:
            return {"max_tokens": "max_completion_tokens"}
        # Without them a server uses 1; any other value decides the reply.
        text = " ".join(error.names) or error.body  # the rest of the body may repeat the prompt or the reply
        patterns = _OPTIONAL_FIELDS | {name: name for name in ("temperature", "top_p") if body[name] == 1.0}
        for name, pattern in patterns.items():
            if name in body and name not in changed and re.search(rf"\b{pattern}\b", text, re.I):
                if name == "logprobs" and self.options.logprobs:
                    raise StudyError(f"teacher.logprobs = true: {error}; leave it out, or use a server that gives them")
                return {name: ""}
        return {}

    def build_body(self, request: Request) -> dict[str, Any]:
        """Make the body of the request, as JSON. Raises EngineError for what an endpoint cannot do."""
        ask = request.ask
        if request.decoding.beams > 1 or request.decoding.calculator:
            raise EngineError(f"{self.addresses[0].url}: an endpoint has neither beams nor a calculator: {request.decoding}")
        body: dict[str, Any] = {
            **self.options.body,
            "model": self.options.model,
            "max_tokens": ask.max_tokens,
            "temperature": request.decoding.temperature,
            "top_p": request.decoding.top_p,
            "seed": (request.path << 16) + ask.attempt,  # servers that honour it give each path a draw of its own
        }
        if self.options.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if ask.stop:
            body["stop"] = list(ask.stop)
        if not self.chat:
            if not isinstance(ask.prompt, str):
                raise EngineError(f"{self.addresses[0].url}: messages need api = 'chat'")
            return {"logprobs": 1} | body | {"prompt": ask.prompt}
        messages = (Message("user", ask.prompt),) if isinstance(ask.prompt, str) else ask.prompt
        return {"logprobs": True} | body | {"messages": [vars(message) for message in messages]}

    @property
    def changed(self) -> str:
        """The fields that are left out or renamed because the server refused them."""
        return ", ".join(f"{name} as {replacement}" if replacement else name for name, replacement in self.renames.items())


@dataclass
class _History:
    """What became of a request so far. It asks for ``n`` choices, and went last to ``address``. ``sent`` counts how often it was
    sent, without the times when it was ``throttled``; ``tries`` how often it failed; ``lost`` of them may have been paid for."""

    n: int
    address: Address | None = None
    sent: int = 0
    tries: int = 0
    lost: int = 0
    throttled: int = 0

    def sum_usage(self, last_usage: Usage) -> Usage:
        """Return the usage of all tries; ``last_usage`` has the tokens of the last one."""
        return Usage(self.sent, last_usage.read, last_usage.written, self.lost)


def _check_url(url: str) -> str:
    try:
        parsed = URL(url)
        is_valid = parsed.scheme in ("http", "https") and bool((parsed.host or "").encode("idna"))
    except ValueError:
        is_valid = False
    if not is_valid:
        raise StudyError(f"teacher.url = {url!r}: must look like http://localhost:8000/v1")
    if parsed.user or parsed.password or parsed.query_string or parsed.fragment:
        raise StudyError(
            "teacher.url: the address must hold no name, password or query; name the key's variable with key_env, and put a query "
            'into a table of its own, e.g. query = { api-version = "..." }'
        )
    base = re.sub(r"/(chat/)?completions/?$", "", url)
    if base != url:
        raise StudyError(f"teacher.url = {url!r}: end it before the API's own path: {base}; teacher.api chooses between them")
    certificates = os.environ.get("SSL_CERT_FILE")  # if the file is missing, TLS fails without saying why
    if parsed.scheme == "https" and certificates and not os.access(certificates, os.R_OK):
        raise StudyError(f"SSL_CERT_FILE = {certificates!r}: cannot be read, so no certificate can be checked; fix or unset it")
    return url.rstrip("/")


def _read_key(variable: str | None) -> str:
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise StudyError(f"teacher.key_env = {variable!r}: this environment variable is not set")
    if not (key.isascii() and key.isprintable()):
        raise StudyError(f"teacher.key_env = {variable!r}: the variable holds characters that no key has; perhaps a line break")
    return key


def fit_body(body: dict[str, Any], n: int, renames: Mapping[str, str]) -> dict[str, Any]:
    """Return ``body`` as it is sent: with ``n``, without the fields that the endpoint refuses, and others renamed. A temperature or
    top_p other than 1 decides the reply, so it is always sent."""
    body = body | {"n": n} if n > 1 else body
    kept = {name for name in ("temperature", "top_p") if body.get(name, 1.0) != 1.0}
    return {renames.get(name) or name: value for name, value in body.items() if name in kept or renames.get(name, name)}
