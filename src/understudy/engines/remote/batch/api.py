"""The OpenAI batch protocol (developers.openai.com/api/reference: Files, Batches): what is asked of one address, each thing once.

Everything here raises what `wire` says: an AgainError for what may pass, and then the same may be asked again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from understudy.engines.remote.http import Client, Response, hidden
from understudy.engines.remote.wire import LARGEST, AgainError, MovedError, sent, short

TAG = "understudy"
"""The key in a batch's ``metadata`` under which our own name for it stands."""
SLOW = 3600.0
"""Seconds for which a file may be on its way."""
_HOPS = 4
_PAGE = 100
"""Batches that one page of the list has at the most: the protocol's limit."""
_EARLIER = 24 * 3600
"""Seconds by which a server's clock may be behind ours."""


class Lines:
    """The way to the servers of batches: ``client`` for what is short, others for files, which take as long as they take."""

    def __init__(self, client: Client, headers: Mapping[str, str]) -> None:
        self.client = client
        self.files = Client(headers=headers, timeout=SLOW, largest=LARGEST, secret=client.secret)
        self.elsewhere = Client(headers={}, timeout=SLOW, largest=LARGEST)

    async def close(self) -> None:
        await self.files.close()
        await self.elsewhere.close()


class BatchApi:
    """The files and batches at ``url`` (with its ``/v1``)."""

    def __init__(self, lines: Lines, url: str) -> None:
        self.lines, self.url = lines, url

    async def upload(self, lines: Sequence[bytes], name: str) -> str:
        """The id under which the server keeps a file of requests; it is called ``name`` there."""
        mark = uuid.uuid4().hex
        disposition = "Content-Disposition: form-data; name="
        head = f'--{mark}\r\n{disposition}"purpose"\r\n\r\nbatch\r\n--{mark}\r\n{disposition}"file"; filename="{name}"\r\n'
        head += "Content-Type: application/jsonl\r\n\r\n"
        body = b"".join((head.encode(), *lines, f"\r\n--{mark}--\r\n".encode()))
        answer = await sent(self.lines.files, "POST", f"{self.url}/files", body, f"multipart/form-data; boundary={mark}")
        return _id(self.url, _answered(self.url, answer))

    async def create(self, file: str, path: str, tag: str) -> str:
        """The id of a new batch over the uploaded ``file``, whose requests go to ``path``; `find` finds it by ``tag``."""
        body = {"input_file_id": file, "endpoint": f"/v1/{path}", "completion_window": "24h", "metadata": {TAG: tag}}
        return _id(self.url, await self._call("POST", "batches", body))

    async def get(self, batch: str) -> dict[str, Any]:
        """What the server says of ``batch``."""
        return await self._call("GET", f"batches/{quote(batch, safe='')}")

    async def find(self, tag: str, file: str, since: float) -> str | None:
        """The id of the batch that was made with ``tag``, or over ``file``, at ``since`` (seconds, of this clock) or later."""
        after: dict[str, str] = {}
        while True:
            page = await self._call("GET", "batches", limit=str(_PAGE), **after)
            found = [batch for batch in page.get("data") or [] if isinstance(batch, dict)]
            for batch in found:
                metadata = batch.get("metadata")
                tagged = isinstance(metadata, dict) and metadata.get(TAG) == tag
                if tagged or (file and batch.get("input_file_id") == file):
                    return _id(self.url, batch)
            made = found[-1].get("created_at") if found else None
            if not page.get("has_more") or (isinstance(made, int) and made < since - _EARLIER):  # newest first
                return None
            after = {"after": _id(self.url, found[-1])}

    async def fetch(self, file: str, path: Path) -> None:
        """Write a file of results to ``path``. It may lie elsewhere, in a store of files: there the key is not shown."""
        url, client = f"{self.url}/files/{quote(file, safe='')}/content", self.lines.files
        for _ in range(_HOPS):
            with path.open("wb") as into:
                try:
                    await sent(client, "GET", url, into=into.write)
                    return
                except MovedError as error:
                    url, client = urljoin(url, error.to), self.lines.elsewhere
        raise AgainError(f"{self.url}: file {file} is moved from one address to the next")

    async def _call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        url = f"{self.url}/{path}" + (f"?{urlencode(query)}" if query else "")
        return _answered(url, await sent(self.lines.client, method, url, b"" if body is None else json.dumps(body).encode()))


def read_lines(path: Path, secret: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of results, ``secret`` out of sight; what is no object is left out."""
    with path.open("rb") as file:
        for line in file:
            if (found := _object(hidden(line, secret))) is not None:
                yield found


def _answered(url: str, answer: Response) -> dict[str, Any]:
    found = _object(answer.body)
    if found is None:
        raise AgainError(f"{url}: not an answer of the batch protocol: {short(answer.body.decode('utf-8', 'replace'))}")
    return found


def _id(url: str, found: Mapping[str, Any]) -> str:
    given = found.get("id")
    if not isinstance(given, str) or not given.isprintable() or not given:
        raise AgainError(f"{url}: an answer without an id: {short(json.dumps(found))}")
    return given


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
