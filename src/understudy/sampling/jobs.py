"""Batches in the ledger. Each is noted before it is made, with the requests that it holds, so that none is bought twice."""

import json
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from understudy.core.asks import Call, Decoding, Message, Prompt, Request
from understudy.sampling.ledger import Ledger


@dataclass(eq=False)
class Job:
    """A batch of the engine ``engine`` at ``url``, with the ``tag`` that we gave it. The server's ids of its ``file`` of requests
    and of the batch itself (``id``) are "" until they are known. ``noted_at`` is the time when it was noted. ``lines`` maps the
    name of each line to its requests by their ledger keys, in the order of their paths."""

    engine: str
    url: str
    tag: str = field(default_factory=lambda: f"understudy-{uuid.uuid4().hex}")
    file: str = ""
    id: str = ""
    noted_at: float = field(default_factory=time.time)
    lines: dict[str, dict[str, Request]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"batch {self.id or self.tag}"

    @property
    def keys(self) -> set[str]:
        """The ledger keys of its requests."""
        return {key for line in self.lines.values() for key in line}

    @property
    def size(self) -> str:
        """The number of its requests, in words."""
        return f"{len(self.keys):,} requests"


def read_jobs(ledger: Ledger, engine: str, urls: Collection[str]) -> list[Job]:
    """Read the batches of ``engine`` at ``urls`` that have not ended; what was set aside for their requests stays set aside."""
    with ledger.reading() as reader:
        rows = reader.execute("SELECT engine, url, tag, file, id, at FROM batches WHERE ended IS NULL ORDER BY at").fetchall()
        jobs = [Job(*row) for row in rows if row[0] == engine and row[1] in urls]
        for job in jobs:
            for name, key, *row in reader.execute(_BATCHED, (job.tag,)):
                job.lines.setdefault(name, {})[key] = _from_row(*row)
    ledger.resume(key for job in jobs for key in job.keys)
    return jobs


def note_collecting(ledger: Ledger, engine: str) -> None:
    """Note that from now on requests to ``engine`` go out only in batches: a reserved one that is in no batch was not sent."""
    ledger.flush(("INSERT OR REPLACE INTO collecting SELECT ?, coalesce(max(number), 0) FROM intents", [(engine,)]))


def note_job(ledger: Ledger, job: Job) -> None:
    """Store what is known about the batch; durable on return."""
    ledger.flush(
        (
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT DO UPDATE SET file = excluded.file, id = excluded.id",
            [(job.tag, job.engine, job.url, job.file, job.id, job.noted_at)],
        ),
        (
            "INSERT OR IGNORE INTO batched VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(job.tag, key, name, *_to_row(request)) for name, line in job.lines.items() for key, request in line.items()],
        ),
    )


def end_job(ledger: Ledger, job: Job) -> None:
    """Note that the batch has ended; durable on return, with the replies that came."""
    ledger.flush(
        ("UPDATE batches SET ended = ? WHERE tag = ?", [(time.time(), job.tag)]),
        ("DELETE FROM batched WHERE batch = ?", [(job.tag,)]),
    )


_BATCHED = "SELECT line, key, request, path, attempt, problem, role FROM batched WHERE batch = ? ORDER BY path"


def _to_row(request: Request) -> tuple[Any, ...]:
    return request.canonical, request.path, request.ask.attempt, request.problem, request.ask.role


def _from_row(canonical: str, path: int, attempt: int, problem: str | None, role: str) -> Request:
    """Make a request again from its `Request.canonical`."""
    body = json.loads(canonical)
    prompt: Prompt = body["prompt"] if isinstance(body["prompt"], str) else tuple(Message(*turn) for turn in body["prompt"])
    decoding = Decoding(body["temperature"], body["top_p"])
    return Request(Call(role, prompt, tuple(body["stop"]), body["max_tokens"], decoding, attempt), decoding, path, problem)
