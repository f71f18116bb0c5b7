"""An OpenAI-compatible endpoint (completions or chat) as an engine: a server on this machine or anybody's, or several with the
same model.

What servers do with a request differs (a 200 does not mean that a field was honoured), so nothing is taken for granted: stop
strings are cut here too, log-probabilities and token counts are None where they do not come, and the whole answer is kept. What
one refuses and can do without is left out from then on.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from understudy.core.asks import Answer, Call, Finish, Reply, Request, Usage, prompt_bytes
from understudy.core.errors import AccountError, EngineError, StudyError, UnpaidError
from understudy.engines.calculator import correct_value
from understudy.engines.remote.choices import gives_logprobs, read, refused, usage
from understudy.engines.remote.http import Client
from understudy.engines.remote.pace import Address, Pace, choose
from understudy.engines.remote.wire import LARGEST, AgainError, DeniedError, ForbiddenError, ThrottledError, post
from understudy.engines.stops import find_stop

LONGEST_WAIT = 60.0
"""Seconds between two tries at most, where the server does not ask for more."""
PATIENCE = 600.0
"""Seconds for which an endpoint may do nothing but refuse (HTTP 429), or ask to wait, until the run ends."""
_SPARE = ("logprobs", "seed", "stream_options")
"""Fields that can be left out where a server does not know them: then no log-probabilities come, and its own draw decides."""

FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""What a prompt is called that a content filter does not let in (HTTP 400)."""


class EndpointEngine:
    """Answers `Call` through ``url`` (with its ``/v1``) as ``model``; an `AsyncEngine`, used as an async context.

    ``url``: one address, or several that serve the same model, which ``identity`` then names: a request goes where there is most
    room, and elsewhere where one is down. ``api``: ``completions`` sends a raw prompt as it is; ``chat`` sends messages, and a raw
    prompt as one user message. ``key_env``: name of the environment variable that holds the key, which is never written anywhere.
    ``retries``: further tries after a refused connection, a timeout of ``timeout`` seconds for the whole answer, a broken answer or
    5xx, each after twice the wait of the one before; a 429 takes none. ``requests_per_minute``, ``tokens_per_minute``: of each
    address. ``stream``: answers come in chunks. ``logprobs``: an answer without log-probabilities is an error. ``identity``: names
    the model in the ledger; endpoint and model name by default. ``n``: choices of a request at most: draws from one prompt that is
    read, and paid for, once.

    With a calculator (completions only) a reply takes one request more for each wrong value in a mark; its ``tokens`` are those
    of all of them, what is left of ``max_tokens`` for the next is reckoned by the length of the text, ``logprobs`` are ().

    Raises StudyError where the key's variable is not set. `reply` raises EngineError, naming url and answer, where this request
    cannot be answered, AccountError where none can, StudyError where the endpoint does not give what the study needs.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        api: Literal["completions", "chat"] = "completions",
        key_env: str | None = None,
        timeout: float = 120.0,
        retries: int = 4,
        wait: float = 1.0,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        stream: bool = False,
        logprobs: bool = False,
        identity: str | None = None,
        n: int = 1,
    ) -> None:
        urls = [_address(one) for one in ([url] if isinstance(url, str) else url)]
        assert urls, "an endpoint has an address"
        if len(urls) > 1 and identity is None:
            raise StudyError(f"teacher.identity must be given where there are several addresses: {', '.join(urls)}")
        self.model, self.api, self.stream, self.logprobs = model, api, stream, logprobs
        self.timeout, self.retries, self.wait = timeout, retries, wait
        self.identity = identity or f"endpoint {urls[0]} {api} {model}"
        self.addresses = [Address(one, Pace(requests_per_minute, tokens_per_minute)) for one in urls]
        self.capabilities = frozenset({"stop"})
        self._n = n
        self._key = os.environ.get(key_env, "").strip() if key_env else ""
        if key_env and not self._key:
            raise StudyError(f"teacher.key_env = {key_env!r}: this environment variable is not set")
        if not (self._key.isascii() and self._key.isprintable()):
            raise StudyError(f"teacher.key_env = {key_env!r}: the variable holds characters that a key cannot have (a line break?)")
        self.headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        """What shows who asks."""
        self._client: Client | None = None
        self.without: dict[str, str] = {}
        self._stopped: AccountError | None = None

    async def __aenter__(self) -> EndpointEngine:
        self._client = Client(headers=self.headers, timeout=self.timeout, largest=LARGEST, secret=self._key)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    @property
    def client(self) -> Client:
        """What requests go through."""
        assert self._client is not None, "use the engine as an async context"
        return self._client

    @property
    def n(self) -> int:
        """Replies it is asked for at once: as many as it was made for, until an address gives one only."""
        return 1 if any(address.takes_n is False for address in self.addresses) else self._n

    async def reply(self, request: Request) -> Reply:
        """Answer one request, trying again where that can help."""
        return (await self.replies([request])).replies[0]

    async def replies(self, requests: Sequence[Request]) -> Answer:
        """Answer requests that differ in their path only, in one; the first one alone where the endpoint gives one choice."""
        return await (self._calculated(requests[0]) if requests[0].decoding.calculator else self._answer(requests))

    async def _calculated(self, request: Request) -> Answer:
        """Let the model write; where a marked value is wrong, cut there, write the right one and ask for what follows."""
        ask, text, where = request.ask, "", self.addresses[0].url
        if self.api != "completions" or not isinstance(ask, Call) or not isinstance(ask.prompt, str):
            raise EngineError(
                f"{where}: calculator: a chat cannot be gone on with in mid-reply; this needs raw prompts and api = 'completions'"
            )
        parts: list[Reply] = []
        took = Usage(0, 0, 0)
        left = ask.max_tokens
        while True:
            try:
                answer = await self._answer([replace(request, ask=replace(ask, prompt=ask.prompt + text, max_tokens=left))])
            except EngineError as error:
                error.usage = took + (error.usage or Usage())
                raise
            took += answer.usage
            part = answer.replies[0]
            parts.append(part)
            whole = correct_value(text + part.text, len(text))
            if whole is not None:
                if part.tokens is None:
                    raise EngineError(
                        f"{where}: calculator: the endpoint counts no tokens, so what is left of max_tokens is unknown", took
                    )
                left -= math.ceil(part.tokens * (len(whole) - len(text)) / len(part.text))
            text = text + part.text if whole is None else whole
            at = find_stop(text, ask.stop)
            if whole is None or at is not None or left < 1:
                break
        finish: Finish = "stop" if at is not None else part.finish if whole is None else "length"
        return Answer((_joined(parts, text[:at], finish),), took)

    async def _answer(self, requests: Sequence[Request]) -> Answer:
        path, body = self.body(requests[0])
        # Four bytes a token is the usual measure of English text; what it was is set right when the answer is there.
        prompt = prompt_bytes(requests[0].ask.prompt) // 4
        so_far = _SoFar(min(self.n, len(requests)))
        while True:
            address = so_far.address = choose(self.addresses, avoid=so_far.address)
            expected = prompt + so_far.n * body["max_tokens"]
            number = await address.pace.enter(expected, again=so_far.tries + so_far.throttled > 0)
            taken, pause = expected, 0.0
            try:
                if self._stopped is not None:
                    raise self._stopped
                sent = fitted(body, so_far.n, self.without | so_far.without)
                answer = await self._ask(f"{address.url}/{path}", sent, requests[: so_far.n])
            except AccountError as error:
                self._stopped = error
                raise
            except AgainError as error:
                pause = self._again(error, f"{address.url}/{path}", address, number, so_far)
            except DeniedError as error:
                if error.named & FILTERED:
                    return Answer((refused(error.said),) * so_far.n, so_far.took(Usage(1, 0, 0)))
                if isinstance(error, ForbiddenError) and not address.well:
                    self._stopped = _forbidden(error)
                    raise self._stopped from error
                self._denied(error, body, so_far)
            else:
                self.without |= so_far.without
                if len(requests) > 1 and address.takes_n is None:
                    address.takes_n = len(answer.replies) > 1
                taken = (answer.usage.read or 0) + (answer.usage.written or 0) or expected
                address.answered()
                return replace(answer, usage=so_far.took(answer.usage)) if so_far.tries else answer
            finally:
                address.pace.leave(expected, taken)
            await asyncio.sleep(pause)

    async def once(self, address: Address, request: Request, more: Mapping[str, Any]) -> Reply:
        """One try at ``address``, with the fields ``more`` besides; what it does not know and can be spared is left out. Of several
        choices the first is read, and all are in ``raw``. Raises what `engines.remote.wire` raises."""
        path, body = self.body(request)
        body |= more
        without: dict[str, str] = {}
        while True:
            try:
                answer = await self._ask(f"{address.url}/{path}", fitted(body, 1, self.without | without), [request])
            except DeniedError as error:
                spared = self.spared(error, body, without)
                if not spared:
                    raise
                without |= spared
            else:
                self.without |= without
                address.well = True
                return answer.replies[0]

    def _again(self, error: AgainError, url: str, address: Address, number: int, so_far: _SoFar) -> float:
        """Seconds until request ``number`` may be sent again; raises what ends it where it may not."""
        if isinstance(error, ThrottledError):
            if address.silent(error.wait) > PATIENCE:
                self._stopped = _shut(url, error)
                raise self._stopped from error
            address.pace.throttled(number, error.wait)
            so_far.throttled += 1
            return 0.0 if error.wait else self.back_off(so_far.throttled - 1)
        address.failed()
        so_far.lost += error.paid
        so_far.tries += 1
        if so_far.tries > self.retries:
            kind = EngineError if so_far.lost else UnpaidError
            raise kind(
                f"{url}: {error} ({so_far.tries} {'try' if so_far.tries == 1 else 'tries'})", so_far.took(Usage(0, 0, 0))
            ) from error
        # Where there are others they are asked first, at once.
        return min(error.wait, PATIENCE) or self.back_off(so_far.tries - 1) if so_far.tries >= len(self.addresses) else 0.0

    def _denied(self, error: DeniedError, body: Mapping[str, Any], so_far: _SoFar) -> None:
        """What to ask without from now on, or one choice of; raises ``error`` where there is nothing that may help."""
        so_far.address = None
        spared = self.spared(error, body, so_far.without)
        if not spared and so_far.n == 1:
            raise error
        so_far.without |= spared
        so_far.n = so_far.n if spared else 1

    def back_off(self, times: int) -> float:
        """Seconds to wait after so many tries."""
        # Jitter decides nothing but when: it is drawn without a seed on purpose.
        return min(LONGEST_WAIT, self.wait * 2.0 ** min(times, 30) * random.uniform(0.75, 1.25))

    async def _ask(self, url: str, body: Mapping[str, Any], requests: Sequence[Request]) -> Answer:
        """One request: a reply for each choice that can be read, at least one."""
        began = time.monotonic()
        answer, raw = await post(self.client, url, body)
        return self.taken(url, answer, raw, requests, round(time.monotonic() - began, 4))

    def taken(
        self, url: str, answer: Mapping[str, Any], raw: str, requests: Sequence[Request], latency: float | None = None
    ) -> Answer:
        """The replies in ``answer``, which has choices and came as ``raw``. Raises EngineError where there is none, StudyError
        where more is wanted."""
        assert isinstance(requests[0].ask, Call)
        try:
            replies = read(answer, raw, requests[0].ask.stop, chat=self.api == "chat", n=len(requests), latency=latency)
        except EngineError as error:
            raise EngineError(f"{url}: {error}") from None
        if self.logprobs and replies[0].finish != "refused" and not gives_logprobs(answer):
            raise StudyError(
                f"teacher.logprobs = true: {url} gives none; leave it out, or serve the model with something that does"
            )
        return Answer(tuple(replies), usage(answer))

    def spared(self, error: DeniedError, body: Mapping[str, Any], without: Mapping[str, str]) -> dict[str, str]:
        """What to leave out (or to call otherwise) of a request that was denied for it; {} where there is nothing."""
        known = {**self.without, **without}
        if "max_completion_tokens" in error.said and "max_tokens" not in known:
            return {"max_tokens": "max_completion_tokens"}
        spare = [*_SPARE, *(name for name in ("temperature", "top_p") if body[name] == 1.0)]  # 1 is what is meant without them
        for name in spare:
            if name in body and name not in known and re.search(rf"\b{name}\b", error.said):
                if name == "logprobs" and self.logprobs:
                    raise StudyError(f"teacher.logprobs = true: {error}; leave it out, or serve the model with something that does")
                return {name: ""}
        return {}

    def body(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The path below the address, and what is sent there. Raises EngineError for what cannot be asked of an endpoint."""
        ask = request.ask
        if not isinstance(ask, Call):
            raise EngineError(f"{self.addresses[0].url}: an endpoint does not score texts")
        if request.decoding.beams > 1:
            raise EngineError(f"{self.addresses[0].url}: beams = {request.decoding.beams}: an endpoint has no beam search")
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.max_tokens,
            "temperature": request.decoding.temperature,
            "top_p": request.decoding.top_p,
            "seed": (request.path << 16) + request.attempt,  # servers that honour it give each path a draw of its own
        }
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if ask.stop:
            body["stop"] = list(ask.stop)
        if self.api == "completions":
            if not isinstance(ask.prompt, str):
                raise EngineError(f"{self.addresses[0].url}: messages need api = 'chat'")
            return "completions", body | {"prompt": ask.prompt, "logprobs": 1}
        turns = [{"role": "user", "content": ask.prompt}]
        if not isinstance(ask.prompt, str):
            turns = [{"role": m.role, "content": m.content} for m in ask.prompt]
        return "chat/completions", body | {"messages": turns, "logprobs": True}


@dataclass
class _SoFar:
    """What became of a request so far: the choices that it asks for, the address that it went to last, the fields that it leaves
    out, how often it failed, of that how often it may have been paid for, and how often it was too fast."""

    n: int
    address: Address | None = None
    without: dict[str, str] = field(default_factory=dict)
    tries: int = 0
    lost: int = 0
    throttled: int = 0

    def took(self, last: Usage) -> Usage:
        """What all of it took, with ``last``."""
        return Usage(self.tries, 0, 0, self.lost) + last


def _joined(parts: Sequence[Reply], text: str, finish: Finish) -> Reply:
    """One reply for what took several requests: all that was paid for is counted, also what was cut off."""
    if len(parts) == 1:
        return replace(parts[0], text=text, finish=finish)
    read, said = [p.prompt_tokens for p in parts], [p.tokens for p in parts]
    return Reply(
        text=text,
        finish=finish,
        tokens=None if None in said else sum(t or 0 for t in said),
        prompt_tokens=None if None in read else sum(t or 0 for t in read),
        raw=f"[{', '.join(p.raw or '' for p in parts)}]",
        finish_reason=parts[-1].finish_reason,
        model=parts[-1].model,
        latency=sum(p.latency or 0.0 for p in parts),
    )


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StudyError(f"teacher.url = {url!r}: must look like http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise StudyError("teacher.url: put no name, password or query into the address; name a variable with key_env")
    return url.rstrip("/")


def fitted(body: dict[str, Any], n: int, without: Mapping[str, str]) -> dict[str, Any]:
    """``body`` as it goes out: with ``n``, without the fields that the endpoint does not take, others under another name."""
    body = body | {"n": n} if n > 1 else body
    return {without.get(name, name): value for name, value in body.items() if without.get(name, name)} if without else body


def _forbidden(error: ForbiddenError) -> AccountError:
    return AccountError(
        f"{error}; may this key use this model (teacher.key_env, teacher.model)? What came is kept: run the same command again to "
        "go on"
    )


def _shut(url: str, error: ThrottledError) -> AccountError:
    return AccountError(
        f"{url}: {error}; it lets nobody in for more than {PATIENCE / 60:g} minutes. What came is kept: run the same command again "
        "later to go on; teacher.requests_per_minute, or a smaller teacher.concurrency, may help"
    )
