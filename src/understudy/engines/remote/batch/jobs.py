"""What is known of a batch: what it holds, where that is noted, and what a server says of it and of its requests."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from understudy.core.asks import Answer, Reply, Request, Usage
from understudy.core.errors import AccountError, EngineError
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.wire import AgainError, refusal, short, with_choices

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(eq=False)
class Job:
    """A batch: its ``requests`` by ledger key, the ``keys`` behind each of its lines by the line's name, the ``tag`` that we gave
    it, and once they are known the ids of its ``file`` of requests and its own, both at ``url``. ``at``: when it was noted."""

    tag: str
    url: str
    requests: Mapping[str, Request]
    keys: Mapping[str, tuple[str, ...]]
    file: str = ""
    id: str = ""
    at: float = field(default_factory=time.time)


class JobStore(Protocol):
    """Where batches are noted beside the requests that they hold: part of the ledger, of one engine."""

    def jobs(self, urls: Collection[str]) -> list[Job]:
        """Those at ``urls`` that were noted and have not ended; what they hold is reserved, as it was."""

    def collect(self) -> None:
        """From now on requests go out in batches only: what is reserved and in none of them was not sent."""

    def reserve(self, key: str, request: Request) -> bool:
        """As `ReplyStore.reserve`; a request that is reserved already stays so."""

    def note(self, job: Job) -> None:
        """Keep what is known of it; durable on return."""

    def came(self, key: str) -> Reply | None:
        """The reply under ``key`` that was `put` here, before anybody waited for it."""

    def put(self, key: str, reply: Reply, request: Request, usage: Usage) -> None:
        """Accept the reply, which took ``usage``, whether anybody waits for it or not."""

    def fail(self, key: str, error: EngineError) -> None:
        """It got no reply."""

    def end(self, job: Job, *, lost: bool = False) -> None:
        """Nothing more will come of it; ``lost``: what it holds may have been paid for. Durable on return, with what came of it."""


def answer_in(line: Mapping[str, Any], requests: Sequence[Request], job: Job, endpoint: EndpointEngine) -> Answer:
    """What a line of the results says, read as the answer to a request by itself. Raises as `wire` and the endpoint do."""
    where, answer = f"{job.url}: batch {job.id}", line.get("response")
    if not isinstance(answer, dict):  # it was not asked: batch_expired, batch_cancelled
        text = json.dumps({"error": line.get("error")})
        error = refusal(where, 429, text)
        raise error if isinstance(error, AccountError) else AgainError(f"{where}: {short(text)}")
    status, body = answer.get("status_code"), answer.get("body")
    text = json.dumps(body, ensure_ascii=False)
    if status != 200:
        raise refusal(where, status if type(status) is int else 500, text)
    return endpoint.taken(where, with_choices(where, body, text), text, requests)


def failure(batch: Mapping[str, Any]) -> tuple[set[str], str]:
    """Why a batch failed before anything was asked: the codes of its errors, and the first of them as text."""
    errors = batch.get("errors")
    found = errors.get("data") if isinstance(errors, dict) else None
    said = [error for error in found if isinstance(error, dict)] if isinstance(found, list) else []
    return {str(error.get("code")) for error in said}, short(json.dumps(said[:3] or errors))


def lines_of(batch: Mapping[str, Any]) -> int:
    """How many lines the files of its results must have at least."""
    counts = batch.get("request_counts")
    told = [counts.get(name) for name in ("completed", "failed")] if isinstance(counts, dict) else []
    return sum(n for n in told if type(n) is int)


def holding(job: Job) -> str:
    """For messages."""
    return f"{len(job.requests):,} requests are in batch {job.id or job.tag}"
