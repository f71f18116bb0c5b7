"""The ledger's file: who may write to it, how it is opened, and the history of its tables."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import sqlite3
from pathlib import Path
from typing import IO

from understudy.core.errors import BusyError, DataError


def _first(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE replies (
            key TEXT PRIMARY KEY, engine TEXT NOT NULL, request TEXT NOT NULL, path INTEGER NOT NULL, attempt INTEGER NOT NULL,
            seed INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL, reply TEXT NOT NULL, at REAL NOT NULL
        ) WITHOUT ROWID"""
    )


def _second(connection: sqlite3.Connection) -> None:
    """Intents: what was sent, and what it counts as (``read``, ``written``, ``money``): what was set aside for it, until its reply
    says what it took. ``outcome``: NULL under way, ``reply``, ``failed``, ``refused`` (nothing was paid), ``lost`` (the process
    ended before its reply). ``money`` NULL: it had no price."""
    connection.execute(
        """CREATE TABLE intents (
            number INTEGER PRIMARY KEY, key TEXT NOT NULL, engine TEXT NOT NULL, problem TEXT, role TEXT NOT NULL,
            path INTEGER NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL, read INTEGER NOT NULL, written INTEGER NOT NULL,
            money REAL, outcome TEXT, error TEXT, ended REAL
        )"""
    )
    connection.execute("CREATE INDEX under_way ON intents (number) WHERE outcome IS NULL")
    # Only an endpoint's replies have their raw answer with them: those were paid for.
    connection.execute(
        """INSERT INTO intents (key, engine, problem, role, path, attempt, at, read, written, outcome, ended)
            SELECT key, engine, problem, role, path, attempt, at, coalesce(json_extract(reply, '$.prompt_tokens'), 0),
                coalesce(json_extract(reply, '$.tokens'), 0), 'reply', at
            FROM replies WHERE json_extract(reply, '$.raw') IS NOT NULL"""
    )


def _third(connection: sqlite3.Connection) -> None:
    """``requests``: how many were sent for it, none where its reply came with another in one answer."""
    connection.execute("ALTER TABLE intents ADD COLUMN requests INTEGER NOT NULL DEFAULT 1")
    connection.execute("UPDATE intents SET requests = 0, read = 0, written = 0, money = 0 WHERE outcome = 'refused'")


def _fourth(connection: sqlite3.Connection) -> None:
    """A prompt is kept once for the replies to it that come one after another, and rows are appended: keys are hashes, so a table
    in their order is written all over. Who opens a ledger looks through all intents once, so they need no index."""
    connection.execute("CREATE TABLE requests (number INTEGER PRIMARY KEY, request TEXT NOT NULL)")
    connection.execute("INSERT INTO requests (request) SELECT DISTINCT request FROM replies")
    connection.execute("CREATE TEMP TABLE numbers AS SELECT request, number FROM requests")
    connection.execute("CREATE INDEX temp.by_request ON numbers (request)")
    connection.execute("ALTER TABLE replies RENAME TO old_replies")
    connection.execute(
        """CREATE TABLE replies (
            key TEXT PRIMARY KEY, engine TEXT NOT NULL, request INTEGER NOT NULL REFERENCES requests (number),
            path INTEGER NOT NULL, attempt INTEGER NOT NULL, seed INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL,
            reply TEXT NOT NULL, at REAL NOT NULL
        )"""
    )
    connection.execute(
        """INSERT INTO replies SELECT key, engine, number, path, attempt, seed, problem, role, reply, at
            FROM old_replies JOIN numbers USING (request)"""
    )
    connection.execute("DROP TABLE old_replies")
    connection.execute("DROP TABLE numbers")
    connection.execute("DROP INDEX under_way")


def _batches(connection: sqlite3.Connection) -> None:
    """Batches, each by the ``tag`` that we gave it, with the ids of its ``file`` and its own ("" until the server said them), and
    the requests ``batched`` in those that have not ended. ``collecting``: an engine whose intents with a number above ``since`` go
    out in batches only, so that those in none of them were not sent."""
    connection.execute(
        """CREATE TABLE batches (
            tag TEXT PRIMARY KEY, engine TEXT NOT NULL, url TEXT NOT NULL, file TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
            ended REAL
        )"""
    )
    connection.execute(
        """CREATE TABLE batched (
            batch TEXT NOT NULL, key TEXT NOT NULL, line TEXT NOT NULL, request TEXT NOT NULL, path INTEGER NOT NULL,
            attempt INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL, PRIMARY KEY (batch, key)
        ) WITHOUT ROWID"""
    )
    connection.execute("CREATE TABLE collecting (engine TEXT PRIMARY KEY, since INTEGER NOT NULL)")


def _capabilities(connection: sqlite3.Connection) -> None:
    """What an endpoint was found to do with what it is sent (`engines.remote.probe`): ``url`` is the address of ``engine``."""
    connection.execute(
        """CREATE TABLE capabilities (
            engine TEXT NOT NULL, url TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,
            PRIMARY KEY (engine, url, name)
        ) WITHOUT ROWID"""
    )


MIGRATIONS = (_first, _second, _third, _fourth, _batches, _capabilities)
"""Schema history: the n-th brings a ledger of version n to version n + 1."""
APPENDED = MIGRATIONS.index(_fourth) + 1
"""The version that first had replies in the order in which they came."""
INTENTS = 3
"""The version that first says of all requests what they took."""
BATCHES = MIGRATIONS.index(_batches) + 1
"""The version that first had batches."""


def lock(path: Path) -> IO[str]:
    """Hold the ledger ``path`` for writing, with the number of the process to interrupt and of this one in the file beside it.
    Raises BusyError where one does."""
    file = _lock_of(path).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = (file.read().split() or ["?"])[0]
        file.close()
        raise BusyError(f"{path}: process {holder} is writing to this ledger; wait for it, or use another run directory") from None
    file.truncate(0)
    # Where a stage runs in a process of its own, the one to interrupt is its parent, which holds the run directory.
    parent = multiprocessing.parent_process()
    file.write(f"{parent.pid if parent else os.getpid()} {os.getpid()}")
    file.flush()
    return file


def unlock(file: IO[str] | None) -> None:
    if file is not None:
        file.truncate(0)
        file.close()


def writer(path: Path) -> int | None:
    """The process to interrupt so that nobody writes to the ledger ``path`` (`lock`); None where nobody does."""
    try:
        found = list(map(int, _lock_of(path).read_text().split()))
        os.kill(found[-1], 0)
    except (OSError, ValueError, IndexError):
        return None
    return found[0]


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the file. Raises DataError where it is no ledger."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise DataError(f"{path}: is not a ledger ({error}); move it away, or give another run directory") from None
    return connection


def close_intents(connection: sqlite3.Connection, at: float) -> None:
    """Say what became of the requests that were under way when their process ended: those in batches still are, those that were to
    go into one were not sent, all others are lost."""
    connection.execute("BEGIN IMMEDIATE")
    held = "outcome IS NULL AND key NOT IN (SELECT key FROM batched)"
    if connection.execute("SELECT count(*) FROM collecting").fetchone()[0]:
        connection.execute(
            f"""UPDATE intents SET requests = 0, read = 0, written = 0, money = 0, outcome = 'refused', error = 'it was not sent',
                ended = ? WHERE {held} AND number > (SELECT since FROM collecting WHERE collecting.engine = intents.engine)""",  # noqa: S608
            (at,),
        )
    connection.execute(f"UPDATE intents SET outcome = 'lost', ended = ? WHERE {held}", (at,))  # noqa: S608
    connection.execute("DELETE FROM collecting")
    connection.execute("COMMIT")


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of its tables. Raises DataError for one that this Understudy does not know."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise DataError(
            f"{path}: was written by a later Understudy (ledger version {version}, this one knows {len(MIGRATIONS)}); "
            "update Understudy"
        )
    return version


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make it durable at every commit, and bring it to the newest version: one transaction for each."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=4000")  # pages that are written again and again are copied once
    for version in range(version_of(connection, path), len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        MIGRATIONS[version](connection)
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")


def capabilities(reader: sqlite3.Connection) -> dict[str, dict[str, dict[str, str]]]:
    """What was found of endpoints: engine -> url -> name -> value, each by name; {} in an older ledger."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    if reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'capabilities'").fetchone():
        for engine, url, name, value in reader.execute(
            "SELECT engine, url, name, value FROM capabilities ORDER BY engine, url, name"
        ):
            found.setdefault(engine, {}).setdefault(url, {})[name] = value
    return found
