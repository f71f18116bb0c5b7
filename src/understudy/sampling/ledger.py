"""The ledger: every request that may cost something and every reply that came, in one SQLite file, durable by group commit.

A request over a network is noted with what it may take at the most (`reserve`), and sent once that is committed; so whatever
happens, no more was asked for than the ledger says. Its reply counts as received when its group is committed: after at most
10 ms or 256 replies, or at `flush`. WAL with ``synchronous=FULL``: NORMAL survives kill -9 and loses committed rows at power loss
(sqlite.org/pragma.html#pragma_synchronous).

One writer: a lock on the file beside it tells a second one so. Readers need no lock.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import orjson

from understudy.core.asks import Reply, Request, Usage
from understudy.core.errors import DataError, EngineError, UnpaidError
from understudy.sampling.budget import NOTHING, Budget, Price, Spend, Tally, worst
from understudy.sampling.database import capabilities, check_version, close_intents, connect, lock, prepare, unlock

GROUP = 256
"""Replies per commit at most."""
RECENT = 1024
"""Requests whose number is remembered: the paths of one problem follow each other."""
AHEAD = 255
"""Replies that are read together with one, at most."""
WINDOW = 0.010
"""Seconds from the first reply of a group to its commit at most."""

_INTENT = "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, 1)"
_REQUEST = "INSERT INTO requests VALUES (?, ?)"
_REPLY = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SETTLE = "UPDATE intents SET requests = ?, read = ?, written = ?, money = ?, outcome = ?, error = ?, ended = ? WHERE number = ?"


@dataclass
class _Group:
    """Rows of one transaction."""

    intents: list[tuple[Any, ...]] = field(default_factory=list)
    settled: list[tuple[Any, ...]] = field(default_factory=list)
    requests: list[tuple[int, str]] = field(default_factory=list)
    rows: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    since: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.intents or self.settled or self.rows)

    def before(self, later: _Group) -> _Group:
        """Both as one."""
        return _Group(
            self.intents + later.intents,
            self.settled + later.settled,
            self.requests + later.requests,
            later.rows | self.rows,  # the first reply of a key stays
            later.replies | self.replies,
            self.since or later.since,
        )


class Ledger:
    """A `ReplyStore` in the file ``path``; use it as a context, or `close` it. ``price`` and ``budget``: of the requests that it is
    told of from now on, and of earlier ones that had no price.

    Raises BusyError where another process writes there, DataError where the file is no ledger or of another version.
    """

    def __init__(self, path: str | Path, *, price: Price | None = None, budget: Budget | None = None) -> None:
        self.path, self.price, self.budget = Path(path), price, budget
        self._lock: IO[str] | None = lock(self.path)
        try:
            self._connection = connect(self.path)
            prepare(self._connection, self.path)
            close_intents(self._connection, time.time())
            # A reader of its own: what is asked for does not wait for a commit.
            self._begin(connect(self.path, readonly=True), readonly=False)
        except BaseException:
            unlock(self._lock)
            raise
        self._committer = threading.Thread(target=self._commit_groups, name=f"commits to {self.path.name}", daemon=True)
        self._committer.start()

    def _begin(self, reader: sqlite3.Connection, *, readonly: bool) -> None:
        self._reader, self._readonly = reader, readonly
        self._group, self._committing = _Group(), _Group()
        self._ahead: dict[str, str] = {}
        self._reach = 0
        self._open: dict[str, tuple[int, Spend]] = {}
        self.refused = NOTHING
        """The most that the request may cost for which `reserve` had no room last."""
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self._filled, self._hurry = threading.Event(), threading.Event()
        self._closed = False
        self._failed: OSError | None = None
        self._settled, self._aside = Tally(), Tally()
        self._requests: dict[str, int] = {}
        self._settled.add(*sum_spent(reader, self.price))
        self._number = reader.execute("SELECT coalesce(max(number), 0) FROM intents").fetchone()[0]
        self._last_request = reader.execute("SELECT coalesce(max(number), 0) FROM requests").fetchone()[0]

    @classmethod
    def open(cls, path: str | Path, *, readonly: bool, price: Price | None = None) -> Ledger:
        """A reader beside a writer, perhaps: it sees what is committed, and `put` is an error. ``spent`` is of its opening."""
        if not readonly:
            return cls(path, price=price)
        self = cls.__new__(cls)
        self.path, self.price, self.budget = Path(path), price, None
        if not self.path.is_file():
            raise DataError(f"{self.path}: there is no ledger")
        self._lock = None
        reader = connect(self.path, readonly=True)
        check_version(reader, self.path)
        self._begin(reader, readonly=True)
        return self

    def get(self, key: str) -> Reply | None:
        """The reply under ``key``, None where there is none."""
        body = self._ahead.pop(key, None)
        if body is None:
            with self._guard:
                for group in (self._committing, self._group):
                    if key in group.replies:
                        return group.replies[key]
                body = self._select(key)
        return None if body is None else _reply(body)

    def _select(self, key: str) -> str | None:
        """A committed reply. Whoever asks again for many replies mostly does so in the same order: the more often that is so, the
        more of the replies that follow are read with it."""
        row = self._reader.execute("SELECT rowid, reply FROM replies WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._reach = 0 if self._ahead else min(AHEAD, 2 * self._reach + 1)
        following = "SELECT key, reply FROM replies WHERE rowid > ? ORDER BY rowid LIMIT ?"
        self._ahead = dict(self._reader.execute(following, (row[0], self._reach)))
        return str(row[1])

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        """Note that ``request`` is about to be sent, with what it may take at the most; False where the budget has no room for it.
        One that is noted already stays as it is.

        Durable when `flush` returns: only then it may be sent. It counts as that much until `put` or `fail` says otherwise.
        """
        if key in self._open:
            return True
        most = worst(request, self.price)
        money = most.money if self.price else None
        about = request.ask.about.problem if request.ask.about else None
        with self._guard:
            if self.budget is not None and not self.budget.covers(self._settled.now() + self._aside.now() + most):
                self.refused = most
                return False
            self._number += 1
            said = (self._number, key, engine, about, request.ask.role, request.path, request.attempt, time.time())
            self._group.intents.append((*said, most.read, most.written, money))
            self._open[key] = self._number, most
            self._aside.add(most.requests, most.read, most.written, most.money)
        return True

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        """Accept ``reply``; committed with its group. A key that is there already keeps its first reply. ``usage``: what it took;
        None: one request, and what the reply says itself."""
        assert not self._readonly, "a reader does not write"
        about = request.ask.about.problem if request.ask.about else None
        body = orjson.dumps(vars(reply)).decode()
        with self._guard:
            if self._failed is not None:
                raise self._failed
            if key not in self._committing.rows and key not in self._group.rows:
                asked = self._number_of(request.canonical)
                role = request.ask.role
                row = (key, engine, asked, request.path, request.attempt, seed, about, role, body, time.time())
                self._group.rows[key], self._group.replies[key] = row, reply
            self._settle(key, "reply", usage or Usage(1, reply.prompt_tokens, reply.tokens))
            self._wake()

    def _number_of(self, request: str) -> int:
        """The number of a canonical request; a request that was not used lately is written (again)."""
        number = self._requests.get(request)
        if number is None:
            self._last_request += 1
            number = self._requests[request] = self._last_request
            self._group.requests.append((number, request))
            if len(self._requests) > RECENT:
                del self._requests[next(iter(self._requests))]
        return number

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        """The request under ``key`` got no reply and cost ``usage``; None: nothing if the endpoint refused it, else what was set
        aside."""
        with self._guard:
            unpaid = isinstance(error, UnpaidError)
            self._settle(key, "refused" if unpaid else "failed", usage or (Usage(0, 0, 0) if unpaid else Usage()), str(error))
            self._wake()

    def resume(self, keys: Iterable[str]) -> None:
        """Requests of an earlier process that a batch still holds: what was set aside for them stays so until `put` or `fail`."""
        held, price = set(keys), self.price or Price(0, 0)
        with self._guard:
            for key, number, read, written, money in self._reader.execute(
                "SELECT key, number, read, written, money FROM intents WHERE outcome IS NULL"
            ):
                if key in held and key not in self._open:
                    most = Spend(1, read, written, price.of(read, written) if money is None else money)
                    self._open[key] = number, most
                    self._aside.add(1, read, written, most.money)
                    self._settled.add(1, read, written, most.money, -1)  # as which it was counted when the ledger was opened

    def note_lost(self, keys: Iterable[str]) -> None:
        """Requests whose outcome is not known: they count as what was set aside."""
        with self._guard:
            for key in keys:
                self._settle(key, "lost", Usage())

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection that reads what is committed."""
        with self._guard:
            yield self._reader

    def _wake(self) -> None:
        """Have the group committed: within the window, or now where it is full."""
        self._group.since = self._group.since or time.monotonic()
        self._filled.set()
        if len(self._group.rows) >= GROUP:
            self._hurry.set()

    def _settle(self, key: str, outcome: str, usage: Usage, error: str | None = None) -> None:
        """What became of a request that was reserved; where a count is not known, it stays what was set aside."""
        if key not in self._open:
            return
        number, most = self._open.pop(key)
        read = (most.read if usage.read is None else usage.read) + usage.lost * most.read
        written = (most.written if usage.written is None else usage.written) + usage.lost * most.written
        money = self.price.of(read, written) if self.price else None
        self._group.settled.append((usage.requests, read, written, money, outcome, error, time.time(), number))
        self._aside.add(most.requests, most.read, most.written, most.money, -1)
        self._settled.add(usage.requests, read, written, money or 0.0)

    def flush(self, *also: tuple[str, Iterable[tuple[Any, ...]]]) -> None:
        """Commit all that was noted, and ``also`` each statement for each of its rows, in one transaction: when this returns, it
        survives kill -9 and power loss. OSError where the disk is full."""
        with self._writing:
            with self._guard:
                group = self._committing = self._group
                self._group = _Group()
            kept = False
            try:
                if group or also:
                    with self._connection:
                        self._connection.execute("BEGIN IMMEDIATE")
                        self._connection.executemany(_INTENT, group.intents)
                        self._connection.executemany(_SETTLE, group.settled)
                        self._connection.executemany(_REQUEST, group.requests)
                        self._connection.executemany(_REPLY, group.rows.values())
                        for statement, rows in also:
                            self._connection.executemany(statement, rows)
                kept = True
            except sqlite3.OperationalError as error:
                raise OSError(None, f"cannot be written ({error}); is the disk full?", str(self.path)) from error
            finally:
                with self._guard:
                    self._committing = _Group()
                    if not kept:
                        self._group = group.before(self._group)

    def _commit_groups(self) -> None:
        while True:
            self._filled.wait()
            self._filled.clear()
            if self._closed:
                return
            while (rest := self._rest()) > 0:  # a `flush` meanwhile takes the group, and the next has its own window
                self._hurry.wait(rest)
                self._hurry.clear()
            try:
                self.flush()
            except OSError as error:  # the next `put` or `flush` says so, the group is kept
                self._failed = error

    def _rest(self) -> float:
        """Seconds until the group must be committed."""
        with self._guard:
            if len(self._group.rows) >= GROUP or not self._group.since:
                return 0.0
            return self._group.since + WINDOW - time.monotonic()

    @property
    def settled(self) -> Spend:
        """The cost of the requests that have ended."""
        with self._guard:
            return self._settled.now()

    @property
    def spent(self) -> Spend:
        """The cost of all requests; those under way count as the most that they may cost."""
        with self._guard:
            return self._settled.now() + self._aside.now()

    def count(self) -> int:
        """The number of committed replies."""
        return int(self._reader.execute("SELECT count(*) FROM replies").fetchone()[0])

    def replies(self) -> Iterator[tuple[str, Reply]]:
        """Every committed (key, reply), by key."""
        for key, body in self._reader.execute("SELECT key, reply FROM replies ORDER BY key"):
            yield key, _reply(body)

    def means(self, engine: str) -> tuple[float, float] | None:
        """Tokens that a request of a study to ``engine`` read and that a reply wrote, on average: replies of one request share its
        prompt. None where there is no reply that says."""
        read, written = self._reader.execute(
            """SELECT sum(read) * 1.0 / nullif(sum(requests), 0), avg(written) FROM intents
                WHERE engine = ? AND role <> 'probe' AND outcome = 'reply'
                AND (SELECT json_extract(reply, '$.prompt_tokens') FROM replies WHERE replies.key = intents.key) IS NOT NULL""",
            (engine,),
        ).fetchone()
        return None if read is None or written is None else (read, written)

    def capabilities(self, engine: str) -> dict[str, dict[str, str]]:
        """The facts about each address of ``engine``: url -> name -> value, {} where none was probed."""
        with self.reading() as reader:
            return capabilities(reader).get(engine, {})

    def note_capabilities(self, engine: str, url: str, facts: Mapping[str, str]) -> None:
        """Record the ``facts`` about an address of ``engine``; durable when this returns. Raises OSError where the disk is full."""
        rows = [(engine, url, name, value, time.time()) for name, value in facts.items()]
        self.flush(("INSERT OR REPLACE INTO capabilities VALUES (?, ?, ?, ?, ?)", rows))

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._closed = True
            self._filled.set()
            self._hurry.set()
            # The reader goes first: the last one to leave tidies up, and may write.
            if not self._readonly:
                self._committer.join()
                self._reader.close()
                self._connection.close()
            else:
                self._reader.close()
            unlock(self._lock)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None) -> None:
        self.close()


_EMPTY = vars(Reply(""))
"""The fields that an old row lacks."""


def sum_spent(reader: sqlite3.Connection, price: Price | None) -> tuple[int, int, int, float]:
    """Sum up the cost of all requests of a ledger; requests that had no price are counted at ``price``."""
    per = price or Price(0, 0)
    requests, read, written, money = reader.execute(
        """SELECT coalesce(sum(requests), 0), coalesce(sum(read), 0), coalesce(sum(written), 0),
            coalesce(sum(coalesce(money, (read * ? + written * ?) / 1e6)), 0.0) FROM intents""",
        (per.input, per.output),
    ).fetchone()
    return requests, read, written, money


def _reply(body: str) -> Reply:
    fields = orjson.loads(body)
    fields["logprobs"] = tuple(fields["logprobs"])
    reply = object.__new__(Reply)  # a frozen dataclass sets each field by a call: of a million replies, seconds
    reply.__dict__.update(_EMPTY, **fields)
    return reply
