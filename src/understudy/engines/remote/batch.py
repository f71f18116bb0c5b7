"""The OpenAI batch protocol (developers.openai.com/api/reference: Files, Batches) at one address.

Everything here raises the errors of `wire`: after a RetryError the same request may be sent again.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import aiohttp

from understudy.core.asks import Answer, Request, Usage
from understudy.core.errors import AccountError
from understudy.core.values import object_in
from understudy.engines.remote.choices import make_refusal
from understudy.engines.remote.endpoint import FILTERED, EndpointEngine
from understudy.engines.remote.wire import Client, Content, DeniedError, RetryError, classify, hide, parse, require_choices, shorten

END_STATES = frozenset({"completed", "failed", "expired", "cancelled"})
"""The states in which a batch has ended."""
TAG = "understudy"
"""The key in a batch's ``metadata`` that holds our own name for it."""
TIMEOUT = 3600.0
"""Seconds that the transfer of a file may take."""


class UnlistedError(AccountError):
    """The server does not list batches, so it is unknown whether a batch was made."""


class BatchApi:
    """The files and batches at ``url`` (including ``/v1``)."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.url = client, url
        self._tried = False

    async def upload(self, content: bytes, name: str) -> str:
        """Upload a file of requests under the name ``name``; returns its id at the server."""
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", io.BytesIO(content), filename=name, content_type="application/jsonl")
        return _read_id(await self._call("POST", "files", form, timeout=TIMEOUT))

    async def create(self, file: str, path: str, tag: str) -> str:
        """Make a batch of the uploaded ``file``, whose requests go to ``path``; returns its id. `find` finds it by ``tag``. A
        second try first checks whether the batch was made although no answer came."""
        if self._tried and (batch := await self.find(tag, file)):
            return batch
        self._tried = True
        body = {"input_file_id": file, "endpoint": f"/v1/{path}", "completion_window": "24h", "metadata": {TAG: tag}}
        return _read_id(await self._call("POST", "batches", json.dumps(body).encode()))

    async def get(self, batch: str) -> dict[str, Any]:
        """Return the state of ``batch`` as the server reports it."""
        return await self._call("GET", f"batches/{quote(batch, safe='')}")

    async def find(self, tag: str, file: str) -> str:
        """Return the id of the batch that was made with ``tag``, or of ``file``; "" if there is none. Raises UnlistedError."""
        cursor: dict[str, str] = {}
        while True:
            try:
                page = await self._call("GET", f"batches?{urlencode({'limit': 100, **cursor})}")  # the protocol's most
            except DeniedError as error:
                raise UnlistedError(f"it is not known whether it was made: {error}") from error
            batches = [batch for batch in page.get("data") or [] if isinstance(batch, dict)]
            for batch in batches:
                if object_in(batch, "metadata").get(TAG) == tag or batch.get("input_file_id") == file:
                    return _read_id(batch)
            if not batches or not page.get("has_more"):
                return ""
            cursor = {"after": _read_id(batches[-1])}

    async def fetch(self, file: str, target: BinaryIO) -> None:
        """Write a file of results to ``target``. It may be on another server, which does not get the key."""
        target.seek(0)
        target.truncate()
        await self.client.send("GET", f"{self.url}/files/{quote(file, safe='')}/content", sink=target.write, timeout=TIMEOUT)
        target.seek(0)

    async def _call(self, method: str, path: str, content: Content = None, timeout: float = 0.0) -> dict[str, Any]:
        _, answer = await self.client.send(method, f"{self.url}/{path}", content, timeout=timeout)
        parsed = parse(answer)
        if not isinstance(parsed, dict):
            raise RetryError(f"not an answer of the batch protocol: {shorten(answer.decode('utf-8', 'replace'))}")
        return parsed


def read_lines(file: BinaryIO, secret: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file of results, with ``secret`` hidden; lines that are no object are left out."""
    for line in file:
        if isinstance(row := parse(hide(line, secret)), dict):
            yield row


def read_line(location: str, line: Mapping[str, Any], requests: Sequence[Request], endpoint: EndpointEngine) -> Answer:
    """Read one line of the results of the batch ``location`` as the answer to a request of its own; {} stands for a missing line.
    Raises the errors of `wire` and of the endpoint."""
    answer = line.get("response")
    if not line:
        raise RetryError(f"{location} ended without a line for this request")
    if not isinstance(answer, dict):  # the model was not asked: batch_expired, batch_cancelled
        text = json.dumps({"error": line.get("error")})
        error = classify(location, 429, text)
        raise error if isinstance(error, AccountError) else RetryError(f"{location}: {shorten(text)}")
    status, body = answer.get("status_code"), answer.get("body")
    text = json.dumps(body, ensure_ascii=False)
    try:
        if status != 200:
            raise classify(location, status if type(status) is int else 500, text)
        return endpoint.read_answer(location, require_choices(location, body, text, {}), text, requests)
    except DeniedError as error:
        if error.names & FILTERED:
            return Answer((make_refusal(error.body),) * len(requests), Usage(1, 0, 0))
        raise


def count_lines(batch: Mapping[str, Any]) -> int:
    """Count the lines that the files of its results must have at least."""
    counts = object_in(batch, "request_counts")
    return sum(number for name in ("completed", "failed") if isinstance(number := counts.get(name), int))


def _read_id(row: Mapping[str, Any]) -> str:
    identifier = row.get("id")
    if not isinstance(identifier, str) or not identifier.isprintable() or not identifier:
        raise RetryError(f"an answer without an id: {shorten(json.dumps(row))}")
    return identifier
