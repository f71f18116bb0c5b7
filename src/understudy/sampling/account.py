"""How far a sampling is, told while it goes on: to whoever runs it, and in a file to whoever looks from outside."""

from __future__ import annotations

import json
import time
from collections import deque
from types import TracebackType

from understudy.sampling.budget import amount
from understudy.sampling.ledger import Ledger

RECENT = 60.0
"""Seconds over which a rate is taken."""
EVERY = 0.5
"""Seconds between two writings of the file."""
FILE = "sampling.json"
"""Beside the ledger."""


class Account:
    """Counts the chains of one sampling, ``total`` of them, that end over ``store``; use it as a context."""

    def __init__(self, store: Ledger, total: int) -> None:
        self.store, self.total = store, total
        self.done = self.bought = 0
        self._before = store.spent
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._written = 0.0

    def ended(self, *, bought: bool) -> None:
        """One more chain has come, or failed; ``bought``: not out of the ledger alone."""
        self.done += 1
        self.bought += bought
        if time.monotonic() - self._written > EVERY:
            self._write()

    def told(self) -> str:
        """What is spent, and what all will take at the mean of what was bought now; "" where nothing was paid for."""
        spent = self.store.settled
        if not spent.requests:
            return ""
        now = spent - self._before
        left = (self.total - self.done) / max(self.bought, 1)
        if self.store.price is None:
            so_far, in_all = amount(spent.tokens), amount(round(spent.tokens + left * now.tokens))
            unit = "tokens"
        else:
            so_far, in_all = amount(spent.money), amount(spent.money + left * now.money)
            unit = "money"
        return f"{so_far} {unit}, about {in_all} in all" if self.bought else f"{so_far} {unit}"

    def _write(self) -> None:
        now = self._written = time.monotonic()
        self._recent.append((now, self.done))
        while len(self._recent) > 2 and now - self._recent[0][0] > RECENT:
            self._recent.popleft()
        since, before = self._recent[0]
        rate = (self.done - before) / (now - since) if now > since else 0.0
        path = self.store.path.with_name(FILE)
        temporary = path.with_name(f".{FILE}.tmp")
        temporary.write_text(json.dumps({"chains": self.done, "total": self.total, "rate": rate}), encoding="utf-8")
        temporary.replace(path)

    def __enter__(self) -> Account:
        self._write()
        return self

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None) -> None:
        if not isinstance(error, OSError):
            self._write()
