"""A study whose teacher is asked in batches, as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from batch_server import BatchServer
from command import understudy
from loopback import completion

STUDY = """
[study]
name = "s"
[task]
name = "diary"
train = 30
dev = 4
test = 8
longer_test = 0
[teacher]
engine = "endpoint"
url = "URL"
model = "tiny"
samples = 3
batch = true
poll = 0.05
[[arms]]
name = "a"
method = "scotd"
"""


def answer(_path, body, _n):
    start = re.findall(r"has (\d+) ", body["prompt"])[-1]
    choices = [{"index": i, "text": f" {start}. So the answer is: {start}"} for i in range(body.get("n", 1))]
    return completion("") | {"choices": choices}


@pytest.fixture
def study(tmp_path):
    def write(url):
        (tmp_path / "s.toml").write_text(STUDY.replace("URL", url))

    return write


def test_a_study_in_batches_asks_what_it_asks_one_by_one_and_neither_asks_again_what_the_other_has(tmp_path, study):
    with BatchServer(answer) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        out = " ".join(ran.out.split())
        assert "90 chains for 30 problems" in out
        assert "batch batch_0: 90 requests sent to" in out
        assert "batch batch_0: completed, 90 of 90 requests answered" in out
        assert (len(server.batches), server.single.total()) == (1, 0)
        alone = understudy("check", "s.toml", "--set", "teacher.batch=false", cwd=tmp_path)
        assert (alone.code, server.single.total()) == (0, 0), alone.err
        more = understudy("sample", "s.toml", "--set", "teacher.batch=false", "--set", "teacher.samples=4", cwd=tmp_path)
        assert (more.code, server.single.total()) == (0, 30), more.err
        last = understudy("sample", "s.toml", "--set", "teacher.samples=5", cwd=tmp_path)
        assert (last.code, len(server.batches), server.single.total()) == (0, 2, 30), last.err
        assert len(server.lines(server.batches["batch_1"])) == 30


def test_try_does_not_wait_for_a_batch(tmp_path, study):
    with BatchServer(answer) as server:
        study(server.url)
        ran = understudy("try", "s.toml", "-n", "2", cwd=tmp_path)
        assert (ran.code, server.single.total(), len(server.batches)) == (0, 2, 0), ran.err


def test_ctrl_c_says_what_goes_on_status_names_it_and_the_same_command_takes_it(tmp_path, study):
    with BatchServer(answer, states=("in_progress",) * 100_000) as server:
        study(server.url)
        command = [sys.executable, "-m", "understudy", "sample", "s.toml"]
        with subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
        ) as process:
            while not server.asked["GET batches/id"] and process.poll() is None:
                time.sleep(0.01)
            live = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert "30 requests are in batches that keep running at the server; the same command collects their replies" in err
        held = [{"id": "batch_0", "url": server.url, "requests": 30, "replies": 90}]
        assert (bool(live["writer"]), live["in_batches"], live["in_flight"], live["batches"]) == (True, 90, 0, held)
        told = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)
        assert (told["writer"], told["in_batches"], told["lost"], told["batches"]) == (None, 90, 0, held)
        assert "batch batch_0" in understudy("status", "runs/s", cwd=tmp_path).out
        more = " ".join(understudy("sample", "s.toml", "--dry-run", "--set", "teacher.samples=4", cwd=tmp_path).out.split())
        assert "120 chains, 0 already in the ledger, 90 under way in a batch, 30 to ask for in 30 requests" in more
        alone = understudy("sample", "s.toml", "--set", "teacher.batch=false", cwd=tmp_path)
        assert (alone.code, "would be paid for twice" in alone.err) == (2, True), alone.err
        server._end(server.batches["batch_0"], "completed", 30)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
        assert (ran.code, len(server.batches), server.single.total()) == (0, 1, 0), ran.err
        told = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)
        assert (told["in_batches"], told["batches"], told["received"]) == (0, [], 90)


def test_the_teacher_s_own_answers_come_in_batches_too(tmp_path, study):
    with BatchServer(answer) as server:
        study(server.url)
        arms = (tmp_path / "s.toml").read_text().replace('method = "scotd"', 'method = "few_shot"\nmodel = "teacher"')
        (tmp_path / "s.toml").write_text(arms)
        ran = understudy("evaluate", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert (len(server.batches), server.single.total()) == (1, 0)
        assert len(server.lines(server.batches["batch_0"])) == 8


def test_what_batches_are_looked_at_how_often_must_be_a_time(tmp_path, study):
    study("http://localhost/v1")
    ran = understudy("sample", "s.toml", "--set", "teacher.poll=0", cwd=tmp_path)
    assert (ran.code, "poll = 0" in ran.err) == (2, True), ran.err
