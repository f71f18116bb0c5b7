"""Asks a teacher in batches: collects requests, uploads them as a file, and gets the answers within a day, at a lower price.

    waiting -> noted in the ledger -> uploaded -> made -> (looked at) -> ended: each line is read, the batch is forgotten

Each step is durable before the next, so after a kill the same command finds every batch again: by its id if it has one, by the tag
that we gave it if it was about to be made. The requests of a batch are sent nowhere else.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from understudy.core.asks import Answer, Request, T, Usage
from understudy.core.errors import RESUME_HINT, AccountError, BudgetError, EngineError, StudyError, UnpaidError
from understudy.core.protocols import Source
from understudy.engines.remote.batch import END_STATES, BatchApi, UnlistedError, count_lines, read_line, read_lines
from understudy.engines.remote.endpoint import EndpointEngine, fit_body
from understudy.engines.remote.wire import NO_CREDIT, DeniedError, RetryError, ThrottledError, shorten
from understudy.sampling.jobs import Job, end_job, note_collecting, note_job, read_jobs
from understudy.sampling.ledger import Ledger

Requests = Mapping[str, Request]
"""The requests of one line by their ledger keys."""

MAX_LINES = 50_000
"""Most lines of one batch: OpenAI's limit."""
MAX_WAITING = 2 * MAX_LINES
"""Requests that wait at once: while one full batch is read, the next is under way."""
PATIENCE = 3600.0
"""Seconds after which the run ends if the server does not report the state of a batch. The batch itself continues."""
_NO_STREAM = {"stream": "", "stream_options": ""}


@dataclass(eq=False)
class WaitingRequest:
    """A request that a flow waits for, and the result of its tries: ``usage`` of those that failed, the fields that it must be sent
    ``renames`` (`EndpointEngine.renames`), and whether it must have a line of its own (``has_own_line``)."""

    ticket: int
    request: Request
    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))
    renames: dict[str, str] = field(default_factory=dict)
    has_own_line: bool = False


@dataclass(eq=False)
class BatchEngine:
    """Asks ``endpoint`` in batches. It is a `LocalEngine` of the same identity; a reply is what the endpoint would give to a
    request of its own, except that its ``latency`` is None. It notes in ``ledger`` what it does; ``seed`` is recorded with replies.

    First it continues the batches of earlier processes that have not ended, and reads the results of those that have. The
    endpoint's ``report`` gets a line whenever a batch begins or ends. Requests that fail with a fault that may pass, or come back
    unanswered from a batch that expired, go into the next batch, as often as the endpoint's ``retries`` say. If the budget has no
    room for a request, it waits for what the batches under way leave of the budget.

    `serve` raises the endpoint's errors; StudyError if the server has no batches or rejects the file; AccountError if it does not
    answer for long, or somebody cancels a batch.
    """

    window: ClassVar[int] = MAX_WAITING

    endpoint: EndpointEngine
    ledger: Ledger
    seed: int
    max_lines: int = MAX_LINES
    max_bytes: int = 200_000_000  # of its file: OpenAI's limit

    def __post_init__(self) -> None:
        self.identity = self.endpoint.identity
        self._full = False

    def serve(self, source: Source) -> None:
        """Answer every request of ``source`` (`LocalEngine.serve`)."""
        asyncio.run(self._serve(source))

    def settle_earlier(self) -> None:
        """Read the results of batches of earlier processes, before requests go out on their own. Raises StudyError if one is still
        under way, because its requests would be paid for twice."""
        asyncio.run(self._resume())
        for job in self._jobs:
            reason = f"{job.size} are in {job} at {job.url} and would be paid for twice if sent one by one"
            raise StudyError(f"{reason}: collect them with `understudy sample` (teacher.batch = true), or cancel the batch there")

    async def _resume(self) -> None:
        """Find the batches of earlier processes and read those that have ended, before any flow waits for a reply."""
        self._waiting: dict[str, WaitingRequest] = {}
        self._jobs = read_jobs(self.ledger, self.identity, {address.url for address in self.endpoint.addresses})
        async with self.endpoint:
            await self._check_jobs()

    async def _serve(self, source: Source) -> None:
        self._source = source
        await self._resume()
        for job in self._jobs:
            self.endpoint.report(f"{job}: {job.size} are under way; continued")
        note_collecting(self.ledger, self.identity)
        async with self.endpoint:
            try:
                while self._take():
                    await self._send()
                    if self._jobs:
                        await asyncio.sleep(self.endpoint.options.poll)
                        await self._check_jobs()
            finally:
                for key in self._list_unbatched():
                    self.ledger.fail(key, UnpaidError("it was not sent"))

    def _take(self) -> bool:
        """Take the requests of flows, as many as may wait at once. Returns whether any waits."""
        while taken := self._source.take(MAX_WAITING - len(self._waiting)):
            for ticket, request in taken:
                key = request.key(self.identity)
                reply = self.ledger.get(key)  # it may have arrived with an earlier batch meanwhile
                if reply is None:
                    self._waiting[key] = WaitingRequest(ticket, request)
                else:
                    self._source.give(ticket, reply)
        return bool(self._waiting)

    def _list_unbatched(self) -> list[str]:
        """List the keys that wait and are in no batch."""
        batched = {key for job in self._jobs for key in job.keys}
        return [key for key in self._waiting if key not in batched]

    # A new batch

    async def _send(self) -> None:
        """Put the requests that are in no batch into new ones, as far as the budget has room."""
        if self._full and self._jobs:  # wait until one of the others ends
            return
        unbatched = self._list_unbatched()
        reserved = [key for key in unbatched if self.ledger.reserve(key, engine=self.identity, request=self._waiting[key].request)]
        if not reserved and not self._jobs:  # no batch under way can give any back
            for key in unbatched:
                self._fail(key, BudgetError("the budget has no room for it, so it was not sent"))
        for job, content in self._make_jobs(reserved):
            await self._submit(job, content)

    def _make_jobs(self, keys: Iterable[str]) -> Iterator[tuple[Job, bytes]]:
        """Make batches of these requests, each with the content of its file, within the limits of lines and bytes."""
        url, content = self.endpoint.addresses[0].url, bytearray()
        job = Job(self.identity, url)
        for group in self._make_groups(keys):
            first, name = self._waiting[group[0]], group[0]
            body = fit_body(self.endpoint.build_body(first.request), len(group), _NO_STREAM | self.endpoint.renames | first.renames)
            row = {"custom_id": name, "method": "POST", "url": f"/v1/{self.endpoint.path}", "body": body}
            line = json.dumps(row).encode() + b"\n"
            if content and (len(job.lines) >= self.max_lines or len(content) + len(line) > self.max_bytes):
                yield job, bytes(content)
                job, content = Job(self.identity, url), bytearray()
            job.lines[name] = {key: self._waiting[key].request for key in group}
            content += line
        if content:
            yield job, bytes(content)

    def _make_groups(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """Yield the keys of each line, in the order of their paths. Requests that differ only in their path share a line, up to the
        endpoint's number of choices."""
        groups: dict[Any, list[str]] = {}
        for key in sorted(keys, key=lambda key: self._waiting[key].request.path):
            waiting, request = self._waiting[key], self._waiting[key].request
            shared = (request.ask, request.decoding, tuple(waiting.renames.items()))
            groups.setdefault(key if waiting.has_own_line else shared, []).append(key)
        for group in groups.values():
            for start in range(0, len(group), self.endpoint.n):
                yield group[start : start + self.endpoint.n]

    async def _submit(self, job: Job, content: bytes) -> None:
        note_job(self.ledger, job)
        self._jobs.append(job)
        try:
            job.file = await self._call_patiently(job, lambda api: api.upload(content, f"{job.tag}.jsonl"))
            note_job(self.ledger, job)
            job.id = await self._call_patiently(job, lambda api: api.create(job.file, self.endpoint.path, job.tag))
        except DeniedError as error:
            self._end(job)
            raise StudyError(f"teacher.batch = true: {error}; leave it out if the server has no batches") from None
        note_job(self.ledger, job)
        self.endpoint.report(f"{job}: {job.size} sent to {job.url}")

    async def _call_patiently(self, job: Job, call: Callable[[BatchApi], Awaitable[T]], *, patient: bool = False) -> T:
        """Return the result of ``call``, repeating it after faults that may pass, as often as any request or (``patient``) for
        `PATIENCE` seconds."""
        api, began, tries = BatchApi(self.endpoint.client, job.url), time.monotonic(), 0
        while True:
            try:
                return await call(api)
            except RetryError as error:
                wait = error.wait or self.endpoint.compute_backoff(tries)
                is_late = time.monotonic() + wait - began > PATIENCE
                if is_late if patient or isinstance(error, ThrottledError) else tries >= self.endpoint.options.retries:
                    raise AccountError(f"{job.url}: {error}; {job.size} are in {job}. {RESUME_HINT}") from error
            tries += 1
            await asyncio.sleep(wait)

    # Batches that are under way

    async def _check_jobs(self) -> None:
        """Look at every batch, and read those that have ended."""
        for job in list(self._jobs):
            if job.id or await self._find_id(job):
                await self._check_job(job)

    async def _find_id(self, job: Job) -> bool:
        """Find the id of a batch that was noted. If it was not made, none of its requests was sent."""
        try:
            job.id = await self._call_patiently(job, lambda api: api.find(job.tag, job.file), patient=True) if job.file else ""
        except UnlistedError as error:
            self._lose(job, f"{job}: {error}; its requests count as lost and are sent again")
            return False
        if job.id:
            note_job(self.ledger, job)
        else:
            self._end(job, "it was not sent")
        return bool(job.id)

    async def _check_job(self, job: Job) -> None:
        try:
            state = await self._call_patiently(job, lambda api: api.get(job.id), patient=True)
            if state.get("status") == "failed":
                self._settle_failed(job, state)
            elif state.get("status") in END_STATES:
                await self._settle(job, state)
        except DeniedError as error:
            if self.endpoint.options.batch:
                reason = f"{error}; {job.size} are in {job} there: is this the key of its account (teacher.key_env)? If"
                raise StudyError(f"{reason} the batch is gone for good, teacher.batch = false asks for them one by one") from None
            self._lose(job, f"{job} is gone: {error}")

    async def _settle(self, job: Job, state: Mapping[str, Any]) -> None:
        """Read every line of a batch that ended. Requests to be sent again keep waiting."""
        replies, status, failure = 0, state["status"], None
        async for requests, line in self._read_results(job, state):
            try:
                replies += self._take_line(job, requests, line)
            except AccountError as error:  # the other lines were paid for anyway
                failure = error
        remaining = len(job.keys & self._waiting.keys())
        self._full = False
        self._end(job)
        suffix = f", {remaining:,} go into the next" if remaining else ""
        self.endpoint.report(f"{job}: {status}, {replies:,} of {job.size} answered{suffix}")
        if status == "cancelled" and remaining:  # whoever cancelled it does not want it made again at once
            failure = AccountError(f"{job.url}: {job} was cancelled. {RESUME_HINT}")
        if failure is not None:
            raise failure

    async def _read_results(self, job: Job, state: Mapping[str, Any]) -> AsyncIterator[tuple[Requests, Mapping[str, Any]]]:
        """Yield each line of the results once, with its requests. Lines come in any order, and perhaps twice; a missing one is
        empty."""
        missing, unknown = dict(job.lines), set[str]()
        files = [file for kind in ("output", "error") if isinstance(file := state.get(f"{kind}_file_id"), str) and file]
        for tries in range(self.endpoint.options.retries + 1):
            for file in files:
                with tempfile.TemporaryFile(prefix="understudy-") as content:
                    await self._call_patiently(job, partial(BatchApi.fetch, file=file, target=content))
                    for line in read_lines(content, self.endpoint.client.secret):
                        name = str(line.get("custom_id"))
                        if name in missing:
                            yield missing.pop(name), line
                        elif name not in job.lines:
                            unknown.add(name)
            if len(job.lines) - len(missing) >= count_lines(state):
                break
            await asyncio.sleep(self.endpoint.compute_backoff(tries))  # a file that was cut off looks like any other
        for requests in missing.values():
            yield requests, {}
        if unknown:
            self.endpoint.report(f"{job}: {len(unknown):,} unknown lines are ignored")

    def _take_line(self, job: Job, requests: Requests, line: Mapping[str, Any]) -> int:
        """Decide what becomes of the requests of one line; returns the number of replies. Raises AccountError."""
        try:
            answer = read_line(f"{job.url}: {job}", line, list(requests.values()), self.endpoint)
        except RetryError as error:
            self._retry(requests, error)
        except DeniedError as error:
            self._adapt(requests, error)
        except EngineError as error:
            for key in requests:
                self._fail(key, error)
        else:
            self._deliver(job, requests, answer)
            return len(answer.replies)
        return 0

    def _deliver(self, job: Job, requests: Requests, answer: Answer) -> None:
        """Store the replies, and give them to the flows that wait. Requests of the line that got none keep waiting."""
        for address in self.endpoint.addresses:
            if address.url == job.url and len(requests) > 1 and address.takes_n is None:
                address.takes_n = len(answer.replies) > 1
        first = self._waiting.get(next(iter(requests)))
        usage = first.usage + answer.usage if first else answer.usage
        for (key, request), reply in zip(requests.items(), answer.replies, strict=False):
            self.ledger.put(key, reply, engine=self.identity, request=request, seed=self.seed, usage=usage)
            usage = usage.for_siblings
            if (waiting := self._waiting.pop(key, None)) is not None:
                self.endpoint.renames |= waiting.renames
                self._source.give(waiting.ticket, reply)

    def _retry(self, requests: Requests, error: RetryError) -> None:
        """Let requests that got no answer wait for the next batch, until all their tries are used up."""
        for key in requests.keys() & self._waiting.keys():
            waiting = self._waiting[key]
            waiting.usage += Usage(1, 0, 0, error.paid)
            if waiting.usage.requests > self.endpoint.options.retries:
                kind = EngineError if waiting.usage.lost else UnpaidError
                self._fail(key, kind(f"{error} ({waiting.usage.requests} tries)", waiting.usage))

    def _adapt(self, requests: Requests, error: DeniedError) -> None:
        """Let the requests of a denied line wait for the next batch, without a field or each on its own line, if that may help."""
        for key in requests.keys() & self._waiting.keys():
            waiting = self._waiting[key]
            added = self.endpoint.find_refused(error, self.endpoint.build_body(waiting.request), waiting.renames)
            waiting.renames |= added
            waiting.has_own_line |= not added
            if not added and len(requests) == 1:
                self._fail(key, error)

    def _settle_failed(self, job: Job, state: Mapping[str, Any]) -> None:
        """Handle a batch that failed before anything was asked. If the server had no room for it, it is made again later."""
        errors = json.dumps(state.get("errors"))
        message = f"{job.url}: {job} failed: {shorten(errors)}"
        open_keys = job.keys & self._waiting.keys()
        self._end(job, message)
        if "token_limit_exceeded" in errors and len(job.lines) > 1:  # too much already waits for this account
            self._full = True
            if not self._jobs:
                self.max_lines = len(job.lines) // 2
            self.endpoint.report(f"{job}: the server has no room for another {job.size}; they go into other batches")
            return
        self.endpoint.report(message)
        if any(code in errors for code in NO_CREDIT):
            raise AccountError(f"{message}; the account has no credit left: top it up, and run the same command again")
        if open_keys:
            raise StudyError(f"{message}; none of its requests was run")

    def _fail(self, key: str, error: EngineError) -> None:
        """Note that the request got no reply and is not sent again."""
        self.ledger.fail(key, error, error.usage)
        if (waiting := self._waiting.pop(key, None)) is not None:
            self._source.fail(waiting.ticket, error)

    def _end(self, job: Job, reason: str = "it was not answered, and nobody asks for it any more") -> None:
        """End the batch. What it leaves open was not paid for, and goes into another batch if a flow waits for it."""
        for key in job.keys - self._waiting.keys():
            self.ledger.fail(key, UnpaidError(reason))
        self._jobs.remove(job)
        end_job(self.ledger, job)

    def _lose(self, job: Job, reason: str) -> None:
        """Give up a batch whose fate is unknown: its requests count as what was set aside for them."""
        self.ledger.note_lost(job.keys)
        self._end(job)
        self.endpoint.report(reason)
