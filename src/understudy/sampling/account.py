"""The progress of a sampling, shown to whoever runs it and written to a file for other processes."""

import json
import time
from collections import deque
from typing import Any, Self

from understudy.flows.board import Done
from understudy.sampling.budget import NOTHING, Spend, amount
from understudy.sampling.ledger import Ledger

RECENT = 60.0
"""Seconds over which a rate is taken."""
FILE = "sampling.json"
"""The file, next to the ledger."""
ESTIMATE_MINIMUM = 20
"""Bought chains from which on the total cost is estimated."""


class Account:
    """Counts the ``total`` chains of one sampling over ``store`` as they end: those ``received``, those that ``failed``, and
    those that were not asked for (``unasked``) because the budget was spent or the teacher stopped answering. ``trial``: it writes
    no file. Use it as a context."""

    def __init__(self, store: Ledger, total: int, *, trial: bool = False) -> None:
        self.store, self.total, self.trial = store, total, trial
        self.received = self.failed = self.unasked = self.bought = 0
        self._at_start = self._last_settled = NOTHING
        self._total_cost: float | None = None
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._last_write = 0.0

    @property
    def done(self) -> int:
        """Chains that were asked for and have ended."""
        return self.received + self.failed

    @property
    def _remaining(self) -> int:
        return self.total - self.done - self.unasked

    def begin(self) -> None:
        """Begin to count: what the store has spent so far, for instance on a probe, was not spent on chains."""
        self._at_start = self._last_settled = self.store.settled

    def note(self, done: Done[Any]) -> None:
        """Note one more chain that came, failed or was not asked for."""
        self._estimate()
        self.received += done.value is not None
        self.unasked += done.unasked
        self.failed += done.value is None and not done.unasked
        self.bought += done.bought and not done.unasked
        if time.monotonic() - self._last_write > 0.5:  # the file is written at most twice a second
            self._write()

    def _estimate(self) -> None:
        """Estimate the total cost. Many replies arrive at once, and their chains end one by one after all of them are paid for. So
        the sums of money and of chains match only just before the next replies are paid for."""
        settled = self.store.settled
        if settled.requests < self._last_settled.requests:  # a batch of an earlier process is continued, so it is under way again
            self._at_start += settled - self._last_settled
            self._last_settled = settled
        if settled != self._last_settled:
            if self.bought >= ESTIMATE_MINIMUM:
                cost = self._measure(self._last_settled)
                self._total_cost = cost + self._remaining / self.bought * (cost - self._measure(self._at_start))
            self._last_settled = settled

    def _measure(self, spend: Spend) -> float:
        return spend.tokens if self.store.price is None else spend.money

    def summary(self) -> str:
        """Say what is spent; once some chains were bought, the total cost at their mean; how many failed or were not asked for."""
        phrases, priced = [], self.store.price is not None
        if self.store.settled.requests:
            total = amount(self._total_cost if priced else round(self._total_cost)) if self._total_cost and self._remaining else ""
            spent = f"{amount(self._measure(self.store.settled))}{f' of about {total}' if total else ''}"
            phrases.append(f"{spent} {'money' if priced else 'tokens'}")
        phrases += [f"{count:,} {name}" for name, count in (("failed", self.failed), ("not asked", self.unasked)) if count]
        return ", ".join(phrases)

    def _write(self) -> None:
        if self.trial:
            return
        now = self._last_write = time.monotonic()
        self._recent.append((now, self.done))
        while len(self._recent) > 2 and now - self._recent[0][0] > RECENT:
            self._recent.popleft()
        start_time, start_count = self._recent[0]
        rate = (self.done - start_count) / (now - start_time) if now > start_time else 0.0
        path = self.store.path.with_name(FILE)
        state = {"chains": self.received, "chains_failed": self.failed, "chains_unasked": self.unasked, "total": self.total}
        temporary = path.with_name(f".{FILE}.tmp")
        temporary.write_text(json.dumps(state | {"rate": rate}), encoding="utf-8")
        temporary.replace(path)

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, _type: object, error: object, _traceback: object) -> None:
        if error is None:
            self.unasked = self.total - self.done
        if not isinstance(error, OSError):
            self._write()
