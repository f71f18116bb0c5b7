"""The OpenAI batch protocol (developers.openai.com/api/reference: Files, Batches) at one address.

Everything here raises the errors of `wire`: after an AgainError the same may be asked again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from understudy.engines.remote.wire import AgainError, Client, Response, hide, short

TAG = "understudy"
"""The key in a batch's ``metadata`` under which our own name for it stands."""
SLOW = 3600.0
"""Seconds that the transfer of a file may take."""
_PAGE = 100
"""Batches on one page of the list, at most: the protocol's limit."""
_EARLIER = 24 * 3600
"""Seconds by which a server's clock may be behind ours."""


class BatchApi:
    """The files and batches at ``url`` (with its ``/v1``)."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.url = client, url

    async def upload(self, lines: Sequence[bytes], name: str) -> str:
        """Upload a file of requests, called ``name`` there; returns its id at the server."""
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", io.BytesIO(b"".join(lines)), filename=name, content_type="application/jsonl")
        return _id(self.url, _read(self.url, await self.client.send("POST", f"{self.url}/files", form, timeout=SLOW)))

    async def create(self, file: str, path: str, tag: str) -> str:
        """Make a batch of the uploaded ``file``, whose requests go to ``path``; returns its id. `find` finds it by ``tag``."""
        body = {"input_file_id": file, "endpoint": f"/v1/{path}", "completion_window": "24h", "metadata": {TAG: tag}}
        return _id(self.url, await self._call("POST", "batches", body))

    async def get(self, batch: str) -> dict[str, Any]:
        """The state of ``batch``, as the server says it."""
        return await self._call("GET", f"batches/{quote(batch, safe='')}")

    async def find(self, tag: str, file: str, since: float) -> str | None:
        """The id of the batch that was made with ``tag``, or of ``file``, at ``since`` (seconds, of this clock) or later."""
        after: dict[str, str] = {}
        while True:
            page = await self._call("GET", f"batches?{urlencode({'limit': _PAGE, **after})}")
            batches = [batch for batch in page.get("data") or [] if isinstance(batch, dict)]
            for batch in batches:
                metadata = batch.get("metadata")
                tagged = isinstance(metadata, dict) and metadata.get(TAG) == tag
                if tagged or (file and batch.get("input_file_id") == file):
                    return _id(self.url, batch)
            created = batches[-1].get("created_at") if batches else None
            if not page.get("has_more") or (isinstance(created, int) and created < since - _EARLIER):  # newest first
                return None
            after = {"after": _id(self.url, batches[-1])}

    async def fetch(self, file: str, path: Path) -> None:
        """Write a file of results to ``path``. It may lie on another server, which is not shown the key."""
        with path.open("wb") as into:
            await self.client.send("GET", f"{self.url}/files/{quote(file, safe='')}/content", into=into.write, timeout=SLOW)

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        url = f"{self.url}/{path}"
        return _read(url, await self.client.send(method, url, None if body is None else json.dumps(body).encode()))


def read_lines(path: Path, secret: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of results, with ``secret`` hidden; lines that are no object are left out."""
    with path.open("rb") as file:
        for line in file:
            if (row := _object(hide(line, secret))) is not None:
                yield row


def _read(url: str, answer: Response) -> dict[str, Any]:
    row = _object(answer.body)
    if row is None:
        raise AgainError(f"{url}: the answer does not follow the batch protocol: {short(answer.body.decode('utf-8', 'replace'))}")
    return row


def _id(url: str, row: Mapping[str, Any]) -> str:
    name = row.get("id")
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise AgainError(f"{url}: the answer has no id: {short(json.dumps(row))}")
    return name


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
