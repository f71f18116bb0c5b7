"""Ask a teacher in batches: requests are collected, uploaded as a file, and answered within a day, at a lower price.

    waiting -> noted in the ledger -> uploaded -> made -> (looked at) -> ended: each line is read, the batch is forgotten

Each step is durable before the next, so after a kill the same command finds every batch again: a batch that has an id by its id, a
batch that was about to be made by the tag that we gave it. The requests of a batch are asked nowhere else.
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
from understudy.core.errors import AccountError, BudgetError, EngineError, StudyError, UnpaidError
from understudy.core.protocols import Source
from understudy.engines.remote.batch import ENDED, BatchApi, UnlistedError, count_lines, read_line, read_lines
from understudy.engines.remote.endpoint import EndpointEngine, fit_body
from understudy.engines.remote.wire import KEPT, NO_CREDIT, AgainError, DeniedError, ThrottledError, shorten
from understudy.sampling.jobs import Job, collect, end, note, read_jobs
from understudy.sampling.ledger import Ledger

Requests = Mapping[str, Request]
"""The requests of one line by their ledger keys."""

MOST = 50_000
"""Lines of one batch, at most: OpenAI's limit."""
LARGEST = 200_000_000
"""Bytes of its file, at most: OpenAI's limit."""
AT_ONCE = 2 * MOST
"""Requests that wait at once: while one full batch is read, the next is under way."""
PATIENCE = 3600.0
"""The run ends when a server has not told the state of a batch for so many seconds; the batch goes on meanwhile."""
_FULL = "token_limit_exceeded"
"""The error of a batch where the server already has too much to do for this account."""
_NEVER = {"stream": "", "stream_options": ""}


@dataclass(eq=False)
class Wanted:
    """A request that a flow waits for, and what its tries came to: ``usage`` of those that failed, the fields that it must be sent
    ``without`` (`EndpointEngine.without`), and whether it may share no line (``alone``)."""

    ticket: int
    request: Request
    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))
    without: dict[str, str] = field(default_factory=dict)
    alone: bool = False


@dataclass(eq=False)
class BatchEngine:
    """Asks ``endpoint`` in batches. It is a `LocalEngine` of the same identity; a reply is what the endpoint would give to a
    request of its own, except that its ``latency`` is None. It notes in ``ledger`` what it does; ``seed`` is recorded with replies.

    First the batches of earlier processes that have not ended are continued, and the results of those that have are read. ``poll``:
    seconds between two looks at a batch. ``tell`` gets a line whenever a batch begins or ends. Requests that fail with something
    that may pass, or come back unanswered from a batch that expired, go into the next batch, as often as the endpoint's
    ``retries`` say. Where the budget has no room for a request, it waits for what the batches under way leave of it.

    `serve` raises the endpoint's errors; StudyError where the server has no batches or rejects the file; AccountError where it says
    nothing for long, or somebody cancels a batch.
    """

    window: ClassVar[int] = AT_ONCE

    endpoint: EndpointEngine
    ledger: Ledger
    seed: int
    poll: float = 60.0
    tell: Callable[[str], None] = lambda _: None
    most: int = MOST
    largest: int = LARGEST

    def __post_init__(self) -> None:
        self.identity = self.endpoint.identity
        self._full = False

    def serve(self, source: Source) -> None:
        """Answer every request of ``source`` (`LocalEngine.serve`)."""
        asyncio.run(self._serve(source))

    def settle_earlier(self) -> None:
        """Take what came of the batches of earlier processes, before requests go out on their own. Raises StudyError where one is
        still under way, since its requests would be paid for twice."""
        asyncio.run(self._resume(single=True))
        for job in self._jobs:
            said = f"teacher.batch = false: {job.size} are in {job} at {job.url} and would be paid for twice: set it to true to"
            raise StudyError(f"{said} continue the batch, or cancel it there first")

    async def _resume(self, *, single: bool) -> None:
        """Find the batches of earlier processes and read those that have ended, while nobody waits for anything."""
        self._waiting: dict[str, Wanted] = {}
        self._jobs = read_jobs(self.ledger, self.identity, {address.url for address in self.endpoint.addresses})
        async with self.endpoint:
            await self._look(single=single)

    async def _serve(self, source: Source) -> None:
        self._source = source
        await self._resume(single=False)
        for job in self._jobs:
            self.tell(f"{job}: {job.size} are under way; continued")
        collect(self.ledger, self.identity)
        async with self.endpoint:
            try:
                while self._take():
                    await self._send()
                    if self._jobs:
                        await asyncio.sleep(self.poll)
                        await self._look()
            finally:
                for key in self._list_unheld():
                    self.ledger.fail(key, UnpaidError("it was not sent"))

    def _take(self) -> bool:
        """Take what flows ask for, as much as may wait at once. Returns whether anything waits."""
        while some := self._source.take(AT_ONCE - len(self._waiting)):
            for ticket, request in some:
                key = request.key(self.identity)
                reply = self.ledger.get(key)  # it may have come out of an earlier batch meanwhile
                if reply is None:
                    self._waiting[key] = Wanted(ticket, request)
                else:
                    self._source.give(ticket, reply)
        return bool(self._waiting)

    def _list_unheld(self) -> list[str]:
        """The keys that wait and are in no batch."""
        held = {key for job in self._jobs for key in job.keys}
        return [key for key in self._waiting if key not in held]

    # A new batch

    async def _send(self) -> None:
        """Put what is in no batch into new ones, as far as the budget has room for it."""
        if self._full and self._jobs:  # until one of the others ends
            return
        new = self._list_unheld()
        room = [key for key in new if self.ledger.reserve(key, engine=self.identity, request=self._waiting[key].request)]
        if not room and not self._jobs:  # nothing under way could give some back
            for key in new:
                self._fail(key, BudgetError("the budget has no room for it: it was not asked"))
        for job, content in self._make_jobs(room):
            await self._submit(job, content)

    def _make_jobs(self, keys: Iterable[str]) -> Iterator[tuple[Job, bytes]]:
        """Batches of these requests, each with the content of its file, of at most so many lines and bytes."""
        url, content = self.endpoint.addresses[0].url, bytearray()
        job = Job(self.identity, url)
        for group in self._make_groups(keys):
            first, name = self._waiting[group[0]], group[0]
            body = fit_body(self.endpoint.body(first.request), len(group), _NEVER | self.endpoint.without | first.without)
            row = {"custom_id": name, "method": "POST", "url": f"/v1/{self.endpoint.path}", "body": body}
            line = json.dumps(row).encode() + b"\n"
            if content and (len(job.lines) >= self.most or len(content) + len(line) > self.largest):
                yield job, bytes(content)
                job, content = Job(self.identity, url), bytearray()
            job.lines[name] = {key: self._waiting[key].request for key in group}
            content += line
        if content:
            yield job, bytes(content)

    def _make_groups(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """The keys of each line, in the order of their paths. Requests that differ only in their path share a line, as many as the
        endpoint gives choices."""
        alike: dict[Any, list[str]] = {}
        for key in sorted(keys, key=lambda key: self._waiting[key].request.path):
            wanted, request = self._waiting[key], self._waiting[key].request
            same = (request.ask, request.decoding, request.attempt, tuple(wanted.without.items()))
            alike.setdefault(key if wanted.alone else same, []).append(key)
        for group in alike.values():
            for at in range(0, len(group), self.endpoint.n):
                yield group[at : at + self.endpoint.n]

    async def _submit(self, job: Job, content: bytes) -> None:
        note(self.ledger, job)
        self._jobs.append(job)
        try:
            job.file = await self._insist(job, lambda api: api.upload(content, f"{job.tag}.jsonl"))
            note(self.ledger, job)
            job.id = await self._insist(job, lambda api: api.create(job.file, self.endpoint.path, job.tag))
        except DeniedError as error:
            self._end(job)
            raise StudyError(f"teacher.batch = true: {error}; leave it out where the server has no batches") from None
        note(self.ledger, job)
        self.tell(f"{job}: {job.size} sent to {job.url}")

    async def _insist(self, job: Job, call: Callable[[BatchApi], Awaitable[T]], *, patient: bool = False) -> T:
        """Return what ``call`` gives; it is repeated where that can help, as often as any request or (``patient``) for `PATIENCE`
        seconds."""
        api, began, times = BatchApi(self.endpoint.client, job.url), time.monotonic(), 0
        while True:
            try:
                return await call(api)
            except AgainError as error:
                wait = error.wait or self.endpoint.back_off(times)
                late = time.monotonic() + wait - began > PATIENCE
                if late if patient or isinstance(error, ThrottledError) else times >= self.endpoint.options.retries:
                    raise AccountError(f"{job.url}: {error}; {job.size} are in {job}. {KEPT}") from error
            times += 1
            await asyncio.sleep(wait)

    # Batches that are under way

    async def _look(self, *, single: bool = False) -> None:
        """Look at every batch, and read those that have ended. ``single``: requests are to go out on their own."""
        for job in list(self._jobs):
            if job.id or await self._find(job):
                await self._look_at(job, single=single)

    async def _find(self, job: Job) -> bool:
        """Find the id of a batch that was noted. Where it was not made, none of its requests was sent."""
        try:
            job.id = await self._insist(job, lambda api: api.find(job.tag, job.file), patient=True) if job.file else ""
        except UnlistedError as error:
            self._lose(job, f"{job}: {error}; its requests count as lost and are asked again")
            return False
        if job.id:
            note(self.ledger, job)
        else:
            self._end(job, "it was not sent")
        return bool(job.id)

    async def _look_at(self, job: Job, *, single: bool) -> None:
        try:
            state = await self._insist(job, lambda api: api.get(job.id), patient=True)
        except DeniedError as error:
            if not single:
                said = f"{error}; {job.size} are in {job} there: is the key of the account that made it (teacher.key_env)? Where it"
                raise StudyError(f"{said} is gone for good, teacher.batch = false asks for them one by one") from None
            self._lose(job, f"{job} is gone: {error}")
            return
        if state.get("status") == "failed":
            self._settle_failed(job, state)
        elif state.get("status") in ENDED:
            await self._settle(job, state)

    async def _settle(self, job: Job, state: Mapping[str, Any]) -> None:
        """Read every line of a batch that ended. What is to be asked again goes on waiting."""
        replies, status, stop = 0, state["status"], None
        async for requests, line in self._read(job, state):
            try:
                replies += self._take_line(job, requests, line)
            except AccountError as error:  # the other lines were paid for all the same
                stop = error
        again = len(job.keys & self._waiting.keys())
        self._full = False
        self._end(job)
        more = f", {again:,} go into the next" if again else ""
        self.tell(f"{job}: {status}, {replies:,} of {job.size} answered{more}")
        if status == "cancelled" and again:  # whoever did that does not want it made again at once
            stop = AccountError(f"{job.url}: {job} was cancelled. {KEPT}")
        if stop is not None:
            raise stop

    async def _read(self, job: Job, state: Mapping[str, Any]) -> AsyncIterator[tuple[Requests, Mapping[str, Any]]]:
        """Each line of the results once, with the requests behind it. Lines come in any order, and perhaps twice; one that did not
        come is empty."""
        left, unknown = dict(job.lines), set[str]()
        files = [file for kind in ("output", "error") if isinstance(file := state.get(f"{kind}_file_id"), str) and file]
        for times in range(self.endpoint.options.retries + 1):
            for file in files:
                with tempfile.TemporaryFile(prefix="understudy-") as content:
                    await self._insist(job, partial(BatchApi.fetch, file=file, into=content))
                    for line in read_lines(content, self.endpoint.client.secret):
                        name = str(line.get("custom_id"))
                        if name in left:
                            yield left.pop(name), line
                        elif name not in job.lines:
                            unknown.add(name)
            if len(job.lines) - len(left) >= count_lines(state):
                break
            await asyncio.sleep(self.endpoint.back_off(times))  # an end that came too early looks like any other
        for requests in left.values():
            yield requests, {}
        if unknown:
            self.tell(f"{job}: {len(unknown):,} unknown lines are left alone")

    def _take_line(self, job: Job, requests: Requests, line: Mapping[str, Any]) -> int:
        """Decide what becomes of the requests of one line; returns the number of replies. Raises AccountError."""
        try:
            answer = read_line(f"{job.url}: {job}", line, list(requests.values()), self.endpoint)
        except AgainError as error:
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
        """Keep the replies, and give them to whoever waits. Requests of the line that got none go on waiting."""
        for address in self.endpoint.addresses:
            if address.url == job.url and len(requests) > 1 and address.takes_n is None:
                address.takes_n = len(answer.replies) > 1
        first = self._waiting.get(next(iter(requests)))
        usage = first.usage + answer.usage if first else answer.usage
        for (key, request), reply in zip(requests.items(), answer.replies, strict=False):
            self.ledger.put(key, reply, engine=self.identity, request=request, seed=self.seed, usage=usage)
            usage = usage.along
            if (wanted := self._waiting.pop(key, None)) is not None:
                self.endpoint.without |= wanted.without
                self._source.give(wanted.ticket, reply)

    def _retry(self, requests: Requests, error: AgainError) -> None:
        """Requests that got no answer go on waiting, until all their tries are used up."""
        for key in requests.keys() & self._waiting.keys():
            wanted = self._waiting[key]
            wanted.usage += Usage(1, 0, 0, error.paid)
            if wanted.usage.requests > self.endpoint.options.retries:
                kind = EngineError if wanted.usage.lost else UnpaidError
                self._fail(key, kind(f"{error} ({wanted.usage.requests} tries)", wanted.usage))

    def _adapt(self, requests: Requests, error: DeniedError) -> None:
        """The line was denied: its requests go on waiting, without a field or apart from each other, where that may help."""
        for key in requests.keys() & self._waiting.keys():
            wanted = self._waiting[key]
            without = self.endpoint.spare(error, self.endpoint.body(wanted.request), wanted.without)
            wanted.without |= without
            wanted.alone |= not without
            if not without and len(requests) == 1:
                self._fail(key, error)

    def _settle_failed(self, job: Job, state: Mapping[str, Any]) -> None:
        """Handle a batch that failed before anything was asked. Where the server had no room for it, it is made again later."""
        why = json.dumps(state.get("errors"))
        what = f"{job.url}: {job} failed: {shorten(why)}"
        wanted = job.keys & self._waiting.keys()
        self._end(job, what)
        if _FULL in why and len(job.lines) > 1:
            self._full = True
            if not self._jobs:
                self.most = len(job.lines) // 2
            self.tell(f"{job}: the server has no room for {job.size} more; they go into other batches")
            return
        self.tell(what)
        if any(code in why for code in NO_CREDIT):
            raise AccountError(f"{what}; the account has no credit left: top it up, and run the same command again")
        if wanted:
            raise StudyError(f"{what}; none of its requests was asked")

    def _fail(self, key: str, error: EngineError) -> None:
        """The request got no reply and is not asked again."""
        self.ledger.fail(key, error, error.usage)
        if (wanted := self._waiting.pop(key, None)) is not None:
            self._source.fail(wanted.ticket, error)

    def _end(self, job: Job, why: str = "it was not answered, and nobody asks for it any more") -> None:
        """The batch has ended. What it leaves open was not paid for, and goes into another one where somebody waits for it."""
        for key in job.keys - self._waiting.keys():
            self.ledger.fail(key, UnpaidError(why))
        self._jobs.remove(job)
        end(self.ledger, job)

    def _lose(self, job: Job, why: str) -> None:
        """Nobody knows what became of the batch: its requests count as what was set aside for them."""
        self.ledger.note_lost(job.keys)
        self._end(job)
        self.tell(why)
