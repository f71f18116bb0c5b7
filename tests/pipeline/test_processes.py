"""No worker outlives the command that started it, whenever that was killed. UNDERSTUDY_KILLS=175 kills so often."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from understudy.core.processes import end_with_parent, find_holder

KILLS = int(os.environ.get("UNDERSTUDY_KILLS", "8"))


def start():
    command = [sys.executable, str(Path(__file__).with_name("starting.py"))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def all_ended(process):
    """Whether the process and all that it started end: they hold the other end of its output."""
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    return True


@pytest.mark.timeout(60 + 5 * KILLS)
def test_a_command_that_is_killed_at_any_moment_of_the_start_takes_its_worker_along():
    began = time.monotonic()
    with start() as process:
        assert process.stdout.readline() == "works\n"
        seconds = time.monotonic() - began
        process.kill()
        assert all_ended(process)
    for i in range(KILLS):
        with start() as process:
            time.sleep(seconds * (i + 1) / KILLS)
            process.kill()
            assert all_ended(process), f"the worker lives, {seconds * (i + 1) / KILLS:.2f} s after the start"


def begin_late(parent, pipe):
    while os.getppid() == parent:
        time.sleep(0.01)
    pipe.send("orphaned")
    end_with_parent()
    time.sleep(60)
    pipe.send("lives")


def leave_a_child(pipe):
    process = multiprocessing.get_context("spawn").Process(target=begin_late, args=(os.getpid(), pipe))
    process.start()
    os._exit(0)


def test_a_worker_whose_parent_has_ended_before_it_looks_ends_at_once():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    context.Process(target=leave_a_child, args=(there,)).start()
    there.close()
    assert here.recv() == "orphaned"
    with pytest.raises(EOFError):  # nobody holds the other end
        here.recv()


@pytest.mark.parametrize(("gone", "named"), [("nobody", "parent"), ("the parent", "writer")])
def test_the_process_that_is_named_as_the_writer_of_a_ledger_is_alive(tmp_path, gone, named):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    processes = {"parent": ended.pid if gone == "the parent" else os.getppid(), "writer": os.getpid()}
    (tmp_path / "l.sqlite.lock").write_text(f"{processes['parent']} {processes['writer']}")
    assert find_holder(tmp_path / "l.sqlite.lock") == processes[named]
