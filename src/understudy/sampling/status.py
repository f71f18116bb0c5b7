"""How far a sampling is, seen from another process while it goes on: the ledger is only read."""

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.sampling.account import FILE, RECENT
from understudy.sampling.database import capabilities, check_version, connect, writer


@dataclass(frozen=True)
class Status:
    """``writer``: the process to interrupt so that nobody samples, None where nobody does. ``chains`` of ``total`` have come in the
    sampling that is going on, or was the last; ``chains_failed`` failed, and ``chains_unasked`` were not asked for, since
    the budget was spent or the teacher stopped answering. All else is of the whole ledger: ``replies`` it holds;
    ``requests`` that were sent to endpoints, each for one reply or several, those that are under way not among them; replies
    ``asked`` of endpoints, and what became of them; what all that counts as, tokens ``read`` and ``written`` and ``money``, with
    what is set aside for those in flight. ``batches``: those that have not ended at their server, each with ``id`` ("" before it is
    known), ``url`` and the ``requests`` that it holds for so many ``replies``; ``in_batches`` are all of these, none of which is
    ``in_flight``. ``rate``: chains a second in the last minute; ``left``: seconds to the end at that rate, None where nothing
    moves. ``capabilities``: engine -> url -> name -> value, what was found of each endpoint (`engines.remote.probe`)."""

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
    batches: list[dict[str, Any]]
    capabilities: Mapping[str, Mapping[str, Mapping[str, str]]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status(run: Path) -> Status:
    """The figures of the run directory ``run``. Raises DataError where nothing was sampled there."""
    path = run / "ledger.sqlite"
    if not path.is_file():
        raise DataError(
            f"{run}: nothing was sampled here (there is no ledger.sqlite); give a directory that `understudy run` wrote"
        )
    at_work = writer(path)
    with closing(connect(path, readonly=True)) as reader:
        check_version(reader, path)
        reader.execute("BEGIN")  # all figures are of one moment
        (replies,) = reader.execute("SELECT count(*) FROM replies").fetchone()
        found = reader.execute(
            "SELECT outcome, count(*), sum(read), sum(written), total(money), sum(requests) FROM intents GROUP BY outcome"
        )
        endpoints = capabilities(reader)
        by_outcome = {outcome: row for outcome, *row in found}
        batches = _batches(reader)
    paid = [row for outcome, row in by_outcome.items() if outcome != "refused"]
    counts = {outcome: row[0] for outcome, row in by_outcome.items()}
    in_batches = sum(batch["replies"] for batch in batches)
    under_way = counts.get(None, 0) - in_batches
    came, failed, unasked, total, rate = _progress(run / FILE)
    moving = at_work is not None and rate > 0
    return Status(
        writer=at_work,
        chains=came,
        chains_failed=failed,
        chains_unasked=unasked,
        total=total,
        replies=replies,
        requests=sum(row[4] for outcome, row in by_outcome.items() if outcome is not None),
        asked=sum(counts.values()),
        received=counts.get("reply", 0),
        in_flight=under_way if at_work else 0,
        in_batches=in_batches,
        failed=counts.get("failed", 0),
        refused=counts.get("refused", 0),
        lost=counts.get("lost", 0) + (0 if at_work else under_way),
        read=sum(row[1] for row in paid),
        written=sum(row[2] for row in paid),
        money=sum(row[3] for row in paid),
        rate=rate if at_work else 0.0,
        left=(total - came - failed - unasked) / rate if moving else None,
        batches=batches,
        capabilities=endpoints,
    )


def _batches(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    found = reader.execute(
        """SELECT id, url, count(DISTINCT line), count(*) FROM batches JOIN batched ON batch = tag JOIN intents USING (key)
            WHERE batches.ended IS NULL AND outcome IS NULL GROUP BY tag ORDER BY batches.at"""
    )
    return [{"id": batch, "url": url, "requests": requests, "replies": replies} for batch, url, requests, replies in found]


def _progress(path: Path) -> tuple[int, int, int, int, float]:
    """(came, failed, not asked, total, rate) as the process that samples wrote them last; the rate of an old file is nothing."""
    try:
        age = time.time() - path.stat().st_mtime
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0, 0, 0, 0, 0.0
    rate = state["rate"] if age < RECENT else 0.0
    return state["chains"], state.get("failed", 0), state.get("unasked", 0), state["total"], rate
