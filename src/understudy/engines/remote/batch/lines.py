"""The requests that go into batches: who waits for them, the lines of a file that they become, and what the lines of the results
say."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.core.asks import Answer, Reply, Request, Usage
from understudy.core.errors import AccountError, BudgetError, EngineError, UnpaidError
from understudy.engines.remote.batch.jobs import Job, JobStore, read_row
from understudy.engines.remote.choices import make_refusal
from understudy.engines.remote.endpoint import FILTERED, EndpointEngine, fit_body
from understudy.engines.remote.wire import AgainError, DeniedError

_NEVER = {"stream": "", "stream_options": ""}


@dataclass
class LineFile:
    """The lines of one batch, the ``requests`` in them by ledger key, and the ``keys`` behind each line by the line's name."""

    requests: dict[str, Request] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass
class Results:
    """What became of the lines of a batch: the names of those ``seen``; the requests to ask ``again``, since they failed, and those
    to ask ``otherwise``; the number of ``unknown`` lines; and the error of the account, after which nothing more is asked
    (``stop``)."""

    seen: set[str] = field(default_factory=set)
    again: dict[str, AgainError] = field(default_factory=dict)
    otherwise: list[str] = field(default_factory=list)
    unknown: int = 0
    stop: AccountError | None = None


class Pending:
    """The requests that somebody waits for. Each is ``collected`` for the next batch, or in a batch already.

    ``some`` is set when a request is collected, and ``last`` is the time of the event loop when the last one was."""

    def __init__(self, endpoint: EndpointEngine, store: JobStore) -> None:
        self.endpoint, self.store = endpoint, store
        self.waiting: dict[str, asyncio.Future[Reply]] = {}
        self.collected: dict[str, Request] = {}
        self.some, self.last = asyncio.Event(), 0.0
        self._without: dict[str, dict[str, str]] = {}
        self._alone: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._paid: Counter[str] = Counter()

    async def wait_for(self, key: str, request: Request, *, held: bool) -> Reply:
        """Wait for the reply; the request is collected where no batch holds it."""
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

    def make_files(self, most: int, largest: int) -> Iterator[LineFile]:
        """The collected requests in files of at most so many lines and bytes. A request that cannot be asked fails on its own."""
        file = LineFile()
        for group in self._groups():
            requests = {key: self.collected[key] for key in group}
            line = self._line(group, requests)
            if file.lines and (len(file.lines) >= most or file.size + len(line) > largest):
                yield file
                file = LineFile()
            file.requests |= requests
            file.keys[group[0]] = tuple(group)
            file.lines.append(line)
            file.size += len(line)
        if file.lines:
            yield file

    def _groups(self) -> list[list[str]]:
        """The collected keys of each line, in the order of their paths. Requests that differ only in their path share a line, as
        many as the endpoint gives choices."""
        groups: list[list[str]] = []
        same: dict[Any, list[str]] = {}
        for key, request in list(self.collected.items()):
            try:
                self.endpoint.body(request)
                if not self.store.reserve(key, request):
                    raise BudgetError("the budget has no room for it: it was not asked")
            except EngineError as error:
                del self.collected[key]
                self.fail(key, error)
                continue
            otherwise = tuple(self._without.get(key, {}).items())
            alike = key if key in self._alone else (request.ask, request.decoding, request.attempt, otherwise)
            if alike not in same or len(same[alike]) >= self.endpoint.n:
                same[alike] = []
                groups.append(same[alike])
            same[alike].append(key)
        return [sorted(group, key=lambda key: self.collected[key].path) for group in groups]

    def _line(self, group: list[str], requests: Mapping[str, Request]) -> bytes:
        without = _NEVER | self.endpoint.without | self._without.get(group[0], {})
        body = fit_body(self.endpoint.body(requests[group[0]]), len(group), without)
        line = {"custom_id": group[0], "method": "POST", "url": f"/v1/{self.endpoint.path}", "body": body}
        return json.dumps(line).encode() + b"\n"

    def read_line(self, job: Job, line: Mapping[str, Any], results: Results) -> None:
        """Take in one line of the results of ``job``. Lines come in any order, and perhaps twice."""
        name = line.get("custom_id")
        group = job.keys.get(name, ()) if isinstance(name, str) else ()
        if not isinstance(name, str) or not group:
            results.unknown += 1
        elif name not in results.seen:
            results.seen.add(name)
            self._read_line(job, group, line, results)

    def _read_line(self, job: Job, group: tuple[str, ...], line: Mapping[str, Any], results: Results) -> None:
        requests = [job.requests[key] for key in group]
        try:
            answer = read_row(line, requests, job, self.endpoint)
        except AccountError as error:  # the other lines were paid for all the same
            results.stop = error
            results.again |= dict.fromkeys(group, AgainError(str(error)))
        except AgainError as error:
            results.again |= dict.fromkeys(group, error)
        except DeniedError as error:
            if error.names & FILTERED:
                self._deliver(job, group, Answer((make_refusal(error.body),) * len(group), Usage(1, 0, 0)))
                return
            known = self._without.get(group[0], {})
            without = self.endpoint.spare(error, self.endpoint.body(requests[0]), known)
            if not without and len(group) == 1:
                self.fail(group[0], error)
                return
            if without:
                self._without |= dict.fromkeys(group, known | without)
            else:
                self._alone |= set(group)
            results.otherwise += group
        except EngineError as error:
            for key in group:
                self.fail(key, error)
        else:
            self._deliver(job, group, answer)
            results.otherwise += group[len(answer.replies) :]

    def _deliver(self, job: Job, group: tuple[str, ...], answer: Answer) -> None:
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

    def fail(self, key: str, error: EngineError) -> None:
        """The request got no reply and is not asked again."""
        self.store.fail(key, error)
        waiter = self.waiting.get(key)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def may_retry(self, key: str, error: AgainError) -> bool:
        """Whether a request without an answer goes into the next batch. Where it does not, it fails here."""
        if key not in self.waiting:  # nobody wants it any more
            self.fail(key, UnpaidError(str(error)))
            return False
        self._tries[key] += 1
        self._paid[key] += error.paid
        if self._tries[key] > self.endpoint.retries:
            kind = EngineError if self._paid[key] else UnpaidError
            self.fail(key, kind(f"{error} ({self._tries[key]} tries)", Usage(self._tries[key], 0, 0, self._paid[key])))
            return False
        return True
