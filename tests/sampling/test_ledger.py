"""What the ledger promises: durable, one writer, the first reply stays, exact round trip."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from asking import read_keys
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.asks import GREEDY, Call, Decoding, Message, Reply, Request
from understudy.core.errors import BusyError, DataError
from understudy.sampling.ledger import GROUP, Ledger
from understudy.sampling.status import status

REQUEST = Request(Call("teacher", "p"), GREEDY, 0)


def put(ledger, key, text):
    ledger.put(key, Reply(text), engine="e", request=REQUEST, seed=0)


def test_kill_9_at_any_moment_loses_no_reply_that_counted_as_received(tmp_path):
    path, rng, start = tmp_path / "ledger.sqlite", random.Random(0), 0
    for _ in range(6):
        writer = [sys.executable, str(Path(__file__).parent / "writer.py"), str(path), str(start)]
        with subprocess.Popen(writer, stdout=subprocess.PIPE, text=True) as process:
            last = int(process.stdout.readline())
            deadline = time.monotonic() + rng.uniform(0.0, 0.2)
            while time.monotonic() < deadline:
                last = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
            said = [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
        last = max([last, *said])
        with Ledger(path) as ledger:
            assert len(read_keys(ledger)) >= last + 1
            for i in range(last + 1):
                assert ledger.get(f"key-{i}") == Reply(f"reply {i}", logprobs=(-0.5, -1.25))
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        start = last + 1


def test_a_reply_is_committed_within_the_group_window_without_flush(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        put(ledger, "k", "text")
        reader = Ledger(tmp_path / "l.sqlite", readonly=True)
        deadline = time.monotonic() + 10
        while reader.get("k") is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        reader.close()


def test_a_full_group_does_not_wait_for_the_window(tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.sampling.ledger.WINDOW", 1000.0)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for i in range(GROUP):
            put(ledger, f"k{i}", "x")
        deadline = time.monotonic() + 30
        while len(read_keys(ledger)) < GROUP:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_put_reply_is_read_back_before_it_is_committed_and_the_first_one_stays(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        put(ledger, "k", "first")
        put(ledger, "k", "second")
        assert ledger.get("k").text == "first"
        ledger.flush()
        put(ledger, "k", "third")
        ledger.flush()
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.get("k").text == "first"


def test_a_second_writer_is_told_who_writes(tmp_path):
    with (
        Ledger(tmp_path / "l.sqlite"),
        pytest.raises(BusyError, match=f"process {os.getpid()} is writing"),
    ):
        Ledger(tmp_path / "l.sqlite")
    Ledger(tmp_path / "l.sqlite").close()


def test_files_that_are_no_ledger_are_refused_unchanged(tmp_path):
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match="not a ledger"):
        Ledger(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_full_disk_makes_no_file_that_is_no_ledger_of_it(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"cannot be used .*is the disk full"):
            Ledger(tmp_path / "l.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    Ledger(tmp_path / "l.sqlite").close()


@pytest.mark.parametrize(("version", "says"), [(99, "later Understudy"), (5, r"earlier Understudy .*version 5.*commit 6b91b0b")])
def test_ledgers_of_another_version_are_refused_unchanged(tmp_path, version, says):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    for read in (Ledger, lambda path: Ledger(path, readonly=True), lambda path: status(path.parent)):
        with pytest.raises(DataError, match=says):
            read(path)
    assert path.read_bytes() == before


@given(
    st.builds(
        Reply,
        text=st.text(),
        finish=st.sampled_from(["stop", "length", "refused"]),
        tokens=st.none() | st.integers(0, 10**9),
        logprobs=st.lists(st.floats(-1e6, 0)).map(tuple),
        reasoning=st.text(),
        raw=st.none() | st.text(),
    )
)
def test_any_reply_comes_back_exactly(tmp_path_factory, reply):
    path = tmp_path_factory.mktemp("l") / "l.sqlite"
    surrogates = any("\ud800" <= c <= "\udfff" for c in reply.text + reply.reasoning + (reply.raw or ""))
    if surrogates:
        return
    with Ledger(path) as ledger:
        ledger.put("k", reply, engine="e", request=REQUEST, seed=0)
    with Ledger(path) as ledger:
        assert ledger.get("k") == reply


def test_the_key_is_what_decides_the_reply_and_nothing_else():
    def key(identity="e", role="r", path=0, attempt=0, **changes):
        ask = Call(role, changes.pop("prompt", "p"), attempt=attempt, **changes)
        return Request(ask, ask.decoding or GREEDY, path).key(identity)

    assert key() == key(role="other") == key(out_of_fold=True)
    different = [
        key(),
        key(identity="f"),
        key(path=1),
        key(attempt=1),
        key(prompt="q"),
        key(prompt=(Message("user", "p"),)),
        key(stop=("x",)),
        key(max_tokens=9),
        key(decoding=Decoding(0.5)),
        key(decoding=Decoding(0.5, 0.9)),
    ]
    assert len(set(different)) == len(different)


def test_whoever_asks_in_whatever_order_gets_the_reply_of_the_key(tmp_path):
    keys = [f"{i:032x}" for i in range(1000)]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for i, key in enumerate(keys):
            put(ledger, key, f"reply {i}")
    shuffled = random.Random(0).sample(keys, 1000)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for order in (keys, shuffled, keys[::-1], keys[500:] + shuffled + keys, [keys[0]] * 5):
            assert [ledger.get(key).text for key in order] == [f"reply {int(key, 16)}" for key in order]
        assert ledger.get("none") is None
        put(ledger, "new", "of now")
        assert [ledger.get(key).text for key in (keys[-1], "new", keys[0])] == ["reply 999", "of now", "reply 0"]
