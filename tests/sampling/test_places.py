"""Ledgers in places where they cannot be used, and files that are none: one message that names the file, and nothing is changed."""

import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from understudy.core.asks import GREEDY, Call, Reply, Request
from understudy.core.errors import DataError, UserError
from understudy.pipeline.run import hold_run
from understudy.sampling.ledger import Ledger
from understudy.sampling.status import status


def fill(path, n=200):
    with Ledger(path) as ledger:
        for i in range(n):
            ask = Request(Call("teacher", f"prompt {i} " + "x" * 500), GREEDY, 0)
            assert ledger.reserve(f"k{i}", engine="e", request=ask)
            ledger.put(f"k{i}", Reply(f"reply {i}", raw="y" * 500), engine="e", request=ask, seed=0)


def test_a_ledger_that_another_program_locks_is_named(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"
    fill(path)
    monkeypatch.setattr("understudy.sampling.database.PATIENCE", 0.1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="locked by another program, or is on a file system without locks") as error:
            Ledger(path)
    assert error.value.filename == str(path)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match=r"cannot be locked \(No locks available\): put the run directory on a file system") as error:
        Ledger(tmp_path / "ledger.sqlite")
    assert "ledger.sqlite" in error.value.filename
    with pytest.raises(UserError, match="No locks available"), hold_run(tmp_path):
        pass


@pytest.mark.parametrize("damage", ["no ledger", "bytes flipped", "cut"])
def test_a_damaged_ledger_is_named_and_left_as_it_is(tmp_path, damage):
    path = tmp_path / "ledger.sqlite"
    fill(path)
    whole = path.read_bytes()
    page = 4096
    damaged = {
        "no ledger": b"no database " * 1000,
        "bytes flipped": whole[:page] + bytes(b ^ 0x55 for b in whole[page:]),
        "cut": whole[: len(whole) // 2 // page * page],
    }[damage]
    path.write_bytes(damaged)
    for use in (lambda: Ledger(path), lambda: status(tmp_path)):
        with pytest.raises(DataError, match=r"ledger\.sqlite: is not a ledger, or is damaged .*restore a copy") as error:
            use()
        assert "move it away" not in str(error.value)
    assert path.read_bytes() == damaged


def test_a_directory_in_the_place_of_a_ledger_is_named(tmp_path):
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(OSError, match="cannot be used"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_progress_file_that_was_cut_off_is_no_error(tmp_path):
    fill(tmp_path / "ledger.sqlite")
    (tmp_path / "sampling.json").write_text('{"chains": 1')
    assert status(tmp_path).received == 200


STATUS = """
import os, sys, urllib.parse  # which pathlib imports when it is needed, from where nobody else may read
from pathlib import Path
from understudy.sampling.status import status
if not os.getuid():
    os.setuid(65534)  # root may write everywhere
assert not os.access(sys.argv[1], os.W_OK)
print(status(Path(sys.argv[1])).received)
"""


def test_status_reads_where_nothing_can_be_written():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run = Path(folder) / "run"
        run.mkdir()
        fill(run / "ledger.sqlite")
        (run / "ledger.sqlite-shm").unlink(missing_ok=True)
        run.chmod(0o555)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [shutil.which(sys.executable), "-c", STATUS, run], capture_output=True, text=True, env=environment, check=False
        )
        run.chmod(0o755)
    assert done.stdout == "200\n", done.stderr
