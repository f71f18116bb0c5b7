"""What is known of a batch: the requests that it holds, the store that notes them, and what the server says of both."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from understudy.core.asks import Answer, Reply, Request, Usage
from understudy.core.errors import AccountError, EngineError
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.wire import AgainError, classify, require_choices, short

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(eq=False)
class Job:
    """A batch at ``url``: its ``requests`` by ledger key, the ``keys`` behind each of its lines by the line's name, and the ``tag``
    that we gave it. The server's ids of its ``file`` of requests and of the batch itself (``id``) are "" until they are known.
    ``at`` is the time when it was noted."""

    tag: str
    url: str
    requests: Mapping[str, Request]
    keys: Mapping[str, tuple[str, ...]]
    file: str = ""
    id: str = ""
    at: float = field(default_factory=time.time)


class JobStore(Protocol):
    """Notes batches beside the requests that they hold: the part of the ledger that belongs to one engine."""

    def jobs(self, urls: Collection[str]) -> list[Job]:
        """The batches at ``urls`` that have not ended. The requests that they hold are reserved again."""

    def collect(self) -> None:
        """From now on requests are sent in batches only: a reserved request that no batch holds was not sent."""

    def reserve(self, key: str, request: Request) -> bool:
        """As `ReplyStore.reserve`; a request that is reserved already stays so."""

    def note(self, job: Job) -> None:
        """Keep what is known of the batch; durable on return."""

    def early_reply(self, key: str) -> Reply | None:
        """The reply under ``key`` that was `put` here before anybody waited for it."""

    def put(self, key: str, reply: Reply, request: Request, usage: Usage) -> None:
        """Accept the reply, which cost ``usage``, whether anybody waits for it or not."""

    def fail(self, key: str, error: EngineError) -> None:
        """The request got no reply."""

    def end(self, job: Job, *, lost: bool = False) -> None:
        """The batch has ended. ``lost``: its requests may have been paid for. Durable on return, with the replies that came."""


def read_row(line: Mapping[str, Any], requests: Sequence[Request], job: Job, endpoint: EndpointEngine) -> Answer:
    """Read one line of the results as the answer to a request of its own. Raises the errors of `wire` and of the endpoint."""
    where, answer = f"{job.url}: batch {job.id}", line.get("response")
    if not isinstance(answer, dict):  # it was not asked: batch_expired, batch_cancelled
        text = json.dumps({"error": line.get("error")})
        error = classify(where, 429, text)
        raise error if isinstance(error, AccountError) else AgainError(f"{where}: {short(text)}")
    status, body = answer.get("status_code"), answer.get("body")
    text = json.dumps(body, ensure_ascii=False)
    if status != 200:
        raise classify(where, status if type(status) is int else 500, text)
    return endpoint.read_answer(where, require_choices(where, body, text, {}), text, requests)


def read_failure(batch: Mapping[str, Any]) -> tuple[set[str], str]:
    """Why a batch failed before anything was asked: the codes of its errors, and the first of them as text."""
    errors = batch.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    known = [error for error in data if isinstance(error, dict)] if isinstance(data, list) else []
    return {str(error.get("code")) for error in known}, short(json.dumps(known[:3] or errors))


def count_lines(batch: Mapping[str, Any]) -> int:
    """The least number of lines that the files of its results must have."""
    counts = batch.get("request_counts")
    numbers = [counts.get(name) for name in ("completed", "failed")] if isinstance(counts, dict) else []
    return sum(n for n in numbers if type(n) is int)


def describe(job: Job) -> str:
    """The batch and its size, for messages."""
    return f"{len(job.requests):,} requests are in batch {job.id or job.tag}"
