"""A teacher that is asked by the batch: requests are collected, uploaded as a file, and answered within a day, at a lower price.

    collected -> noted in the store -> uploaded -> made -> (polled) -> ended: each line taken, the batch forgotten

Each step is durable before the next, so after a kill the same command finds every batch again: one that has an id by its id, one
that was about to be made by the name that we gave it. What a batch holds is asked nowhere else.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from understudy.core.asks import Reply, Request
from understudy.core.errors import AccountError, EngineError, StudyError, UnpaidError
from understudy.engines.remote.batch.api import BatchApi, Lines, read_lines
from understudy.engines.remote.batch.jobs import ENDED, Job, JobStore, failure, holding, lines_of
from understudy.engines.remote.batch.lines import File, Taken, Wanted
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.wire import NO_CREDIT, AgainError, DeniedError, ThrottledError, short

T = TypeVar("T")

MOST = 50_000
"""Requests of one batch at the most: OpenAI's limit."""
LARGEST = 200_000_000
"""Bytes of its file at the most: OpenAI's limit."""
AT_ONCE = 2 * MOST
"""Requests that are collected or in batches at once: while one full batch is taken, the next is under way."""
QUIET = 1.0
"""Seconds for which no further request comes until those that came are sent."""
PATIENCE = 3600.0
"""Seconds for which a server may not say how a batch is until the run ends; the batch goes on meanwhile."""
_FULL = "token_limit_exceeded"
"""What a batch failed for where the server has too much to do for this account already."""


class BatchEngine:
    """``endpoint`` asked through batches; an `AsyncEngine`, used as an async context, of the same identity: what it says of a
    request is what the endpoint says of one of its own, but for the ``latency``, which is None.

    Batches of ``store`` that have not ended are gone on with, and those that have are taken before anything is asked. ``batch``
    False: requests go out on their own; raises StudyError where a batch is still under way, since both would be paid for.
    ``poll``: seconds between two looks at a batch. ``tell`` is given a line wherever a batch begins or ends. Requests that fail
    with what may pass, or come back unanswered from a batch that expired, go into the next, ``endpoint.retries`` times.

    `reply` raises as the endpoint's does; StudyError where the server has no batches or finds the file wrong, AccountError where it
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
        self.identity, self.capabilities = endpoint.identity, endpoint.capabilities
        self.quiet, self.most, self.largest = quiet, most, largest
        self._reset()

    def _reset(self) -> None:
        self._wanted = Wanted(self.endpoint, self.store)
        self._held: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._stopped: Exception | None = None

    async def __aenter__(self) -> BatchEngine:
        self._reset()  # it may be used again, in another event loop
        await self.endpoint.__aenter__()
        self._lines = Lines(self.endpoint.client, self.endpoint.headers)
        try:
            await self._resume()
        except BaseException:
            await self._close()
            raise
        if self.batch:
            self.store.collect()
            self._beside(self._collect())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._ending)
        await self._close()

    async def _close(self) -> None:
        await self._lines.close()
        await self.endpoint.__aexit__()

    async def reply(self, request: Request) -> Reply:
        """Answer one request, with the batch that holds it or the next."""
        if self._stopped is not None:
            raise self._stopped
        if not self.batch:
            return await self.endpoint.reply(request)
        if request.decoding.calculator:
            raise EngineError(
                f"{self.endpoint.addresses[0].url}: calculator: needs requests of their own, so not teacher.batch = true"
            )
        key = request.key(self.identity)
        came = self.store.came(key)
        if came is not None:
            return came
        return await self._wanted.reply(key, request, held=key in self._held)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Work beside those who wait; where it fails they all do."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - raised by everyone who waits, and whoever asks next
                self._stop(error)

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, error: Exception) -> None:
        self._stopped = self._stopped or error
        self._wanted.stop(self._stopped)

    # Batches of before

    async def _resume(self) -> None:
        for job in self.store.jobs({address.url for address in self.endpoint.addresses}):
            try:
                if not job.id and not await self._found(job):
                    continue
                batch = await self._patient(job, lambda api, job=job: api.get(job.id))  # type: ignore[misc]
            except DeniedError as error:
                if self.batch:
                    raise StudyError(
                        f"{error}; {holding(job)} there: is the key of the account that made it (teacher.key_env)? Where it is "
                        "gone for good, teacher.batch = false asks for them one by one"
                    ) from None
                await asyncio.to_thread(self.store.end, job, lost=True)
                self.tell(f"batch {job.id or job.tag} is gone: {error}")
                continue
            if batch.get("status") in ENDED:
                await self._take(job, batch)
            elif not self.batch:
                raise StudyError(
                    f"teacher.batch = false: {holding(job)} at {job.url} and would be paid for twice: set it to true to go on with "
                    "it, or cancel it there first"
                )
            else:
                self.tell(f"batch {job.id}: {short(str(batch.get('status')))}, {len(job.requests):,} requests; gone on with")
                self._follow(job)

    async def _found(self, job: Job) -> bool:
        """Whether a batch that was noted was made; where it was not, nothing of it was."""
        try:
            found = await self._patient(job, lambda api: api.find(job.tag, job.file, job.at))
        except DeniedError as error:  # it has no list of batches
            self.tell(
                f"batch {job.tag}: nobody knows whether it was made ({error}); its requests count as lost, and are asked again"
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
        """Send what was collected when nothing more comes for a moment."""
        wanted = self._wanted
        while True:
            await wanted.some.wait()
            while len(wanted.collected) < self.most and (rest := wanted.last + self.quiet - _now()) > 0:
                await asyncio.sleep(rest)
            wanted.some.clear()
            for file in wanted.files(self.most, self.largest):
                await self._room.wait()
                await self._submit(file)

    async def _submit(self, new: File) -> None:
        job = Job(f"understudy-{uuid.uuid4().hex}", self.endpoint.addresses[0].url, new.requests, new.keys)
        path = "chat/completions" if self.endpoint.api == "chat" else "completions"
        await asyncio.to_thread(self.store.note, job)
        self._held |= dict.fromkeys(job.requests, job)
        for key in job.requests:
            self._wanted.collected.pop(key, None)
        try:
            job.file = await self._patient(job, lambda api: api.upload(new.lines, f"{job.tag}.jsonl"), tries=self.endpoint.retries)
            new.lines.clear()
            await asyncio.to_thread(self.store.note, job)
            job.id = await self._made(job, path)
        except DeniedError as error:
            await self._unpaid(job, UnpaidError(str(error)))
            raise StudyError(f"teacher.batch = true: {error}; leave it out where the server has no batches") from None
        await asyncio.to_thread(self.store.note, job)
        self.tell(f"batch {job.id}: {len(job.requests):,} requests sent to {job.url}")
        self._follow(job)

    async def _made(self, job: Job, path: str) -> str:
        """The id of the new batch. One that was made though no answer came is not made twice."""
        perhaps = False

        async def make(api: BatchApi) -> str:
            nonlocal perhaps
            try:
                if perhaps and (found := await api.find(job.tag, job.file, job.at)) is not None:
                    return found
            except DeniedError as error:
                raise AgainError(f"nobody knows whether it was made: {error}") from error
            perhaps = False
            try:
                return await api.create(job.file, path, job.tag)
            except AgainError as error:
                perhaps = not isinstance(error, ThrottledError)
                raise

        return await self._patient(job, make, tries=self.endpoint.retries)

    async def _patient(self, job: Job, call: Callable[[BatchApi], Awaitable[T]], tries: int | None = None) -> T:
        """What ``call`` gives, tried again where that can help: ``tries`` times, or for `PATIENCE` seconds."""
        api, began, times = BatchApi(self._lines, job.url), _now(), 0
        while True:
            try:
                return await call(api)
            except AgainError as error:
                wait = error.wait or self.endpoint.back_off(times)
                if (_now() + wait - began > PATIENCE) if tries is None or isinstance(error, ThrottledError) else times >= tries:
                    raise AccountError(
                        f"{job.url}: {error}; {holding(job)}. What came is kept: run the same command again to go on"
                    ) from error
            times += 1
            await asyncio.sleep(wait)

    # What comes of it

    def _follow(self, job: Job) -> None:
        self._held |= dict.fromkeys(job.requests, job)
        self._beside(self._followed(job))

    async def _followed(self, job: Job) -> None:
        while True:
            await asyncio.sleep(self.poll)
            batch = await self._patient(job, lambda api: api.get(job.id))
            if batch.get("status") in ENDED:
                await self._take(job, batch)
                if batch.get("status") == "cancelled":  # whoever did that does not want it made again at once
                    raise AccountError(
                        f"{job.url}: batch {job.id} was cancelled. What came is kept: run the same command again to go on"
                    )
                return

    async def _take(self, job: Job, batch: Mapping[str, Any]) -> None:
        """Every line of a batch that ended; what is to be asked again goes into the next."""
        if batch.get("status") == "failed":
            await self._refused(job, batch)
            return
        for times in range(self.endpoint.retries + 1):
            taken = await self._patient(job, lambda api: self._read(api, job, batch))
            if len(taken.seen) >= lines_of(batch):
                break
            await asyncio.sleep(self.endpoint.back_off(times))  # an end that came too early looks like any other
        said = AgainError(f"batch {job.id} ended ({batch.get('status')}) without a word of it")
        taken.again |= {key: said for name, keys in job.keys.items() if name not in taken.seen for key in keys}
        again = [key for key, error in taken.again.items() if self._wanted.may_try(key, error)] + taken.otherwise
        answered = len(job.requests) - len(taken.again) - len(taken.otherwise)
        # Said before anything is waited for: who got the last reply may leave meanwhile.
        self.tell(
            f"batch {job.id}: {short(str(batch.get('status')))}, {answered:,} of {len(job.requests):,} requests answered"
            + (f", {len(again):,} go into the next" if again else "")
            + (f"; {taken.unknown:,} lines of none of them are left alone" if taken.unknown else "")
        )
        await self._forget(job, again)
        if taken.stop is not None:
            raise taken.stop

    async def _forget(self, job: Job, again: Iterable[str] = ()) -> None:
        """The batch has ended; the requests ``again`` are collected anew."""
        for key in job.requests:
            self._held.pop(key, None)
        for key in again:
            if key in self._wanted.waiting:
                self._wanted.collect(key, job.requests[key])
            else:  # nobody wants it any more
                self.store.fail(key, UnpaidError("it was not sent again"))
        # Whoever got the last reply may leave meanwhile: it is not cut off by that.
        ending = asyncio.ensure_future(asyncio.to_thread(self.store.end, job))
        self._ending.add(ending)
        await asyncio.shield(ending)
        self._room.set()

    async def _read(self, api: BatchApi, job: Job, batch: Mapping[str, Any]) -> Taken:
        """Both files of results, each as often as it breaks off."""
        taken = Taken()
        for file in (batch.get("output_file_id"), batch.get("error_file_id")):
            if isinstance(file, str) and file:
                with tempfile.TemporaryDirectory(prefix="understudy-") as directory:
                    path = Path(directory) / "results.jsonl"
                    await api.fetch(file, path)
                    for number, line in enumerate(read_lines(path, self.endpoint.client.secret)):
                        self._wanted.take(job, line, taken)
                        if number % 100 == 0:
                            await asyncio.sleep(0)
        return taken

    async def _refused(self, job: Job, batch: Mapping[str, Any]) -> None:
        """A batch that failed before anything was asked: where there was no room for it, it is made again when there is."""
        codes, why = failure(batch)
        what = f"{job.url}: batch {job.id} failed: {why}"
        wanted = any(key in self._wanted.waiting for key in job.requests)
        if _FULL in codes and len(job.requests) > 1:
            if set(self._held.values()) <= {job}:
                self.most = len(job.requests) // 2
                await asyncio.sleep(self.poll)
            await self._unpaid(job, UnpaidError(what), again=job.requests)
            self.tell(f"batch {job.id}: the server has no room for {len(job.requests):,} requests more; they go into other batches")
            if self._held:
                self._room.clear()  # until one of the others ends
            return
        await self._unpaid(job, UnpaidError(what))
        self.tell(what)
        if codes & NO_CREDIT:
            raise AccountError(f"{what}; the account has no credit left: top it up, and run the same command again")
        if wanted:
            raise StudyError(f"{what}; nothing of it was asked")

    async def _unpaid(self, job: Job, error: UnpaidError, again: Iterable[str] = ()) -> None:
        for key in job.requests.keys() - set(again):
            self.store.fail(key, error)
        await self._forget(job, again)


def _now() -> float:
    return asyncio.get_running_loop().time()
