"""The ledger: every request that may cost something and every reply that came, in one SQLite file, durable by group commit.

A request over a network is noted with the most that it may cost (`reserve`), and sent once that is committed. So whatever happens,
no more was requested than the ledger says. Its reply counts as received when its group is committed: after at most 10 ms or 256
replies, or at `flush`. WAL with ``synchronous=FULL``: NORMAL survives kill -9 but loses committed rows at power loss
(sqlite.org/pragma.html#pragma_synchronous).

There is one writer: a lock on the file next to the ledger stops a second one. Readers need no lock.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import orjson

from understudy.core.asks import Reply, Request, Usage, amend
from understudy.core.errors import DataError, EngineError, UnpaidError
from understudy.core.processes import hold
from understudy.sampling.budget import NOTHING, Budget, Price, Spend, compute_maximum
from understudy.sampling.database import close_intents, find_lock, name_errors, open_database, read_capabilities

GROUP = 256
"""Most replies per commit."""
WINDOW = 0.010
"""Most seconds from the first reply of a group to its commit."""

_INTENT = "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, 1)"
_REQUEST = "INSERT INTO requests VALUES (?, ?)"
_REPLY = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SETTLE = "UPDATE intents SET requests = ?, read = ?, written = ?, money = ?, outcome = ?, error = ?, ended = ? WHERE number = ?"


@dataclass
class _Group:
    """One transaction: the rows of each statement, and the replies among them by key. ``since``: the time of the first row that
    must be committed within the window, 0.0 if there is none."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {s: [] for s in (_INTENT, _SETTLE, _REQUEST, _REPLY)})
    replies: dict[str, Reply] = field(default_factory=dict)
    since: float = 0.0

    def append(self, later: Self) -> None:
        for statement, rows in later.rows.items():
            self.rows[statement] += rows
        self.replies = later.replies | self.replies  # the first reply of a key stays
        self.since = self.since or later.since


class Ledger(AbstractContextManager["Ledger"]):
    """A `ReplyStore` in the file ``path``; use it as a context, or `close` it. ``price`` and ``budget`` hold for the requests that
    are noted from now on, and for earlier ones that had no price. ``settled``: the cost of the requests that have ended.
    ``refused``: the most that the last request for which `reserve` had no room could have cost.

    ``readonly``: only read, perhaps while another process writes. It sees what is committed; ``settled`` is as of its opening.

    Raises BusyError if another process writes there, DataError if the file is no ledger or of another version.
    """

    def __init__(self, path: Path, *, price: Price | None = None, budget: Budget | None = None, readonly: bool = False) -> None:
        self.path, self.price, self.budget = path, price, budget
        self.refused = NOTHING
        self.at_end = ExitStack()
        with ExitStack() as opened:
            if not readonly:
                activity = "is writing to its ledger; wait for it, or use another run directory"
                opened.enter_context(hold(find_lock(self.path), activity))
            self._connection = opened.enter_context(closing(open_database(self.path, readonly=readonly)))
            # A connection of its own, so that reading does not wait for a commit.
            self._reader = opened.enter_context(closing(open_database(self.path, readonly=True)))
            with name_errors(self.path):
                if not readonly:
                    close_intents(self._connection, time.time())
                self.settled, self._reserved = self._sum_spent(), NOTHING
                (self._number,) = self._reader.execute("SELECT coalesce(max(number), 0) FROM intents").fetchone()
                (self._last_request,) = self._reader.execute("SELECT coalesce(max(number), 0) FROM requests").fetchone()
            self._opened = opened.pop_all()
        self._group, self._committing = _Group(), _Group()
        self._ahead: dict[str, str] = {}
        self._ahead_count = 0
        self._open: dict[str, tuple[int, Spend]] = {}
        self._number_request = lru_cache(1024)(self._write_request)  # the paths of one problem follow each other
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._closed = False
        self._failure: OSError | DataError | None = None
        self._committer = threading.Thread(target=self._commit_groups, name=f"commits to {self.path.name}", daemon=True)
        self._committer.start()

    def _sum_spent(self) -> Spend:
        """Sum the cost of all requests so far; those that had no price count at the present one."""
        price = self.price or Price(0, 0)
        sums = self._reader.execute(
            """SELECT coalesce(sum(requests), 0), coalesce(sum(read), 0), coalesce(sum(written), 0),
                coalesce(sum(coalesce(money, (read * ? + written * ?) / 1e6)), 0.0) FROM intents""",
            (price.input, price.output),
        )
        return Spend(*sums.fetchone())

    def get(self, key: str) -> Reply | None:
        """Return the reply under ``key``, None if there is none."""
        body = self._ahead.pop(key, None)
        if body is None:
            with self._guard:
                for group in (self._committing, self._group):
                    if key in group.replies:
                        return group.replies[key]
                body = self._select(key)
        return None if body is None else _read_reply(body)

    def _select(self, key: str) -> str | None:
        """Read a committed reply. A caller that rereads many replies mostly does so in the same order. The longer it does, the more
        of the following replies are read ahead, up to 255."""
        with name_errors(self.path):
            row = self._reader.execute("SELECT rowid, reply FROM replies WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            self._ahead_count = 0 if self._ahead else min(255, 2 * self._ahead_count + 1)
            following = "SELECT key, reply FROM replies WHERE rowid > ? ORDER BY rowid LIMIT ?"
            self._ahead = dict(self._reader.execute(following, (row[0], self._ahead_count)))
            return str(row[1])

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        """Note that ``request`` is about to be sent, with the most that it may cost; False if the budget has no room for it. One
        that is noted already stays as it is.

        Durable when `flush` returns: only then may it be sent. It counts as that much until `put` or `fail` says otherwise.
        """
        if key in self._open:
            return True
        maximum = compute_maximum(request, self.price)
        with self._guard:
            if self.budget is not None and not self.budget.covers(self.settled + self._reserved + maximum):
                self.refused = maximum
                return False
            self._number += 1
            fields = (self._number, key, engine, request.problem, request.ask.role, request.path, request.ask.attempt, time.time())
            self._group.rows[_INTENT].append((*fields, maximum.read, maximum.written, maximum.money if self.price else None))
            self._open[key] = self._number, maximum
            self._reserved += maximum
        return True

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        """Accept ``reply``; committed with its group. A key that has a reply keeps its first. ``usage``: what it took; None: one
        request, and what the reply itself says."""
        body = orjson.dumps(vars(reply)).decode()
        with self._guard:
            if self._failure is not None:
                raise self._failure
            if key not in self._committing.replies and key not in self._group.replies:
                columns = self._number_request(request.canonical), request.path, request.ask.attempt
                self._group.rows[_REPLY].append((key, engine, *columns, seed, request.problem, request.ask.role, body, time.time()))
                self._group.replies[key] = reply
            self._settle(key, "reply", usage or Usage(1, reply.prompt_tokens, reply.tokens))
            self._wake()

    def _write_request(self, request: str) -> int:
        """Write a canonical request and return its number. One that was not used lately is written again."""
        self._last_request += 1
        self._group.rows[_REQUEST].append((self._last_request, request))
        return int(self._last_request)

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        """Note that the request under ``key`` got no reply and cost ``usage``; None: nothing if the endpoint refused it, else what
        was set aside."""
        with self._guard:
            unpaid = isinstance(error, UnpaidError)
            self._settle(key, "refused" if unpaid else "failed", usage or (Usage(0, 0, 0) if unpaid else Usage()), str(error))
            self._wake()

    def resume(self, keys: Iterable[str]) -> None:
        """Reopen requests of an earlier process that a batch still holds: their cost stays set aside until `put` or `fail`."""
        batched, price = set(keys), self.price or Price(0, 0)
        with self._guard:
            rows = self._reader.execute("SELECT key, number, read, written, money FROM intents WHERE outcome IS NULL")
            for key, number, read, written, money in rows:
                if key in batched and key not in self._open:
                    maximum = Spend(1, read, written, price.of(read, written) if money is None else money)
                    self._open[key] = number, maximum
                    self._reserved += maximum
                    self.settled -= maximum  # it was counted there when the ledger was opened

    def note_lost(self, keys: Iterable[str]) -> None:
        """Note requests whose outcome is unknown: they count as what was set aside."""
        with self._guard:
            for key in keys:
                self._settle(key, "lost", Usage())

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that reads what is committed."""
        with self._guard, name_errors(self.path):
            yield self._reader

    def _wake(self) -> None:
        """Have the group committed: within the window, or now if it is full."""
        if not self._group.since or len(self._group.replies) == GROUP:
            self._group.since = self._group.since or time.monotonic()
            self._changed.notify()

    def _settle(self, key: str, outcome: str, usage: Usage, error: str | None = None) -> None:
        """Note what became of a reserved request; an unknown count stays what was set aside."""
        if key not in self._open:
            return
        number, maximum = self._open.pop(key)
        read = (maximum.read if usage.read is None else usage.read) + usage.lost * maximum.read
        written = (maximum.written if usage.written is None else usage.written) + usage.lost * maximum.written
        money = self.price.of(read, written) if self.price else None
        self._group.rows[_SETTLE].append((usage.requests, read, written, money, outcome, error, time.time(), number))
        self._reserved -= maximum
        self.settled += Spend(usage.requests, read, written, money or 0.0)

    def flush(self, *extra: tuple[str, list[tuple[Any, ...]]]) -> None:
        """Commit all that was noted, and each statement of ``extra`` for each of its rows, in one transaction: when this returns,
        it survives kill -9 and power loss. Raises OSError if the disk is full."""
        with self._writing:
            with self._guard:
                group = self._committing = self._group
                self._group = _Group()
            statements = [(statement, rows) for statement, rows in [*group.rows.items(), *extra] if rows]
            try:
                if statements:
                    with name_errors(self.path), self._connection:
                        self._connection.execute("BEGIN IMMEDIATE")
                        for statement, rows in statements:
                            self._connection.executemany(statement, rows)
                group = _Group()
            finally:  # what is not committed is kept
                with self._guard:
                    group.append(self._group)
                    self._group, self._committing = group, _Group()

    def _commit_groups(self) -> None:
        while True:
            with self._guard:
                while not self._closed and (rest := self._seconds_left()) > 0:  # meanwhile a `flush` may take the group
                    self._changed.wait(rest)
            if self._closed:
                return
            try:
                self.flush()
            except (OSError, DataError) as error:  # the next `put` or `flush` raises it; the group is kept
                self._failure = error
                return

    def _seconds_left(self) -> float:
        """Return the seconds until the group must be committed."""
        if len(self._group.replies) >= GROUP:
            return 0.0
        return self._group.since + WINDOW - time.monotonic() if self._group.since else threading.TIMEOUT_MAX

    @property
    def spent(self) -> Spend:
        """The cost of all requests; those under way count as the most that they may cost."""
        with self._guard:
            return self.settled + self._reserved

    def compute_means(self, engine: str) -> tuple[float, float] | None:
        """Return the mean number of tokens that a study's request to ``engine`` read and that a reply wrote: replies of one request
        share its prompt. None if no reply says."""
        read, written = self._reader.execute(
            """SELECT sum(read) * 1.0 / nullif(sum(requests), 0), avg(written) FROM intents
                WHERE engine = ? AND role <> 'probe' AND outcome = 'reply'
                AND (SELECT json_extract(reply, '$.prompt_tokens') FROM replies WHERE replies.key = intents.key) IS NOT NULL""",
            (engine,),
        ).fetchone()
        return None if read is None or written is None else (read, written)

    def list_engines(self) -> list[str]:
        """List the engines that replied over a network."""
        with self.reading() as reader:
            return [engine for (engine,) in reader.execute("SELECT DISTINCT engine FROM intents WHERE outcome = 'reply'")]

    def list_batched(self) -> frozenset[str]:
        """List the keys of the requests that a batch under way holds."""
        with self.reading() as reader:
            return frozenset(key for (key,) in reader.execute("SELECT key FROM batched"))

    def capabilities(self, engine: str) -> dict[str, dict[str, str]]:
        """Return the facts about each address of ``engine``: url -> name -> value, {} if none was probed."""
        with self.reading() as reader:
            return read_capabilities(reader).get(engine, {})

    def note_capabilities(self, engine: str, url: str, facts: Mapping[str, str]) -> None:
        """Record the ``facts`` about an address of ``engine``; durable when this returns. Raises OSError if the disk is full."""
        rows = [(engine, url, name, value, time.time()) for name, value in facts.items()]
        self.flush(("INSERT OR REPLACE INTO capabilities VALUES (?, ?, ?, ?, ?)", rows))

    def close(self) -> None:
        try:
            self.at_end.close()
            self.flush()
        finally:
            with self._guard:
                self._closed = True
                self._changed.notify()
            self._committer.join()
            self._opened.close()  # the reader first: the last connection tidies up, and must be able to write

    def __exit__(self, *_: object) -> None:
        self.close()


_EMPTY = Reply("")
"""Supplies the fields that an old row lacks."""


def _read_reply(body: str) -> Reply:
    fields = orjson.loads(body)
    fields["logprobs"] = tuple(fields["logprobs"])
    return amend(_EMPTY, **fields)
