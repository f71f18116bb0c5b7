"""Keep chains that are too many for memory on disk, and give them back in order."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator

from understudy.core.values import Chain, from_json


class Spool:
    """Chains in a temporary file, which disappears with this object. Iterate as often as you like: by place and number."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute("PRAGMA journal_mode = OFF")  # never rolled back
        self._file.execute("CREATE TABLE chains (at INTEGER PRIMARY KEY, chain TEXT)")

    def __del__(self) -> None:
        self._file.close()

    def put(self, position: int, number: int, chain: Chain) -> None:
        """Keep ``chain``. ``position`` is that of its problem. No other chain there may have the same ``number``, which is from -1
        to 2**32 - 2. Raises OSError if the disk is full."""
        row = (position << 32) + number, json.dumps(vars(chain), default=dataclasses.asdict)
        try:
            self._file.execute("INSERT INTO chains VALUES (?, ?)", row)
        except sqlite3.OperationalError as error:
            hint = f"the chains ({len(self):,} so far) are in a temporary file: {error}; set TMPDIR to a directory with more space"
            raise OSError(hint) from error

    def __len__(self) -> int:
        return self._file.total_changes

    def __iter__(self) -> Iterator[Chain]:
        for (text,) in self._file.execute("SELECT chain FROM chains ORDER BY at"):
            yield from_json(Chain, json.loads(text))
