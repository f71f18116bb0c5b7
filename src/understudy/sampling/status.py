"""The progress of a sampling as another process sees it. The ledger is only read."""

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.processes import find_holder
from understudy.sampling.account import FILE, RECENT
from understudy.sampling.database import find_lock, name_errors, open_database, read_capabilities

_COUNT = (files("understudy.sampling") / "status.sql").read_text(encoding="utf-8")
_BATCHES = """
    SELECT id, url, count(DISTINCT line), count(*) FROM batches JOIN batched ON batch = tag JOIN intents USING (key)
    WHERE batches.ended IS NULL AND outcome IS NULL GROUP BY tag ORDER BY batches.at"""


@dataclass(frozen=True)
class HeldBatch:
    """A batch that has not ended at its server: its ``id`` ("" before it is known), its ``url``, and the ``requests`` that it holds
    for so many ``replies``."""

    id: str
    url: str
    requests: int
    replies: int


@dataclass(frozen=True)
class Status:
    """``writer``: the process to interrupt to stop sampling, None if there is none. ``chains`` of ``total`` have come in the
    current sampling, or the last one; ``chains_failed`` failed, and ``chains_unasked`` were not asked for because the budget was
    spent or the teacher stopped answering. All else is of the whole ledger: ``replies`` in it; ``requests`` that were sent to
    endpoints, each for one reply or several, without those under way; replies ``asked`` of endpoints, and what became of them;
    tokens ``read`` and ``written`` and ``money`` in all, including what is set aside for those in flight. ``in_batches``: the
    replies of all ``batches``, none of which is ``in_flight``. ``rate``: chains a second in the last minute; ``left``: seconds to
    the end at that rate, None if nothing moves. ``capabilities``: engine -> url -> name -> value, what was found out about each
    endpoint (`engines.remote.probe`)."""

    writer: int | None
    chains: int
    chains_failed: int
    chains_unasked: int
    total: int
    replies: int
    requests: int
    asked: int
    received: int
    in_flight: int
    in_batches: int
    failed: int
    refused: int
    lost: int
    read: int
    written: int
    money: float
    rate: float
    left: float | None
    batches: list[HeldBatch]
    capabilities: Mapping[str, Mapping[str, Mapping[str, str]]]


def status(run: Path) -> Status:
    """Read the status of the run directory ``run``. Raises DataError if nothing was sampled there."""
    path = run / "ledger.sqlite"
    if not path.is_file():
        raise DataError(f"{run}: nothing was sampled here (no ledger.sqlite): not yet, or its chains are recorded, or it is no run")
    writer = find_holder(find_lock(path))
    with closing(open_database(path, readonly=True)) as reader, name_errors(path):
        reader.execute("BEGIN")  # all figures are of one moment
        reader.row_factory = sqlite3.Row
        counts = dict(reader.execute(_COUNT).fetchone())
        endpoints, batches = read_capabilities(reader), [HeldBatch(*row) for row in reader.execute(_BATCHES)]
    counts["in_batches"] = sum(batch.replies for batch in batches)
    counts["in_flight"] -= counts["in_batches"]
    if writer is None:
        counts["lost"] += counts["in_flight"]
        counts["in_flight"] = 0
    state = _read_progress(run / FILE)
    rate = state["rate"] = state["rate"] if writer else 0.0
    left = (state["total"] - state["chains"] - state["chains_failed"] - state["chains_unasked"]) / rate if rate else None
    return Status(writer=writer, left=left, batches=batches, capabilities=endpoints, **counts, **state)


def _read_progress(path: Path) -> dict[str, Any]:
    """Read what the sampling process wrote last (`Account`); the rate of an old file is 0."""
    state: dict[str, Any] = dict.fromkeys(("chains", "chains_failed", "chains_unasked", "total", "rate"), 0)
    if path.is_file():
        age = time.time() - path.stat().st_mtime
        with suppress(ValueError):  # the file is cut off; the next one will be whole
            written = json.loads(path.read_text(encoding="utf-8"))
            state |= {name: written[name] for name in state.keys() & written.keys()}
        state["rate"] *= age < RECENT
    return state
