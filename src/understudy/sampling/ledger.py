"""The ledger: every reply that was paid for, in one SQLite file, durable by group commit.

A reply counts as received when its group is committed: after at most 10 ms or 256 replies, or at `flush`. WAL with
``synchronous=FULL``: NORMAL survives kill -9 and loses committed rows at power loss (sqlite.org/pragma.html#pragma_synchronous).

One writer: a lock on the file beside it tells a second one so. Readers need no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO

from understudy.core.asks import Reply, Request
from understudy.core.errors import BusyError, DataError

GROUP = 256
"""Replies per commit at most."""
WINDOW = 0.010
"""Seconds from the first reply of a group to its commit at most."""


def _first(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE replies (
            key TEXT PRIMARY KEY, engine TEXT NOT NULL, request TEXT NOT NULL, path INTEGER NOT NULL, attempt INTEGER NOT NULL,
            seed INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL, reply TEXT NOT NULL, at REAL NOT NULL
        ) WITHOUT ROWID"""
    )


MIGRATIONS = (_first,)
"""Schema history: the n-th brings a ledger of version n to version n + 1."""


class Ledger:
    """A `ReplyStore` in the file ``path``; use it as a context, or `close` it.

    Raises BusyError where another process writes there, DataError where the file is no ledger or of a later version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: IO[str] | None = _lock(self.path)
        try:
            self._connection = _connect(self.path)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            _migrate(self._connection, self.path)
        except BaseException:
            _close(self._lock)
            raise
        self._begin(readonly=False)
        self._committer = threading.Thread(target=self._commit_groups, name=f"commits to {self.path.name}", daemon=True)
        self._committer.start()

    def _begin(self, *, readonly: bool) -> None:
        self._readonly = readonly
        self._group: dict[str, tuple[object, ...]] = {}
        self._fresh: dict[str, Reply] = {}
        self._guard = threading.RLock()
        self._filled = threading.Event()
        self._closed = False
        self._failed: OSError | None = None

    @classmethod
    def open(cls, path: str | Path, *, readonly: bool) -> Ledger:
        """A reader beside a writer, perhaps: it sees what is committed, and `put` is an error."""
        if not readonly:
            return cls(path)
        self = cls.__new__(cls)
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: there is no ledger")
        self._lock = None
        self._connection = _connect(self.path, readonly=True)
        _check_version(self._connection, self.path)
        self._begin(readonly=True)
        return self

    def get(self, key: str) -> Reply | None:
        """The reply under ``key``, None where there is none."""
        with self._guard:
            if key in self._fresh:
                return self._fresh[key]
            row = self._connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else _reply(row[0])

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int) -> None:
        """Accept ``reply``; committed with its group. A key that is there already keeps its first reply."""
        assert not self._readonly, "a reader does not write"
        about = request.ask.about.problem if request.ask.about else None
        body = json.dumps(asdict(reply), ensure_ascii=False, separators=(",", ":"))
        row = (key, engine, request.canonical, request.path, request.attempt, seed, about, request.ask.role, body, time.time())
        with self._guard:
            if self._failed is not None:
                raise self._failed
            self._group.setdefault(key, row)
            self._fresh.setdefault(key, reply)
            if len(self._group) >= GROUP:
                self.flush()
        self._filled.set()

    def flush(self) -> None:
        """Commit what was put: when this returns, it survives kill -9 and power loss. Raises OSError where the disk is full."""
        with self._guard:
            if self._group:
                try:
                    with self._connection:
                        self._connection.execute("BEGIN IMMEDIATE")
                        self._connection.executemany(
                            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._group.values()
                        )
                except sqlite3.OperationalError as error:
                    raise OSError(None, f"cannot be written ({error}); is the disk full?", str(self.path)) from error
                self._group.clear()
                self._fresh.clear()

    def _commit_groups(self) -> None:
        while True:
            self._filled.wait()
            self._filled.clear()
            if self._closed:
                return
            time.sleep(WINDOW)
            try:
                self.flush()
            except OSError as error:  # the next `put` or `flush` says so, the group is kept
                self._failed = error

    def count(self) -> int:
        """Replies that are committed."""
        return int(self._connection.execute("SELECT count(*) FROM replies").fetchone()[0])

    def replies(self) -> Iterator[tuple[str, Reply]]:
        """Every committed (key, reply), by key."""
        for key, body in self._connection.execute("SELECT key, reply FROM replies ORDER BY key"):
            yield key, _reply(body)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._closed = True
            self._filled.set()
            if not self._readonly:
                self._committer.join()
            self._connection.close()
            _close(self._lock)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None) -> None:
        self.close()


def _close(lock: IO[str] | None) -> None:
    if lock is not None:
        lock.close()


def _reply(body: str) -> Reply:
    fields = json.loads(body)
    return Reply(**fields | {"logprobs": tuple(fields["logprobs"])})


def _lock(path: Path) -> IO[str]:
    file = path.with_name(path.name + ".lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "?"
        file.close()
        raise BusyError(f"{path}: process {holder} is writing to this ledger; wait for it, or use another run directory") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise DataError(f"{path}: not a ledger ({error}); move it away, or give another run directory") from None
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise DataError(
            f"{path}: written by a later Understudy (ledger version {version}, this one knows {len(MIGRATIONS)}); update it"
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    for version in range(_check_version(connection, path), len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        MIGRATIONS[version](connection)
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
