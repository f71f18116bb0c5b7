"""Batches in the ledger: each is noted before it is made, with the requests that it holds, so that none is bought twice."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection
from typing import Any

from understudy.core.asks import About, Call, Decoding, Message, Prompt, Reply, Request, Usage
from understudy.core.errors import EngineError
from understudy.engines.remote.batch.jobs import Job
from understudy.sampling.ledger import Ledger


class LedgerJobs:
    """A `JobStore` in ``ledger``: the batches of the engine ``identity``; ``seed`` is recorded with replies."""

    def __init__(self, ledger: Ledger, identity: str, seed: int) -> None:
        self.ledger, self.identity, self.seed = ledger, identity, seed

    def any(self) -> bool:
        """Whether some batches have not ended."""
        with self.ledger.reading() as reader:
            found = reader.execute("SELECT count(*) FROM batches WHERE engine = ? AND ended IS NULL", (self.identity,)).fetchone()
        return bool(found[0])

    def jobs(self, urls: Collection[str]) -> list[Job]:
        """Those at ``urls`` that were noted and have not ended; what they hold is reserved, as it was."""
        found = []
        with self.ledger.reading() as reader:
            for tag, url, file, batch, at in reader.execute(
                "SELECT tag, url, file, id, at FROM batches WHERE engine = ? AND ended IS NULL ORDER BY at", (self.identity,)
            ).fetchall():
                if url in urls:
                    found.append(Job(tag, url, *_held(reader, tag), file, batch, at))
        self.ledger.resume(key for job in found for key in job.requests)
        return found

    def collect(self) -> None:
        """From now on requests go out in batches only: what is reserved and in none of them was not sent."""
        self.ledger.flush(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO collecting SELECT ?, coalesce(max(number), 0) FROM intents", (self.identity,)
            )
        )

    def reserve(self, key: str, request: Request) -> bool:
        """Set aside what the request may take; one that is reserved already stays so. False where the budget has no room."""
        return self.ledger.reserve(key, engine=self.identity, request=request)

    def note(self, job: Job) -> None:
        """Keep what is known of it; durable on return."""
        self.ledger.flush(lambda connection: self._note(connection, job))

    def _note(self, connection: sqlite3.Connection, job: Job) -> None:
        known = connection.execute("UPDATE batches SET file = ?, id = ? WHERE tag = ?", (job.file, job.id, job.tag)).rowcount
        if not known:
            row = (job.tag, self.identity, job.url, job.file, job.id, job.at)
            connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
            held = ((job.tag, key, line, *_row(job.requests[key])) for line, keys in job.keys.items() for key in keys)
            connection.executemany("INSERT INTO batched VALUES (?, ?, ?, ?, ?, ?, ?, ?)", held)

    def early_reply(self, key: str) -> Reply | None:
        """The reply under ``key`` that was `put` here before anybody waited for it."""
        return self.ledger.get(key) if key in self.ledger.early else None

    def put(self, key: str, reply: Reply, request: Request, usage: Usage) -> None:
        """Accept the reply, which took ``usage``, whether anybody waits for it or not."""
        self.ledger.put(key, reply, engine=self.identity, request=request, seed=self.seed, usage=usage)
        self.ledger.early.add(key)

    def fail(self, key: str, error: EngineError) -> None:
        """It got no reply."""
        self.ledger.fail(key, error)

    def end(self, job: Job, *, lost: bool = False) -> None:
        """Nothing more will come of it; ``lost``: what it holds may have been paid for. Durable on return, with what came of it."""
        if lost:
            self.ledger.note_lost(job.requests)
        self.ledger.flush(lambda connection: _end(connection, job))


def _end(connection: sqlite3.Connection, job: Job) -> None:
    connection.execute("UPDATE batches SET ended = ? WHERE tag = ?", (time.time(), job.tag))
    connection.execute("DELETE FROM batched WHERE batch = ?", (job.tag,))


def _held(reader: sqlite3.Connection, tag: str) -> tuple[dict[str, Request], dict[str, tuple[str, ...]]]:
    """The requests of a batch by key, and the keys behind each of its lines, in the order of their paths."""
    requests: dict[str, Request] = {}
    keys: dict[str, tuple[str, ...]] = {}
    columns = "line, key, request, path, attempt, problem, role"
    for line, key, *row in reader.execute(f"SELECT {columns} FROM batched WHERE batch = ? ORDER BY path", (tag,)):  # noqa: S608
        requests[key] = _request(*row)
        keys[line] = (*keys.get(line, ()), key)
    return requests, keys


def _row(request: Request) -> tuple[Any, ...]:
    about = request.ask.about.problem if request.ask.about else None
    return request.canonical, request.path, request.attempt, about, request.ask.role


def _request(canonical: str, path: int, attempt: int, problem: str | None, role: str) -> Request:
    """What `Request.canonical` says, as a request again."""
    body = json.loads(canonical)
    prompt: Prompt = body["prompt"] if isinstance(body["prompt"], str) else tuple(Message(*turn) for turn in body["prompt"])
    about = About(problem) if problem is not None else None
    decoding = Decoding(body["temperature"], body["top_p"])
    ask = Call(role, prompt, tuple(body["stop"]), body["max_tokens"], decoding, attempt, about)
    return Request(ask, decoding, path, attempt)
