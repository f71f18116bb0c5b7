"""Chains that are too many for memory: they wait on disk, and come back in order."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator

from understudy.core.values import Chain, from_json


class Spool:
    """Chains in a temporary file, which is gone with this object. Iteration, as often as wanted, gives them by place and number."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute("PRAGMA journal_mode = OFF")  # never rolled back
        self._file.execute("CREATE TABLE chains (at INTEGER PRIMARY KEY, chain TEXT)")

    def put(self, place: int, number: int, chain: Chain) -> None:
        """Keep ``chain``. ``place`` is that of its problem, and ``number``, from -1 to 2**32 - 2, no other chain there has. Raises
        OSError where the disk is full."""
        row = (place << 32) + number, json.dumps(vars(chain), default=dataclasses.asdict)
        try:
            self._file.execute("INSERT INTO chains VALUES (?, ?)", row)
        except sqlite3.OperationalError as error:
            full = f"the chains, {len(self):,} so far, wait in a temporary file: {error}; set TMPDIR to a directory with more room"
            raise OSError(full) from error

    def __len__(self) -> int:
        return self._file.total_changes

    def __iter__(self) -> Iterator[Chain]:
        for (text,) in self._file.execute("SELECT chain FROM chains ORDER BY at"):
            yield from_json(Chain, json.loads(text))
