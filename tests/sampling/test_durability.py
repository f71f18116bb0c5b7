"""Whatever ends a sampling, nothing that came is lost, and nothing is bought twice but what was in flight.

The server counts. UNDERSTUDY_KILLS=300 (`make test-kill`) kills so often.
"""

import asyncio
import bisect
import itertools
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web
from asking import read_keys
from loopback import Server, completion

from understudy.core.asks import GREEDY, Call, Reply, Request
from understudy.sampling.ledger import Ledger

KILLS = int(os.environ.get("UNDERSTUDY_KILLS", "10"))
CONCURRENCY = 8


class Sampling:
    """A server, and processes that sample from it over one ledger."""

    def __init__(self, where, server, flows):
        self.ledger, self.server, self.flows = where / "ledger.sqlite", server, flows
        self.requests = sum(1 + i % 2 for i in range(flows))

    def start(self, *, limit=0):
        given = [self.ledger, self.server.url, self.flows, CONCURRENCY, limit]
        command = [sys.executable, str(Path(__file__).parent / "sampler.py"), *map(str, given)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stopped(self, number, after):
        """Begin, and be sent the signal ``number`` once ``after`` more requests have come."""
        wanted = len(self.server.got) + after
        with self.start() as process:
            process.stdout.readline()
            while len(self.server.got) < wanted and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(number)
            process.communicate(timeout=60)
        return process.returncode

    def complete(self):
        """Run to the end: every flow has its value."""
        with self.start() as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.split() == ["begins", str(self.flows)]

    def check(self, *, stops):
        """The ledger is whole and has every reply, and what was asked twice was in flight when it was stopped."""
        with closing(sqlite3.connect(self.ledger)) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with Ledger(self.ledger) as ledger:
            assert len(read_keys(ledger)) == self.requests
            assert ledger.spent.requests >= len(self.server.got), "the server never got what the ledger does not know"
        came = Counter(body["prompt"] for _, body in self.server.got)
        assert len(came) == self.requests
        assert sum(came.values()) <= self.requests + stops * 2 * CONCURRENCY


def answer(_path, body, _n):
    async def later():
        await asyncio.sleep(0.005)
        return completion(f"said to {body['prompt'][:20]}")

    return later()


@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_9_at_any_moment_loses_nothing_and_buys_nothing_twice_but_what_was_in_flight(tmp_path):
    rng = random.Random(0)
    with Server(answer) as server:
        sampling = Sampling(tmp_path, server, flows=20 * KILLS)
        for _ in range(KILLS):
            sampling.stopped(signal.SIGKILL, rng.randrange(2 * 20))
        sampling.complete()
        sampling.check(stops=KILLS)


def test_more_connections_than_this_process_may_open_lose_no_reply(tmp_path):
    with Server(answer) as server:
        sampling = Sampling(tmp_path, server, flows=200)
        command = [sys.executable, str(Path(__file__).parent / "sampler.py"), sampling.ledger, server.url, "200", "256", "0"]

        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=few, check=False)
        assert (done.stdout.split(), done.stderr) == (["begins", "200"], "")
        sampling.check(stops=0)


def test_ctrl_c_keeps_what_came_and_the_next_run_asks_for_the_rest(tmp_path):
    with Server(answer) as server:
        sampling = Sampling(tmp_path, server, flows=100)
        for after in (10, 40):
            assert sampling.stopped(signal.SIGINT, after) != 0
        sampling.complete()
        sampling.check(stops=2)


def test_a_full_disk_ends_the_sampling_before_anything_is_sent_that_could_not_be_noted(tmp_path):
    with Server(answer) as server:
        sampling = Sampling(tmp_path, server, flows=200)
        with sampling.start(limit=150_000) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "cannot be used" in err
        assert 0 < len(server.got) < 300
        sampling.complete()
        sampling.check(stops=1)


def test_an_endpoint_that_dies_in_the_middle_leaves_what_came(tmp_path):
    def dies(path, body, n):
        return answer(path, body, n) if n < 50 else web.Response(status=503)

    with Server(dies) as server:
        sampling = Sampling(tmp_path, server, flows=100)
        with sampling.start() as process:
            out, _ = process.communicate(timeout=60)
        assert int(out.split()[1]) < 50
        failed, server.script = len(server.got) - 49, answer
        sampling.complete()
        with Ledger(sampling.ledger) as ledger:
            assert len(read_keys(ledger)) == sampling.requests
        assert len(server.got) == sampling.requests + failed


REPLIES = 300
HEADER = 32
"""Bytes of a log's header, with a number that changes when the log begins anew, over its old pages."""


def alike(one, other):
    """How many bytes both begin with."""
    return bisect.bisect_left(range(1, min(len(one), len(other)) + 1), True, key=lambda n: one[:n] != other[:n])


def test_power_loss_at_any_moment_loses_no_committed_reply(tmp_path):
    """What is on the disk then: all that was synced, and of what was written since any part, or anything at all in its place."""
    rng, path = random.Random(0), tmp_path / "l.sqlite"
    wal = path.with_name("l.sqlite-wal")
    states = []
    with Ledger(path) as ledger:
        while len(states) < REPLIES // 10:
            for _ in range(10):
                i = 10 * len(states) + _
                request = Request(Call("teacher", f"{i} {'x' * rng.randrange(40_000)}"), GREEDY, 0)
                ledger.reserve(f"k{i}", engine="e", request=request)
                ledger.put(f"k{i}", Reply(f"reply {i}"), engine="e", request=request, seed=0)
            ledger.flush()
            states.append((path.read_bytes(), wal.read_bytes()))
    lost = tmp_path / "after" / "l.sqlite"
    lost.parent.mkdir()
    for n, (synced, later) in enumerate(itertools.pairwise(states), 1):
        kept = alike(synced[1], later[1])
        cut = rng.randrange(kept if kept > HEADER else 0, len(later[1]) + 1)
        rest = rng.randbytes(rng.randrange(5000)) if rng.random() < 0.5 else b""
        # Where the log began anew, all before was synced into the database first.
        lost.write_bytes(synced[0] if kept > HEADER else later[0])
        lost.with_name("l.sqlite-wal").write_bytes(later[1][:cut] + rest)
        lost.with_name("l.sqlite-shm").unlink(missing_ok=True)
        with Ledger(lost) as ledger:
            assert len(read_keys(ledger)) >= 10 * n
            assert all(ledger.get(f"k{i}").text == f"reply {i}" for i in range(10 * n))
            assert ledger.spent.requests >= 10 * n
