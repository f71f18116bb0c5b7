"""The ledger's file: who may write to it, how it is opened, and its tables."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path

from understudy.core.errors import DataError

VERSION = 6
"""The version of the tables, as ``PRAGMA user_version``."""
PATIENCE = 30.0
"""Seconds to wait for another program's lock."""


def find_lock(path: Path) -> Path:
    """Return the lock file that a writer of the ledger ``path`` holds."""
    return path.with_name(path.name + ".lock")


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into DataError if the file ``path`` is no ledger, OSError if it cannot be used now. The ledger was paid
    for, so no message says to remove it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            hint = "nothing was changed: restore a copy of it, or use another run directory"
            raise DataError(f"{path}: is not a ledger, or is damaged ({error}); {hint}") from error
        reason = f"cannot be used ({error}); is the disk full? is it read-only?"
        if re.match("SQLITE_(BUSY|LOCKED|PROTOCOL|IOERR_.*LOCK)", name):
            reason = f"is locked by another program, or is on a file system without locks ({error})"
        raise OSError(None, reason, str(path)) from error


def open_database(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the file, so that every commit is durable; a new one gets its tables. Raises the errors of `name_errors`, and DataError
    if it is a ledger of another version."""
    with name_errors(path):
        try:
            return _connect(path, "mode=ro" if readonly else "mode=rwc")
        except sqlite3.OperationalError:
            wal = path.with_name(f"{path.name}-wal")
            if not readonly or not path.is_file() or (wal.is_file() and wal.stat().st_size):
                raise
            # In a read-only directory, SQLite cannot make its own files either, and needs none.
            return _connect(path, "mode=ro&immutable=1")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=PATIENCE)
    with ExitStack() as cleanup:
        cleanup.callback(connection.close)
        if mode == "mode=rwc":
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")  # a page that is written many times is copied once
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                tables = (files("understudy.sampling") / "ledger.sql").read_text(encoding="utf-8")
                connection.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {VERSION}; COMMIT")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        detail = f"ledger version {version}, this one knows {VERSION}"
        if version > VERSION:
            raise DataError(f"{path}: written by a later Understudy ({detail}); update Understudy")
        if version < VERSION:
            # The last commit that brings older ledgers up to this version.
            raise DataError(f"{path}: written by an earlier Understudy ({detail}); run `understudy sample` of commit 6b91b0b once")
        cleanup.pop_all()
    return connection


def close_intents(connection: sqlite3.Connection, now: float) -> None:
    """Settle the requests that were under way when their process ended: those in batches still are, those that were meant for one
    were not sent, all others are lost."""
    unsettled = "outcome IS NULL AND key NOT IN (SELECT key FROM batched)"
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"""UPDATE intents SET requests = 0, read = 0, written = 0, money = 0, outcome = 'refused', error = 'it was not sent',
                ended = ? WHERE {unsettled} AND number > (SELECT since FROM collecting WHERE collecting.engine = intents.engine)""",  # noqa: S608
            (now,),
        )
        connection.execute(f"UPDATE intents SET outcome = 'lost', ended = ? WHERE {unsettled}", (now,))  # noqa: S608
        connection.execute("DELETE FROM collecting")


def read_capabilities(reader: sqlite3.Connection) -> dict[str, dict[str, dict[str, str]]]:
    """Read what was found out about endpoints: engine -> url -> name -> value, each in order of names."""
    facts: dict[str, dict[str, dict[str, str]]] = {}
    for engine, url, name, value in reader.execute("SELECT engine, url, name, value FROM capabilities ORDER BY engine, url, name"):
        facts.setdefault(engine, {}).setdefault(url, {})[name] = value
    return facts
