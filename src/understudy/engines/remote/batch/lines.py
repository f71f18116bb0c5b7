"""The requests that are asked in batches: who waits for them, what lines of a file they are, what the lines of its results say."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.core.asks import Answer, Reply, Request, Usage
from understudy.core.errors import AccountError, BudgetError, EngineError, UnpaidError
from understudy.engines.remote.batch.jobs import Job, JobStore, answer_in
from understudy.engines.remote.choices import refused
from understudy.engines.remote.endpoint import FILTERED, EndpointEngine, fitted
from understudy.engines.remote.wire import AgainError, DeniedError

_NEVER = {"stream": "", "stream_options": ""}


@dataclass
class File:
    """Lines for one batch: the ``requests`` of each by ledger key, and which ``keys`` stand behind a line."""

    requests: dict[str, Request] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass
class Taken:
    """What became of the lines of a batch: those ``seen``, the requests to ask ``again`` since theirs failed and those to ask
    ``otherwise``, how many lines were of none of them, and the error of the account after which no more are asked."""

    seen: set[str] = field(default_factory=set)
    again: dict[str, AgainError] = field(default_factory=dict)
    otherwise: list[str] = field(default_factory=list)
    unknown: int = 0
    stop: AccountError | None = None


class Wanted:
    """Requests that somebody waits for, ``collected`` for the next batch or in one; ``some`` is set when there is a new one, which
    came ``last`` at that time of the event loop."""

    def __init__(self, endpoint: EndpointEngine, store: JobStore) -> None:
        self.endpoint, self.store = endpoint, store
        self.waiting: dict[str, asyncio.Future[Reply]] = {}
        self.collected: dict[str, Request] = {}
        self.some, self.last = asyncio.Event(), 0.0
        self._without: dict[str, dict[str, str]] = {}
        self._alone: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._paid: Counter[str] = Counter()

    async def reply(self, key: str, request: Request, *, held: bool) -> Reply:
        """Wait for it; it is collected where no batch holds it."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting[key] = answer
        if not held:
            self.collect(key, request)
        try:
            return await answer
        finally:
            del self.waiting[key]
            if self.collected.pop(key, None) is not None:
                self.store.fail(key, UnpaidError("it was not sent"))

    def collect(self, key: str, request: Request) -> None:
        self.collected[key] = request
        self.last = asyncio.get_running_loop().time()
        self.some.set()

    def stop(self, error: Exception) -> None:
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def files(self, most: int, largest: int) -> Iterator[File]:
        """What is collected, in files of so many lines and bytes. What cannot be asked fails on its own."""
        file = File()
        for group in self._groups():
            requests = {key: self.collected[key] for key in group}
            line = self._line(group, requests)
            if file.lines and (len(file.lines) >= most or file.size + len(line) > largest):
                yield file
                file = File()
            file.requests |= requests
            file.keys[group[0]] = tuple(group)
            file.lines.append(line)
            file.size += len(line)
        if file.lines:
            yield file

    def _groups(self) -> list[list[str]]:
        """The collected keys by line, in the order of their paths: those that differ in nothing else share one, as many as the
        endpoint gives choices."""
        groups: list[list[str]] = []
        same: dict[Any, list[str]] = {}
        for key, request in list(self.collected.items()):
            try:
                self.endpoint.body(request)
                if not self.store.reserve(key, request):
                    raise BudgetError("the budget has no room for it: it was not asked")
            except EngineError as error:
                del self.collected[key]
                self.failed(key, error)
                continue
            otherwise = tuple(self._without.get(key, {}).items())
            alike = key if key in self._alone else (request.ask, request.decoding, request.attempt, otherwise)
            if alike not in same or len(same[alike]) >= self.endpoint.n:
                same[alike] = []
                groups.append(same[alike])
            same[alike].append(key)
        return [sorted(group, key=lambda key: self.collected[key].path) for group in groups]

    def _line(self, group: list[str], requests: Mapping[str, Request]) -> bytes:
        path, body = self.endpoint.body(requests[group[0]])
        body = fitted(body, len(group), _NEVER | self.endpoint.without | self._without.get(group[0], {}))
        return json.dumps({"custom_id": group[0], "method": "POST", "url": f"/v1/{path}", "body": body}).encode() + b"\n"

    def take(self, job: Job, line: Mapping[str, Any], taken: Taken) -> None:
        """One line of the results of ``job``, in whatever order they come, or once more."""
        name = line.get("custom_id")
        group = job.keys.get(name, ()) if isinstance(name, str) else ()
        if not isinstance(name, str) or not group:
            taken.unknown += 1
        elif name not in taken.seen:
            taken.seen.add(name)
            self._take(job, group, line, taken)

    def _take(self, job: Job, group: tuple[str, ...], line: Mapping[str, Any], taken: Taken) -> None:
        requests = [job.requests[key] for key in group]
        try:
            answer = answer_in(line, requests, job, self.endpoint)
        except AccountError as error:  # what the other lines say was paid for all the same
            taken.stop = error
            taken.again |= dict.fromkeys(group, AgainError(str(error)))
        except AgainError as error:
            taken.again |= dict.fromkeys(group, error)
        except DeniedError as error:
            if error.named & FILTERED:
                self._answered(job, group, Answer((refused(error.said),) * len(group), Usage(1, 0, 0)))
                return
            known = self._without.get(group[0], {})
            spared = self.endpoint.spared(error, self.endpoint.body(requests[0])[1], known)
            if not spared and len(group) == 1:
                self.failed(group[0], error)
                return
            if spared:
                self._without |= dict.fromkeys(group, known | spared)
            else:
                self._alone |= set(group)
            taken.otherwise += group
        except EngineError as error:
            for key in group:
                self.failed(key, error)
        else:
            self._answered(job, group, answer)
            taken.otherwise += group[len(answer.replies) :]

    def _answered(self, job: Job, group: tuple[str, ...], answer: Answer) -> None:
        for address in self.endpoint.addresses:
            if address.url == job.url and len(group) > 1 and address.takes_n is None:
                address.takes_n = len(answer.replies) > 1
        usage = Usage(self._tries[group[0]], 0, 0, self._paid[group[0]]) + answer.usage
        for key, reply in zip(group, answer.replies, strict=False):
            self.store.put(key, reply, job.requests[key], usage)
            usage = usage.along
            self.endpoint.without |= self._without.pop(key, {})
            waiter = self.waiting.get(key)
            if waiter is not None and not waiter.done():
                waiter.set_result(reply)

    def failed(self, key: str, error: EngineError) -> None:
        """It has got no reply, and is not asked again."""
        self.store.fail(key, error)
        waiter = self.waiting.get(key)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def may_try(self, key: str, error: AgainError) -> bool:
        """Whether a request without an answer goes into the next batch; where it does not, it has failed."""
        if key not in self.waiting:  # nobody wants it any more
            self.failed(key, UnpaidError(str(error)))
            return False
        self._tries[key] += 1
        self._paid[key] += error.paid
        if self._tries[key] > self.endpoint.retries:
            kind = EngineError if self._paid[key] else UnpaidError
            self.failed(key, kind(f"{error} ({self._tries[key]} tries)", Usage(self._tries[key], 0, 0, self._paid[key])))
            return False
        return True
