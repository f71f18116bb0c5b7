"""How fast an address is asked: as many requests at once as it bears, no more a minute than it allows, and none while it is down.

What it bears is found as TCP finds what a line bears: slow start, then one more each round at most, and less at each refusal (429).
The start and the shrinking are those of inspect_ai (docs/models-concurrency.qmd). A server's fault (5xx) says nothing of load and
shrinks nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

START = 20
"""Requests at once in the beginning; each answer makes room for one more, so they double each round."""
GROWTH = 0.05
"""By so much an answer makes room after the slow start, or by one a round where that is less: so an address that bears one request
at a time refuses one in twenty, not every other one."""
SHRINK = 0.8
"""What is left of the requests at once after a refusal; half, where the slow start went too far."""
DEAD = 3
"""So many faults in a row, and an address is left for a while."""
REST = 15.0
"""Seconds for which it is left; then one request sees whether it is back."""


class Pace:
    """Lets requests to one address go, first come, first served, and those that were refused before all others.

    ``requests`` and ``tokens``: what it may be sent in a minute, None where nobody counts. They are spread evenly, so that no
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
        """Whether nobody may go at present, and the requests under way and waiting, in parts of what the address bears."""
        return _now() < self._paused, (self.active + len(self._waiting)) / self.limit

    async def enter(self, tokens: int, *, again: bool = False) -> int:
        """Wait until a request of about so many ``tokens`` may go; its number is for `throttled`. `leave` must follow."""
        if not self._waiting and self.active < int(self.limit) and max(self._next, self._paused) <= (now := _now()):
            return self._go(now, tokens)
        place: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if again else self._waiting.append)((place, tokens))
        self._admit()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(tokens, tokens)
            raise

    def leave(self, expected: int, tokens: int) -> None:
        """A request is over that was ``expected`` to take so many tokens and took ``tokens``."""
        self.active -= 1
        self._next -= self._seconds(expected) - self._seconds(tokens)
        self._admit()

    def answered(self) -> None:
        """Called before `leave`: the address bears what it was sent; where that was all it was allowed, it is allowed more."""
        if self.active >= int(self.limit):
            self.limit += 1.0 if self._slow_start else min(GROWTH, 1.0 / self.limit)

    def throttled(self, number: int, wait: float) -> None:
        """Request ``number`` was refused; nobody goes for ``wait`` seconds. Those refused that went before the last shrinking tell
        nothing new."""
        if number > self._shrunk:
            self.limit = max(1.0, min(self.limit, self.active) * (0.5 if self._slow_start else SHRINK))
            self._slow_start, self._shrunk = False, self._sent
        self._paused = max(self._paused, _now() + wait)

    def _seconds(self, tokens: int) -> float:
        """What a request of so many tokens takes of the minute."""
        each = 60.0 / self.requests if self.requests else 0.0
        return max(each, 60.0 * tokens / self.tokens) if self.tokens else each

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self.active < int(self.limit):
            place, tokens = self._waiting[0]
            now = _now()
            wait = max(self._next, self._paused) - now
            if wait > 0 and not place.done():
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._waiting.popleft()
            if not place.done():  # done: nobody waits for it any more
                place.set_result(self._go(now, tokens))

    def _go(self, now: float, tokens: int) -> int:
        """One more is under way; its number."""
        self.active += 1
        self._sent += 1
        self._next = max(self._next, now) + self._seconds(tokens)
        return self._sent


@dataclass(eq=False)
class Address:
    """A place where a teacher is served: its ``url``, how fast it is asked, and whether it is down."""

    url: str
    pace: Pace
    faults: int = 0
    rests: float = 0.0
    mute: float = math.inf
    """Since when it has done nothing but refuse."""
    well: bool = False
    """Whether it ever answered."""
    takes_n: bool | None = None
    """Whether it gives several choices in one answer, as a probe found or the first of them shows; None where that is not known."""

    def answered(self) -> None:
        self.faults, self.mute, self.rests, self.well = 0, math.inf, 0.0, True
        self.pace.answered()

    def silent(self, wait: float) -> float:
        """It refused a request and asks to ``wait`` seconds: for how long nobody will have got an answer then."""
        self.mute = min(self.mute, _now())
        return _now() + wait - self.mute

    def failed(self) -> None:
        self.faults += 1
        if self.faults >= DEAD:
            self.rests = _now() + REST


def choose(addresses: Sequence[Address], avoid: Address | None) -> Address:
    """The address with most room among those that are up; another than ``avoid``, where the request just failed, if it can be."""
    now = _now()
    if len(addresses) == 1:
        return addresses[0]
    up = [address for address in addresses if address.rests <= now] or [min(addresses, key=lambda a: a.rests)]
    chosen = min([a for a in up if a is not avoid] or up, key=lambda a: a.pace.load)
    if chosen.faults >= DEAD:
        chosen.rests = now + REST
    return chosen


def _now() -> float:
    return asyncio.get_running_loop().time()
