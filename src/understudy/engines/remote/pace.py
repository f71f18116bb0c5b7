"""How fast an address is asked: as many requests at once as it accepts, no more a minute than it allows, and none while it is down.

It finds how many at once as TCP finds the capacity of a line: a slow start, then at most one more each round, and fewer after each
refusal (429) or answer that does not come in time. Start and shrinking are those of inspect_ai (docs/models-concurrency.qmd).
A server's other faults (5xx) say nothing about its load and shrink nothing.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

START = 20
"""Requests at once in the beginning. Each answer makes room for one more, so they double each round."""
GROWTH = 0.05
"""How much an answer raises the limit after the slow start, by at most one request a round. So an address that accepts one request
at a time refuses one in twenty, not every second one."""
SHRINK = 0.8
"""The share of the requests at once that is left after a refusal; half if the slow start went too far."""
DEAD = 3
"""Faults in a row after which an address is left alone for a while."""
REST = 15.0
"""Seconds for which it is left alone; then one request tries whether it is back."""
GONE = 100
"""Faults in a row after which it is given up, if it cannot be reached."""


class Pace:
    """Decides when requests to one address go: first come, first served, but those that were refused before all others.

    ``requests`` and ``tokens``: how many may be sent in a minute, None for no limit. They are spread evenly, so that no
    window of a minute holds more.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        self.requests, self.tokens = requests, tokens
        self.limit = float(START)
        self.active = 0
        self._slow_start = True
        self._sent = self._shrunk = 0
        self._next = self._paused = 0.0
        self._waiting: deque[tuple[asyncio.Future[int], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def load(self) -> tuple[bool, float]:
        """Whether no request may go now, and the requests under way and waiting as a share of what the address accepts."""
        return _now() < self._paused, (self.active + len(self._waiting)) / self.limit

    async def enter(self, tokens: int, *, is_retry: bool = False) -> int:
        """Wait until a request of about this many ``tokens`` may go. Returns its number, for `shrink`; `leave` must follow."""
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if is_retry else self._waiting.append)((turn, tokens))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(tokens, tokens)
            raise

    def leave(self, expected: int, tokens: int) -> None:
        """Note the end of a request that was ``expected`` to take so many tokens and took ``tokens``."""
        self.active -= 1
        self._next -= self._compute_share(expected) - self._compute_share(tokens)
        self._admit()

    def grow(self) -> None:
        """Note an answer; call this before `leave`. If as many requests are under way as the limit allows, the limit rises."""
        if self.active >= int(self.limit):
            self.limit += 1.0 if self._slow_start else min(GROWTH, 1.0 / self.limit)

    def shrink(self, number: int, wait: float) -> None:
        """Note that request ``number`` was refused; no request goes for ``wait`` seconds. Refusals of requests that were sent
        before the last shrinking say nothing new."""
        if number > self._shrunk:
            self.limit = max(1.0, min(self.limit, self.active) * (0.5 if self._slow_start else SHRINK))
            self._slow_start, self._shrunk = False, self._sent
        self._paused = max(self._paused, _now() + wait)

    def _compute_share(self, tokens: int) -> float:
        """Return the part of the minute that a request of so many tokens takes, in seconds."""
        interval = 60.0 / self.requests if self.requests else 0.0
        return max(interval, 60.0 * tokens / self.tokens) if self.tokens else interval

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self.active < int(self.limit):
            turn, tokens = self._waiting[0]
            now = _now()
            wait = max(self._next, self._paused) - now
            if wait > 0 and not turn.done():
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._waiting.popleft()
            if not turn.done():  # done: nobody waits for it
                self.active += 1
                self._sent += 1
                self._next = max(self._next, now) + self._compute_share(tokens)
                turn.set_result(self._sent)


@dataclass(eq=False)
class Address:
    """One address of a teacher: its ``url``, how fast it is asked, and whether it is down."""

    url: str
    pace: Pace
    faults: int = 0
    rests_until: float = 0.0
    refusing_since: float = math.inf
    """The time since which it has only refused."""
    has_answered: bool = False
    """Whether it ever answered."""
    told: bool = False
    """Whether a person was told that it only refuses."""
    takes_n: bool | None = None
    """Whether it gives several choices in one answer, as a probe or the first such answer showed; None if that is not known."""

    def note_answer(self) -> None:
        self.faults, self.refusing_since, self.rests_until, self.has_answered, self.told = 0, math.inf, 0.0, True, False
        self.pace.grow()

    def note_refusal(self, wait: float) -> float:
        """Note that it refused a request and asks to ``wait`` so many seconds. Returns the seconds without any answer, that wait
        included."""
        self.refusing_since = min(self.refusing_since, _now())
        return _now() + wait - self.refusing_since

    def note_fault(self) -> int:
        """Note a fault; returns how many came in a row."""
        self.faults += 1
        if self.faults >= DEAD:
            self.rests_until = _now() + REST
        return self.faults


def choose_address(addresses: Sequence[Address], avoid: Address | None) -> Address:
    """Choose the address with most room among those that are up; if possible not ``avoid``, where the request just failed."""
    now = _now()
    available = [address for address in addresses if address.rests_until <= now] or [min(addresses, key=lambda a: a.rests_until)]
    chosen = min([a for a in available if a is not avoid] or available, key=lambda a: a.pace.load)
    if chosen.faults >= DEAD:
        chosen.rests_until = now + REST
    return chosen


def _now() -> float:
    return asyncio.get_running_loop().time()
