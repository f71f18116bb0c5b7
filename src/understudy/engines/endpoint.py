"""An OpenAI-compatible endpoint (completions or chat) as an engine: a server on this machine or anybody's.

What servers do with a request differs (a 200 does not mean that a field was honoured), so nothing is taken for granted: stop
strings are cut here too, log-probabilities and token counts are None where they do not come, and the whole answer is kept.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from understudy.core.asks import Call, Finish, Reply, Request
from understudy.core.errors import EngineError, StudyError
from understudy.engines.calculator import corrected
from understudy.engines.stops import cut

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_FINISH: Mapping[str, Finish] = {"length": "length", "content_filter": "refused"}
LONGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever the server asks for."""


class EndpointEngine:
    """Answers `Call` through ``url`` (with its ``/v1``) as ``model``; an `AsyncEngine`, used as an async context.

    ``api``: ``completions`` sends a raw prompt as it is; ``chat`` sends messages, and a raw prompt as one user message.
    ``key_env``: name of the environment variable that holds the key, which is never written anywhere. ``retries``: further
    tries after a refused connection, a timeout of ``timeout`` seconds, or an answer that says to come back (429, 5xx), each
    after twice the wait of the one before. ``identity``: names the model in the ledger; endpoint and model name by default.

    With a calculator (completions only) a reply takes one request more for each wrong value in a mark; its ``tokens`` are those
    of all of them, what is left of ``max_tokens`` for the next is reckoned by the length of the text, ``logprobs`` are ().

    Raises StudyError where the key's variable is not set. `reply` raises EngineError, naming url and answer.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api: Literal["completions", "chat"] = "completions",
        key_env: str | None = None,
        timeout: float = 120.0,
        retries: int = 4,
        wait: float = 1.0,
        identity: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StudyError(f"teacher.url = {url!r}: must look like http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise StudyError("teacher.url: put no name, password or query into the address; name a variable with key_env")
        self.url, self.model, self.api = url.rstrip("/"), model, api
        self.timeout, self.retries, self.wait = timeout, retries, wait
        self.identity = identity or f"endpoint {self.url} {api} {model}"
        self.capabilities = frozenset({"stop"})
        self._key = os.environ.get(key_env, "") if key_env else ""
        if key_env and not self._key:
            raise StudyError(f"teacher.key_env = {key_env!r}: this environment variable is not set")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> EndpointEngine:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = aiohttp.ClientTimeout(total=self.timeout)
        # The driver says how many requests there are at once.
        self._session = aiohttp.ClientSession(headers=headers, timeout=limits, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def reply(self, request: Request) -> Reply:
        """Answer one request, trying again where that can help."""
        return await (self._calculated(request) if request.decoding.calculator else self._reply(request))

    async def _calculated(self, request: Request) -> Reply:
        """Let the model write; where a marked value is wrong, cut there, write the right one and ask for what follows."""
        ask, text = request.ask, ""
        if self.api != "completions" or not isinstance(ask, Call) or not isinstance(ask.prompt, str):
            raise EngineError(
                f"{self.url}: calculator: a chat cannot be gone on with in mid-reply; this needs raw prompts and "
                "api = 'completions'"
            )
        parts: list[Reply] = []
        left = ask.max_tokens
        while True:
            part = await self._reply(replace(request, ask=replace(ask, prompt=ask.prompt + text, max_tokens=left)))
            parts.append(part)
            whole = corrected(text + part.text, len(text))
            if whole is not None:
                if part.tokens is None:
                    raise EngineError(
                        f"{self.url}: calculator: the endpoint counts no tokens, so what is left of max_tokens is unknown"
                    )
                left -= math.ceil(part.tokens * (len(whole) - len(text)) / len(part.text))
            text = text + part.text if whole is None else whole
            at = cut(text, ask.stop)
            if whole is None or at is not None or left < 1:
                break
        finish: Finish = "stop" if at is not None else part.finish if whole is None else "length"
        return _joined(parts, text[:at], finish)

    async def _reply(self, request: Request) -> Reply:
        path, body = self._body(request)
        for attempt in range(self.retries + 1):
            try:
                return self._read(await self._post(path, body), request)
            except _AgainError as error:
                if attempt == self.retries:
                    raise EngineError(f"{self.url}/{path}: {error} ({self.retries + 1} tries)") from error
                # Jitter decides nothing but when: it is drawn without a seed on purpose.
                await asyncio.sleep(min(LONGEST_WAIT, error.wait or self.wait * 2**attempt * random.uniform(0.75, 1.25)))
        raise AssertionError("the last try returns or raises")

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        ask = request.ask
        if not isinstance(ask, Call):
            raise EngineError(f"{self.url}: an endpoint does not score texts")
        if request.decoding.beams > 1:
            raise EngineError(f"{self.url}: beams = {request.decoding.beams}: an endpoint has no beam search")
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.max_tokens,
            "temperature": request.decoding.temperature,
            "top_p": request.decoding.top_p,
            "seed": (request.path << 16) + request.attempt,  # servers that honour it give each path a draw of its own
        }
        if ask.stop:
            body["stop"] = list(ask.stop)
        if self.api == "completions":
            if not isinstance(ask.prompt, str):
                raise EngineError(f"{self.url}: messages need api = 'chat'")
            return "completions", body | {"prompt": ask.prompt, "logprobs": 1}
        turns = [{"role": "user", "content": ask.prompt}]
        if not isinstance(ask.prompt, str):
            turns = [{"role": m.role, "content": m.content} for m in ask.prompt]
        return "chat/completions", body | {"messages": turns, "logprobs": True}

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self._session is not None, "use the engine as an async context"
        try:
            async with self._session.post(f"{self.url}/{path}", json=body) as answer:
                text = await answer.text(errors="replace")
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise _AgainError(f"no answer within {self.timeout:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise _AgainError(f"no connection ({error.os_error.strerror or error.os_error}); is the server running?") from error
        except aiohttp.ClientError as error:
            raise _AgainError(f"the connection broke ({type(error).__name__}: {error})") from error
        if status in _AGAIN:
            raise _AgainError(f"HTTP {status}: {_short(text)}", float(after) if after.isdigit() else 0.0)
        if status != 200:
            hint = {
                401: "; is the key right (key_env)?",
                403: "; is the key right (key_env)?",
                404: "; is the url right, with /v1?",
            }
            raise EngineError(f"{self.url}/{path}: HTTP {status}: {_short(text)}{hint.get(status, '')}")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not found.get("choices"):
            raise EngineError(f"{self.url}/{path}: not an answer of an OpenAI-compatible endpoint: {_short(text)}")
        return found

    def _read(self, answer: dict[str, Any], request: Request) -> Reply:
        choice = answer["choices"][0]
        message = choice.get("message") or {}
        text = choice.get("text") if self.api == "completions" else message.get("content")
        if text is None and not message.get("reasoning_content"):
            raise EngineError(f"{self.url}: a choice without text: {_short(json.dumps(choice))}")
        text = text or ""
        stop = request.ask.stop if isinstance(request.ask, Call) else ()
        at = cut(text, stop)
        usage = answer.get("usage") or {}
        said = str(choice.get("finish_reason") or "stop")
        return Reply(
            text=text[:at],
            finish="stop" if at is not None else _FINISH.get(said, "stop"),
            tokens=usage.get("completion_tokens"),
            prompt_tokens=usage.get("prompt_tokens"),
            logprobs=_logprobs(choice.get("logprobs")) if at is None else (),
            reasoning=str(message.get("reasoning_content") or message.get("reasoning") or ""),
            raw=json.dumps(answer, ensure_ascii=False),
        )


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
    )


class _AgainError(Exception):
    """Something that may pass; ``wait`` is how long the server asks to wait, 0 where it does not say."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def _logprobs(given: Any) -> tuple[float, ...]:
    """Log-probabilities of the reply's tokens in either API's layout, () where there are none."""
    if not isinstance(given, dict):
        return ()
    values = given.get("token_logprobs") or [item.get("logprob") for item in given.get("content") or []]
    return tuple(map(float, values)) if values and all(isinstance(v, int | float) for v in values) else ()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."
