"""Ask a teacher in batches: requests are collected, uploaded as a file, and answered within a day, at a lower price.

    collected -> noted in the store -> uploaded -> made -> (polled) -> ended: each line is read, the batch is forgotten

Each step is durable before the next, so after a kill the same command finds every batch again: a batch that has an id by its id, a
batch that was about to be made by the tag that we gave it. The requests of a batch are asked nowhere else.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from understudy.core.asks import Answer, Request, Usage
from understudy.core.errors import AccountError, EngineError, StudyError, UnpaidError
from understudy.engines.remote.batch.api import BatchApi, read_lines
from understudy.engines.remote.batch.jobs import ENDED, Job, JobStore, count_lines, describe, read_failure
from understudy.engines.remote.batch.lines import LineFile, Pending, Results
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.wire import NO_CREDIT, AgainError, DeniedError, ThrottledError, short

T = TypeVar("T")

MOST = 50_000
"""Requests of one batch, at most: OpenAI's limit."""
LARGEST = 200_000_000
"""Bytes of its file, at most: OpenAI's limit."""
AT_ONCE = 2 * MOST
"""Requests that are collected or in batches at once: while one full batch is read, the next is under way."""
QUIET = 1.0
"""The collected requests are sent when no further one has come for so many seconds."""
PATIENCE = 3600.0
"""The run ends when a server has not told the state of a batch for so many seconds; the batch goes on meanwhile."""
_FULL = "token_limit_exceeded"
"""The error of a batch where the server already has too much to do for this account."""


class BatchEngine:
    """Asks ``endpoint`` in batches. It is an `AsyncEngine` of the same identity, used as an async context; a reply is what the
    endpoint would give to a request of its own, except that its ``latency`` is None.

    First the batches of ``store`` that have not ended are continued, and the results of those that have are read. With ``batch``
    False requests go out on their own; raises StudyError where a batch is still under way, since both would be paid for. ``poll``:
    seconds between two looks at a batch. ``tell`` gets a line whenever a batch begins or ends. Requests that fail with something
    that may pass, or come back unanswered from a batch that expired, go into the next batch, ``endpoint.retries`` times.

    `replies` raises the endpoint's errors; StudyError where the server has no batches or rejects the file; AccountError where it
    says nothing for long, or somebody cancels a batch.
    """

    def __init__(
        self,
        endpoint: EndpointEngine,
        store: JobStore,
        *,
        batch: bool = True,
        poll: float = 60.0,
        tell: Callable[[str], None] = lambda _: None,
        quiet: float = QUIET,
        most: int = MOST,
        largest: int = LARGEST,
    ) -> None:
        self.endpoint, self.store, self.batch, self.poll, self.tell = endpoint, store, batch, poll, tell
        self.identity, self.n = endpoint.identity, 1 if batch else endpoint.n
        self.concurrency = AT_ONCE if batch else endpoint.concurrency
        self.quiet, self.most, self.largest = quiet, most, largest
        self._reset()

    def _reset(self) -> None:
        self._pending = Pending(self.endpoint, self.store)
        self._held: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._stopped: Exception | None = None

    async def __aenter__(self) -> BatchEngine:
        self._reset()  # it may be used again, in another event loop
        await self.endpoint.__aenter__()
        try:
            await self._resume()
        except BaseException:
            await self.endpoint.__aexit__()
            raise
        if self.batch:
            self.store.collect()
            self._run_beside(self._collect())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._ending)
        await self.endpoint.__aexit__()

    async def replies(self, requests: Sequence[Request]) -> Answer:
        """Answer one request, by the batch that holds it or by the next one."""
        if self._stopped is not None:
            raise self._stopped
        if not self.batch:
            return await self.endpoint.replies(requests)
        request = requests[0]
        if request.decoding.calculator:
            raise EngineError(f"{self.endpoint.addresses[0].url}: calculator: needs single requests; set teacher.batch = false")
        key = request.key(self.identity)
        reply = self.store.early_reply(key)
        if reply is None:
            reply = await self._pending.wait_for(key, request, held=key in self._held)
        return Answer((reply,), Usage(1, reply.prompt_tokens, reply.tokens))

    def _run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the requests that wait; where it fails, they all do."""

        async def guard() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - raised for everybody who waits, and for the next request
                self._stop(error)

        task = asyncio.ensure_future(guard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, error: Exception) -> None:
        self._stopped = self._stopped or error
        self._pending.stop(self._stopped)

    # Batches of earlier processes

    async def _resume(self) -> None:
        for job in self.store.jobs({address.url for address in self.endpoint.addresses}):
            try:
                if not job.id and not await self._find(job):
                    continue
                batch = await self._insist(job, lambda api, job=job: api.get(job.id))  # type: ignore[misc]
            except DeniedError as error:
                if self.batch:
                    raise StudyError(
                        f"{error}; {describe(job)} there: use the key of the account that made it (teacher.key_env). If it is "
                        "gone for good, teacher.batch = false sends its requests one by one"
                    ) from None
                await asyncio.to_thread(self.store.end, job, lost=True)
                self.tell(f"batch {job.id or job.tag} is gone: {error}")
                continue
            if batch.get("status") in ENDED:
                await self._settle(job, batch)
            elif not self.batch:
                raise StudyError(
                    f"teacher.batch = false: {describe(job)} at {job.url} and would be paid for twice: set it to true to continue "
                    "the batch, or cancel it there first"
                )
            else:
                self.tell(f"batch {job.id}: {short(str(batch.get('status')))}, {len(job.requests):,} requests; continued")
                self._follow(job)

    async def _find(self, job: Job) -> bool:
        """Whether a batch that was noted was also made. Where it was not, none of its requests was sent."""
        try:
            found = await self._insist(job, lambda api: api.find(job.tag, job.file, job.at))
        except DeniedError as error:  # it has no list of batches
            self.tell(
                f"batch {job.tag}: it is not known whether it was made ({error}); its requests count as lost and are asked again"
            )
            await asyncio.to_thread(self.store.end, job, lost=True)
            return False
        if found is not None:
            job.id = found
            await asyncio.to_thread(self.store.note, job)
            return True
        for key in job.requests:
            self.store.fail(key, UnpaidError("it was not sent"))
        await asyncio.to_thread(self.store.end, job)
        return False

    # A new batch

    async def _collect(self) -> None:
        """Send the collected requests whenever nothing more comes for a moment."""
        pending = self._pending
        while True:
            await pending.some.wait()
            while len(pending.collected) < self.most and (rest := pending.last + self.quiet - _now()) > 0:
                await asyncio.sleep(rest)
            pending.some.clear()
            for file in pending.make_files(self.most, self.largest):
                await self._room.wait()
                await self._submit(file)

    async def _submit(self, new: LineFile) -> None:
        job = Job(f"understudy-{uuid.uuid4().hex}", self.endpoint.addresses[0].url, new.requests, new.keys)
        await asyncio.to_thread(self.store.note, job)
        self._held |= dict.fromkeys(job.requests, job)
        for key in job.requests:
            self._pending.collected.pop(key, None)
        try:
            job.file = await self._insist(job, lambda api: api.upload(new.lines, f"{job.tag}.jsonl"), tries=self.endpoint.retries)
            new.lines.clear()
            await asyncio.to_thread(self.store.note, job)
            job.id = await self._make(job)
        except DeniedError as error:
            await self._release(job, UnpaidError(str(error)))
            raise StudyError(f"teacher.batch = true: {error}; leave it out if the server has no batch jobs") from None
        await asyncio.to_thread(self.store.note, job)
        self.tell(f"batch {job.id}: {len(job.requests):,} requests sent to {job.url}")
        self._follow(job)

    async def _make(self, job: Job) -> str:
        """Make the batch; returns its id. A batch that was made though no answer came is not made twice."""
        perhaps = False

        async def make(api: BatchApi) -> str:
            nonlocal perhaps
            try:
                if perhaps and (found := await api.find(job.tag, job.file, job.at)) is not None:
                    return found
            except DeniedError as error:
                raise AgainError(f"it is unknown whether the server made the batch: {error}") from error
            perhaps = False
            try:
                return await api.create(job.file, self.endpoint.path, job.tag)
            except AgainError as error:
                perhaps = not isinstance(error, ThrottledError)
                raise

        return await self._insist(job, make, tries=self.endpoint.retries)

    async def _insist(self, job: Job, call: Callable[[BatchApi], Awaitable[T]], tries: int | None = None) -> T:
        """Return what ``call`` gives; it is repeated where that can help, ``tries`` times or for `PATIENCE` seconds."""
        api, began, times = BatchApi(self.endpoint.client, job.url), _now(), 0
        while True:
            try:
                return await call(api)
            except AgainError as error:
                wait = error.wait or self.endpoint.back_off(times)
                if (_now() + wait - began > PATIENCE) if tries is None or isinstance(error, ThrottledError) else times >= tries:
                    raise AccountError(
                        f"{job.url}: {error}; {describe(job)}. What came is kept: run the same command again to continue"
                    ) from error
            times += 1
            await asyncio.sleep(wait)

    # The results

    def _follow(self, job: Job) -> None:
        self._held |= dict.fromkeys(job.requests, job)
        self._run_beside(self._poll(job))

    async def _poll(self, job: Job) -> None:
        while True:
            await asyncio.sleep(self.poll)
            batch = await self._insist(job, lambda api: api.get(job.id))
            if batch.get("status") in ENDED:
                await self._settle(job, batch)
                if batch.get("status") == "cancelled":  # whoever did that does not want it made again at once
                    raise AccountError(
                        f"{job.url}: batch {job.id} was cancelled. What came is kept: run the same command again to continue"
                    )
                return

    async def _settle(self, job: Job, batch: Mapping[str, Any]) -> None:
        """Read every line of a batch that ended; requests to be asked again go into the next batch."""
        if batch.get("status") == "failed":
            await self._settle_failed(job, batch)
            return
        for times in range(self.endpoint.retries + 1):
            results = await self._insist(job, lambda api: self._read(api, job, batch))
            if len(results.seen) >= count_lines(batch):
                break
            await asyncio.sleep(self.endpoint.back_off(times))  # an end that came too early looks like any other
        missing = AgainError(f"batch {job.id} ended ({batch.get('status')}) without a line of it")
        results.again |= {key: missing for name, keys in job.keys.items() if name not in results.seen for key in keys}
        again = [key for key, error in results.again.items() if self._pending.may_retry(key, error)] + results.otherwise
        answered = len(job.requests) - len(results.again) - len(results.otherwise)
        # Tell it before waiting for anything: whoever got the last reply may leave meanwhile.
        self.tell(
            f"batch {job.id}: {short(str(batch.get('status')))}, {answered:,} of {len(job.requests):,} requests answered"
            + (f", {len(again):,} go into the next" if again else "")
            + (f"; {results.unknown:,} unknown lines are left alone" if results.unknown else "")
        )
        await self._forget(job, again)
        if results.stop is not None:
            raise results.stop

    async def _forget(self, job: Job, again: Iterable[str] = ()) -> None:
        """The batch has ended; the requests ``again`` are collected anew."""
        for key in job.requests:
            self._held.pop(key, None)
        for key in again:
            if key in self._pending.waiting:
                self._pending.collect(key, job.requests[key])
            else:  # nobody wants it any more
                self.store.fail(key, UnpaidError("it was not sent again"))
        # Whoever got the last reply may leave meanwhile, which must not cut this off.
        ending = asyncio.ensure_future(asyncio.to_thread(self.store.end, job))
        self._ending.add(ending)
        await asyncio.shield(ending)
        self._room.set()

    async def _read(self, api: BatchApi, job: Job, batch: Mapping[str, Any]) -> Results:
        """Fetch and read both files of results."""
        results = Results()
        for file in (batch.get("output_file_id"), batch.get("error_file_id")):
            if isinstance(file, str) and file:
                with tempfile.TemporaryDirectory(prefix="understudy-") as directory:
                    path = Path(directory) / "results.jsonl"
                    await api.fetch(file, path)
                    for number, line in enumerate(read_lines(path, self.endpoint.client.secret)):
                        self._pending.read_line(job, line, results)
                        if number % 100 == 0:
                            await asyncio.sleep(0)
        return results

    async def _settle_failed(self, job: Job, batch: Mapping[str, Any]) -> None:
        """Handle a batch that failed before anything was asked. Where the server had no room for it, it is made again later."""
        codes, why = read_failure(batch)
        what = f"{job.url}: batch {job.id} failed: {why}"
        wanted = any(key in self._pending.waiting for key in job.requests)
        if _FULL in codes and len(job.requests) > 1:
            if set(self._held.values()) <= {job}:
                self.most = len(job.requests) // 2
                await asyncio.sleep(self.poll)
            await self._release(job, UnpaidError(what), again=job.requests)
            self.tell(f"batch {job.id}: the server has no room for {len(job.requests):,} more requests; they go into other batches")
            if self._held:
                self._room.clear()  # until one of the others ends
            return
        await self._release(job, UnpaidError(what))
        self.tell(what)
        if codes & NO_CREDIT:
            raise AccountError(f"{what}; the account has no credit left: top it up, and run the same command again")
        if wanted:
            raise StudyError(f"{what}; none of its requests was sent")

    async def _release(self, job: Job, error: UnpaidError, again: Iterable[str] = ()) -> None:
        """Nothing of the batch was paid for: its requests fail with ``error``, or are collected ``again``."""
        for key in job.requests.keys() - set(again):
            self.store.fail(key, error)
        await self._forget(job, again)


def _now() -> float:
    return asyncio.get_running_loop().time()
