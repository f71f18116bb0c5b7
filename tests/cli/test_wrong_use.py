"""Wrong input: one message that says what and where, the right exit code, nothing lost, no traceback."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from command import SETS, understudy

STUDY = """
[study]
seeds = 1
name = "s"
[task]
name = "diary"
[[arms]]
name = "a"
method = "scotd"
"""


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (None, (), "there is no such study file"),
        ("x = [", (), "not a TOML file"),
        (STUDY + "\n[traning]\nsteps = 3", (), r"unknown table 'traning'; did you mean 'training'?"),
        (STUDY, ("--set", "training.step=3"), "training: unknown key 'step'; did you mean 'steps'?"),
        (STUDY, ("--set", "training.steps=many"), "training.steps = 'many'"),
        (STUDY, ("--set", "arms.0.method=scodt"), "unknown method 'scodt'; did you mean 'scotd'?"),
        (STUDY, ("--set", "arms.3.method=scotd"), "arms.3 is not one of the 1 entries"),
        (STUDY, ("--set", "arms.name=b"), "arms is a list; name one of its entries, as in arms.0.name"),
        (STUDY, ("--set", "arms.0.name.x=b"), "arms.0.name is 'a', not a table"),
        (STUDY, ("--set", "study=3"), "study: must be a table of options, not 3"),
        (STUDY.replace("[[arms]]", "[arms]"), (), "at least one [[arms]] table must be given"),
        (STUDY, ("--set", "arms.0.options.nonsense=1"), "unknown key 'nonsense'"),
        (STUDY, ("--set", "arms.0.select.keep=corect"), "arms[0].select.keep = 'corect'"),
        (STUDY, ("--set", "task.name=diarie"), "unknown task 'diarie'; did you mean 'diary'?"),
        (STUDY, ("--set", "training"), "must look like table.key=value"),
        (STUDY, ("--set", "evaluation.dev=test"), "choosing checkpoints on test data is refused"),
        (STUDY, ("--set", "evaluation.splits=['train']"), "name held-out splits"),
        (STUDY, ("--set", "evaluation.dev=train"), "name held-out splits"),
        (STUDY, ("--set", "evaluation.splits=['test', 'test']"), "name held-out splits, once each"),
        (STUDY, ("--set", "evaluation.dev_problems=0"), "dev_problems = 0: "),
        (STUDY, ("--set", "arms.0.name=..."), "has no letter or digit"),
        (STUDY, ("--set", "study.name=../evil"), "no slash"),
        (STUDY, ("--workers", "0"), "--workers: 0: must be at least 1"),
        (STUDY + '[[arms]]\nname = "a "\nmethod = "scotd"', (), "'a' and 'a ' would both write the file 'a'"),
        (STUDY, ("--set", "task.name=files", "--set", "task.kind=number", "--set", "task.train=x"), "is not a procedural world"),
        (STUDY, ("--set", "teacher.engine=recorded"), "chains must be given"),
        (STUDY, ("--set", "arms.0.decode.votes=0"), "votes = 0: "),
        (STUDY, ("--seeds", "0"), "at least 1"),
        (STUDY + '[[arms]]\nname = "a"\nmethod = "scotd"', (), "two arms are called 'a'"),
        (STUDY, ("--set", "evaluation.splits=['tset']"), "has no problems in split 'tset'; did you mean 'test'?"),
    ],
)
def test_a_wrong_study_is_one_message_and_exit_code_2(tmp_path, text, options, says):
    if text is not None:
        (tmp_path / "s.toml").write_text(text)
    ran = understudy("run", "s.toml", *options, cwd=tmp_path)
    assert ran.code == 2, ran.out + ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_wrong_usage_is_exit_code_2_and_names_the_nearest_verb(tmp_path):
    ran = understudy("smaple", cwd=tmp_path)
    assert (ran.code, "did you mean 'sample'?" in ran.err) == (2, True)
    assert understudy(cwd=tmp_path).code == 2


@pytest.mark.parametrize("verb", ["results", "report", "ls", "gc"])
def test_a_directory_without_a_run_is_named(tmp_path, verb):
    ran = understudy(verb, "nowhere", cwd=tmp_path)
    assert (ran.code, "nowhere: holds no run" in ran.err) == (2, True)


def test_a_directory_without_a_student_is_named(tmp_path):
    ran = understudy("answer", ".", "how many ?", cwd=tmp_path)
    assert (ran.code, "understudy.json is missing" in ran.err) == (2, True)


def test_debug_adds_the_traceback(tmp_path):
    assert "Traceback" in understudy("results", "nowhere", "--debug", cwd=tmp_path).err


def test_a_second_run_in_one_directory_is_refused(tiny):
    import fcntl

    with (tiny / "runs" / "demo" / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = understudy("demo", *SETS, cwd=tiny)
    assert ran.code == 2
    assert "is running a study there" in ran.err


@pytest.fixture
def start(tmp_path):
    """Starts a demo in a session of its own, which ends with the test whatever becomes of it."""
    runs = []

    def started(*options):
        command = [sys.executable, "-m", "understudy", "demo", *SETS, *options]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        runs.append(subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **streams))
        return runs[-1]

    yield started
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def wait_for(cwd, pattern):
    for _ in range(1800):
        if list(cwd.glob(pattern)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{pattern} never came")


@pytest.mark.parametrize(("number", "code", "times"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)])
def test_interruption_keeps_what_was_done_and_says_so(start, tmp_path, number, code, times):
    run = start("--set", "training.steps=100000", "--set", "training.save_every=2", "--workers", "1")
    wait_for(tmp_path, "runs/demo/stages/student-*/*")
    for _ in range(times):  # as `timeout` and schedulers do
        run.send_signal(number)
        time.sleep(0.05)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code
    assert "run the same command again to continue" in err and "Traceback" not in err


def test_a_killed_run_goes_on_where_it_stopped_and_leaves_no_process(start, tmp_path):
    run = start()
    wait_for(tmp_path, "runs/demo/stages/student-*/manifest.json")
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=30)
    for _ in range(100):
        left = subprocess.run(["pgrep", "-s", str(run.pid)], capture_output=True, text=True, check=False).stdout.split()
        if not left:
            break
        time.sleep(0.1)
    assert not left
    ran = understudy("demo", *SETS, cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    assert "already done" in ran.out


def test_a_failed_attempt_leaves_the_finished_run_and_its_results_as_they_were(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    before = understudy("results", "runs/demo", "--json", cwd=tmp_path).out
    ran = understudy("demo", *SETS, "--set", "task.test=0", cwd=tmp_path)
    assert ran.code == 2, ran.out + ran.err
    assert understudy("results", "runs/demo", "--json", cwd=tmp_path).out == before
    listed = json.loads(understudy("ls", "runs/demo", "--json", cwd=tmp_path).out)
    assert all(held["needed"] for held in listed if held["complete"])


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


FILES = """
[study]
seeds = 1
name = "s"
[task]
name = "files"
kind = "number"
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
[teacher]
engine = "recorded"
chains = ["c.jsonl"]
[[arms]]
name = "a"
method = "answer_only"
"""


@pytest.mark.parametrize(
    ("train", "dev", "test", "says"),
    [
        ("1 2 3", "4 5", "2 6", "occur in other splits, too, with the same question and choices"),
        ("1 2 3", "3 5", "6 7", "occur in other splits, too, with the same question and choices"),
        ("1 2 3", "4 5", "6x 7x", "no problem of split 'test' has a gold answer"),
        ("1x 2x 3x", "4 5", "6 7", "no problem of split 'train' has a gold answer"),
    ],
)
def test_splits_that_would_give_false_numbers_stop_before_any_training(tmp_path, train, dev, test, says):
    for name, marks in (("train", train), ("dev", dev), ("test", test)):
        rows = [{"id": f"{name}{m}", "question": f"What is {m[0]}?", "answer": None if "x" in m else m} for m in marks.split()]
        lines(tmp_path / f"{name}.jsonl", rows)
    lines(tmp_path / "c.jsonl", [{"problem_id": "train1", "text": "The answer is 1."}])
    (tmp_path / "s.toml").write_text(FILES)
    ran = understudy("run", "s.toml", cwd=tmp_path)
    assert (ran.code, says in ran.err) == (2, True), ran.out + ran.err
    assert not list((tmp_path / "runs").glob("s/stages/student-*"))


def test_questions_without_answers_are_sampled_and_checked_but_nothing_is_trained_on_them(tmp_path):
    for name in ("train", "dev", "test"):
        lines(tmp_path / f"{name}.jsonl", [{"id": name, "question": f"Why {name}?"}])
    lines(tmp_path / "c.jsonl", [{"problem_id": "train", "text": said} for said in ("The answer is 3.", "Because.")])
    (tmp_path / "s.toml").write_text(FILES)
    ran = understudy("check", "s.toml", cwd=tmp_path)
    assert (ran.code, "no gold 1, unparsed 1" in ran.out) == (0, True), ran.out + ran.err
    for verb in ("train", "run"):
        ran = understudy(verb, "s.toml", cwd=tmp_path)
        assert (ran.code, "no problem of split 'train' has a gold answer; name the field" in ran.err) == (2, True)


def test_chains_of_no_known_problem_are_an_error(tmp_path):
    lines(tmp_path / "q.jsonl", [{"id": "q", "question": "What is 1?", "answer": "1"}])
    lines(tmp_path / "c.jsonl", [{"problem_id": "elsewhere", "text": "The answer is 1."}])
    ran = understudy("import", "c.jsonl", "--problems", "q.jsonl", "--kind", "number", "--to", "x.parquet", cwd=tmp_path)
    assert (ran.code, "(1 rows, 1 of unknown problems)" in ran.err) == (2, True)
    assert not (tmp_path / "x.parquet").exists()
