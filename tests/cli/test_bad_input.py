"""Whatever is given: one message that names file, line, field or option, the right exit code, and nothing lost."""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from checkpoints import make
from command import understudy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loopback import Server, completion

from understudy.core.errors import UserError
from understudy.corpus.import_ import import_chains
from understudy.studies.guess import guess
from understudy.studies.load import load_study
from understudy.tasks.files import Files

STUDY = """
[study]
name = "s"
[task]
name = "files"
kind = "number"
path = "q.jsonl"
sizes = { train = 6, dev = 2, test = 2 }
[teacher]
engine = "recorded"
chains = ["c.jsonl"]
[student]
hidden = 8
layers = 1
heads = 1
[training]
steps = 2
batch_size = 2
checks = 1
[[arms]]
name = "a"
method = "scotd"
"""
QUESTIONS = [{"id": f"q{i}", "question": f"What is {i} + 1?", "answer": i + 1} for i in range(10)]
CHAINS = [{"problem_id": f"q{i}", "text": f"{i} + 1 = {i + 1}. The answer is {i + 1}."} for i in range(10)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def with_row(i, **change):
    """q.jsonl with row ``i`` changed; a field that is set to ... is left out."""
    rows = [dict(row) for row in QUESTIONS]
    rows[i] |= change
    rows[i] = {name: value for name, value in rows[i].items() if value is not ...}
    return {"q.jsonl": lines(rows)}


@pytest.fixture
def world(tmp_path):
    """A directory in which the study works."""
    (tmp_path / "s.toml").write_text(STUDY)
    (tmp_path / "q.jsonl").write_text(lines(QUESTIONS))
    (tmp_path / "c.jsonl").write_text(lines(CHAINS))
    return tmp_path


def put(world, files):
    for name, content in files.items():
        path = world / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            path.write_text(content, encoding="utf-8")


def says(world, *command):
    """(exit code, what stands on stderr) of a command in the directory ``world``."""
    ran = understudy(*command, cwd=world)
    return ran.code, ran.err


OPTION = {"task.kind": "option"}
CASES = {
    # the study file
    "a table that is a number": ({}, {"study": 3}, "study: must be a table of options, not 3"),
    "NUL in a path": ({}, {"task.root": '"a\\u0000b"'}, r"task.root = 'a\\x00b': has a NUL character"),
    "NUL in a name": ({}, {"arms.0.name": '"a\\u0000b"'}, "arms.0.name = .*NUL"),
    "NUL in a list": ({}, {"teacher.chains": '["a\\u0000b"]'}, "teacher.chains.0 = .*NUL"),
    "arm with a name without end": ({}, {"arms.0.name": "x" * 300}, "arms: the name 'xxx.*has more than 120 bytes"),
    "study with a name without end": ({}, {"study.name": "x" * 300}, "study.name = 'xxx.*has more than 120 bytes"),
    "student without end": ({}, {"student.layers": 10**7}, "student.layers = 10000000: .*1000"),
    "no study": ({"s.toml": None}, {}, "s.toml: there is no such study file"),
    "empty study": ({"s.toml": ""}, {}, "task: name must be given"),
    "broken study": ({"s.toml": "[study\n"}, {}, "s.toml: not a TOML file: .*line 1"),
    "study in another encoding": ({"s.toml": "# caf\xe9".encode("latin-1")}, {}, "s.toml: not a TOML file"),
    "study is a directory": ({"s.toml": None, "s.toml/x": ""}, {}, "there is no such study file"),
    "unknown table": ({"s.toml": STUDY + "[studnet]\n"}, {}, r"unknown table 'studnet'; did you mean 'student'"),
    "unknown key": ({}, {"training.step": 1}, "training: unknown key 'step'; did you mean 'steps'"),
    "unknown task": ({}, {"task.name": "flies"}, "unknown task 'flies'; did you mean 'files'"),
    "unknown method": ({}, {"arms.0.method": "scodt"}, "unknown method 'scodt'; did you mean 'scotd'"),
    "unknown engine": (
        {},
        {"teacher.engine": "recoded"},
        "teacher.engine = 'recoded': unknown engine 'recoded'; did you mean 'recorded'",
    ),
    "number as text": ({}, {"training.steps": "'10'"}, "training.steps = '10'"),
    "text as number": ({}, {"task.path": 3}, "task.path = 3"),
    "infinite rate": ({}, {"training.learning_rate": "nan"}, "learning_rate"),
    # files of questions
    "no questions": ({"q.jsonl": None}, {}, "q.jsonl: no such file"),
    "empty questions": ({"q.jsonl": ""}, {}, "q.jsonl: .*no problem"),
    "blank questions": ({"q.jsonl": "\n\n"}, {}, "q.jsonl: .*no problem"),
    "broken JSON": ({"q.jsonl": lines(QUESTIONS[:2]) + '{"id": \n'}, {}, "q.jsonl, line 3: not JSON"),
    "not an object": ({"q.jsonl": lines(QUESTIONS[:2]) + "[1]\n"}, {}, r"q.jsonl, line 3: '\[1\]' is not a JSON object"),
    "other encoding": ({"q.jsonl": lines(QUESTIONS).encode("utf-16")}, {}, "q.jsonl: not UTF-8 text"),
    "deeply nested": ({"q.jsonl": "[" * 100_000}, {}, "q.jsonl: not JSON"),
    "not a table": ({"q.csv": 'id,question,answer\n"1,2'}, {"task.path": "q.csv"}, "q.csv, after line 1: not a table"),
    "too many cells": ({"q.csv": "question,answer\na,1,2\n"}, {"task.path": "q.csv"}, "q.csv, line 2: more fields"),
    "a file that was cut": ({"q.csv": "question,answer\na,1\nWhat is"}, {"task.path": "q.csv"}, "q.csv, line 3: fewer fields"),
    "a spreadsheet": ({"q.xlsx": "PK"}, {"task.path": "q.xlsx"}, "q.xlsx: .*xlsx.*save it as"),
    "a column twice": (
        {"q.csv": "question,answer,answer\na,1,2\n"},
        {"task.path": "q.csv"},
        "line 1: the column 'answer'",
    ),
    "not Parquet": ({"q.parquet": "hello"}, {"task.path": "q.parquet"}, "q.parquet: not a Parquet file"),
    "JSON without rows": ({"q.json": '{"a": 1}'}, {"task.path": "q.json"}, "q.json, line 1: field 'question' must be"),
    "no question": (with_row(3, question=...), {}, r"q.jsonl, line 4: field 'question' .*the row has: id, answer"),
    "empty question": (with_row(3, question="  "), {}, "q.jsonl, line 4: field 'question' must be a non-empty text"),
    "question is a number": (with_row(3, question=7), {}, "q.jsonl, line 4: field 'question' .*not 7"),
    "field under another name": ({}, {"task.fields.question": "Question"}, "'Question'; did you mean 'question'"),
    "unknown field of ours": ({}, {"task.fields.qestion": "x"}, "unknown field 'qestion'; did you mean 'question'"),
    "duplicate ids": (with_row(3, id="q1"), {}, "1 id given more than once, first 'q1'"),
    "answer of another kind": (with_row(3, answer="blue"), {}, "q.jsonl, line 4: field 'answer' = 'blue'"),
    "answer is NaN": (with_row(3, answer=float("nan")), {}, "q.jsonl, line 4: not JSON .NaN"),
    "answer is infinite": (with_row(3, answer=float("inf")), {}, "q.jsonl, line 4: not JSON .Infinity"),
    "answer is a list of lists": (with_row(3, answer=[[1]]), {}, "q.jsonl, line 4"),
    "answer not among the choices": (
        {"q.jsonl": lines({**q, "choices": ["x", "y"], "answer": "D" if i == 3 else "A"} for i, q in enumerate(QUESTIONS))},
        OPTION,
        "q.jsonl, line 4: field 'answer' = 'D'",
    ),
    "choices are no list": (with_row(3, choices=7, answer="A"), OPTION, "q.jsonl, line"),
    "half of a pair in an id": (with_row(3, id="\ud83d"), {}, r"id = '.ud83d' of problem .* cannot be stored"),
    "half of a pair in a field": (with_row(3, note="\ud83d"), {}, "meta = .* of problem 'q3' cannot be stored"),
    "an infinite number": (
        {"q.jsonl": lines(QUESTIONS[:9]) + '{"id": "q9", "question": "What is 9 + 1?", "answer": 10, "x": 1e400}'},
        {},
        "meta = .*inf.* of problem 'q9' cannot be stored",
    ),
    "too few questions": ({}, {"task.sizes.train": 60}, "64 problems, .*10"),
    "question in train and test": ({"q.jsonl": lines(q | {"question": "Hm?"} for q in QUESTIONS)}, {}, "question and choices"),
    # chains
    "no chains": ({"c.jsonl": None}, {}, "teacher.*: there is no file .*c.jsonl"),
    "empty chains": ({"c.jsonl": ""}, {}, "c.jsonl"),
    "broken chains": ({"c.jsonl": lines(CHAINS[:1]) + "{"}, {}, "c.jsonl, line 2: not JSON"),
    "chain without text": ({"c.jsonl": lines([CHAINS[0], {"problem_id": "q1"}])}, {}, "c.jsonl, line 2: no field 'text'"),
    "chains without a text": ({"c.jsonl": lines({"problem_id": f"q{i}", "text": " "} for i in range(10))}, {}, "no chain"),
    "no chain for training": (
        {
            "s.toml": STUDY.replace("sizes = { train = 6, dev = 2, test = 2 }", 'splits = "splits.json"'),
            "splits.json": json.dumps({"train": ["q1", "q2"], "dev": ["q3"], "test": ["q0"]}),
            "c.jsonl": lines(CHAINS[:1]),
        },
        {},
        "no chain belongs to the 4 problems .1 rows, 1 of questions outside the split 'train'",
    ),
    "NaN in a chain": ({"c.jsonl": lines([CHAINS[0] | {"logprob": float("nan")}])}, {}, "line 1: not JSON .NaN"),
    "unknown finish": ({"c.jsonl": lines([CHAINS[0] | {"finish": "bored"}])}, {}, "c.jsonl, line 1: field 'finish'"),
    "chains of other questions": ({"c.jsonl": lines([{"problem_id": "z", "text": "The answer is 1."}])}, {}, "no chain"),
    "nothing left after selection": (
        {"c.jsonl": lines(c | {"text": "The answer is 77."} for c in CHAINS)},
        {},
        "nothing to train on",
    ),
    "number without end": (
        {"c.jsonl": lines([CHAINS[0] | {"tokens": 10**25}])},
        {},
        r"line 1: field 'tokens' \(tokens\) = 10{25} must be a number from 0",
    ),
    "longer number": (
        {"c.jsonl": lines([CHAINS[0] | {"logprob": 10**400}])},
        {},
        "line 1: field 'logprob' .logprob. = 10{39} must",
    ),
    "tokens below none": ({"c.jsonl": lines([CHAINS[0] | {"tokens": -5}])}, {}, "field 'tokens' .tokens. = -5 must be"),
    "nested chain": (
        {"c.jsonl": f'{{"problem_id": "q0", "text": "1", "x": {"[" * 5000}{"]" * 5000}}}'},
        {},
        "c.jsonl, line 1: not JSON",
    ),
    # exemplars
    "no rationales": ({}, {"exemplars.n": 2}, "exemplars.n = 2: only 0 training problems have a rationale"),
    "no file of exemplars": ({}, {"exemplars.file": "e.jsonl"}, "exemplars.file: there is no file"),
    # students
    "no checkpoint": ({}, {"student.checkpoint": "nowhere"}, "student.checkpoint.*nowhere"),
    "context too short": ({}, {"student.context": 4}, "none of the 6 examples fits into the student's context of 4 tokens"),
    # places
    "the run's place is a file": ({"runs": "x"}, {}, "runs/s: cannot be created or written .*--out"),
}


@pytest.mark.parametrize(("files", "sets", "message"), CASES.values(), ids=CASES.keys())
def test_one_message_and_exit_code_2(world, files, sets, message):
    put(world, files)
    options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    code, err = says(world, "run", "s.toml", "--workers", "1", *options)
    assert re.search(message, " ".join(err.split())), err
    assert code == 2
    assert err.startswith("understudy run: ") and "Traceback" not in err
    assert len(err) < 900, "one message"


def checkpoint(world, **change):
    """A small GPT-2 checkpoint; each of ``change`` is a file's new bytes, or None to remove it."""
    folder = make("gpt2", world / "start", context=256)
    for name, content in change.items():
        path = folder / name.replace("__", ".")
        path.unlink() if content is None else path.write_bytes(content)
    return folder


CHECKPOINTS = {
    "no config": ({"config__json": None}, "no config.json"),
    "config is no JSON": ({"config__json": b"{"}, "config.json"),
    "unknown class": ({"config__json": b'{"model_type": "gpt9"}'}, "model_type 'gpt9'"),
    "layers without end": (
        {"config__json": b'{"model_type": "gpt2", "n_layer": 10000000}'},
        "10,000,000 layers and the files hold only",
    ),
    "no weights": ({"model__safetensors": None}, "no \\*.safetensors file"),
    "pickled weights": ({"model__safetensors": None, "pytorch_model__bin": b"x"}, "can run code when loaded"),
    "torn weights": ({"model__safetensors": b"12345678"}, "safetensors file .8 bytes"),
    "no tokenizer": ({"tokenizer__json": None, "tokenizer_config__json": None}, "tokenizer"),
    "weights of another model": ({"config__json": b'{"model_type": "llama", "hidden_size": 8}'}, "config.json: .*hidden.size"),
}


@pytest.mark.parametrize(("change", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_a_checkpoint_that_cannot_be_used_is_named(world, change, message):
    checkpoint(world, **change)
    code, err = says(world, "run", "s.toml", "--workers", "1", "--set", "student.checkpoint=start")
    assert re.search(message, err), err
    assert (code, "Traceback" in err) == (2, False)


def test_a_tokenizer_that_does_not_belong_to_the_weights_is_named(world):
    folder = checkpoint(world)
    other = make("gpt2", world / "other", context=256, tokenizer=larger(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, folder / name)
    code, err = says(world, "run", "s.toml", "--workers", "1", "--set", "student.checkpoint=start")
    assert (code, "they do not belong" in err) == (2, True), err


def larger(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<more{i}>" for i in range(50)])
    return tokenizer


ENDPOINTS = {
    "key refused": (lambda *_: web.json_response({"error": "bad key"}, status=401), "HTTP 401: .*is the key right"),
    "unknown model": (lambda *_: web.json_response({"error": "no model tiny"}, status=404), "HTTP 404: .*no model tiny"),
    "a web page": (lambda *_: web.Response(text="<html>hi"), "not an answer of an OpenAI-compatible endpoint: <html>hi"),
    "another JSON": (lambda *_: {"hello": 1}, "not an answer of an OpenAI-compatible endpoint"),
    "no choices": (lambda *_: {"choices": []}, "not an answer of an OpenAI-compatible endpoint"),
    "a choice without text": (lambda *_: {"choices": [{}]}, "the choice has no text"),
    "useless replies": (lambda *_: completion(" Well."), "first 10 replies: 10 unparsed, .*hardly any can be used"),
}


def endpoint(world, url):
    """Options that make an endpoint at ``url`` the teacher of the study in ``world``."""
    put(world, {"s.toml": STUDY.replace('chains = ["c.jsonl"]', "")})
    named = {"engine": "endpoint", "url": url, "model": "tiny", "retries": 0, "first_look": 10}
    return [word for key, value in named.items() for word in ("--set", f"teacher.{key}={value}")]


@pytest.mark.parametrize(("script", "message"), ENDPOINTS.values(), ids=ENDPOINTS.keys())
def test_an_endpoint_that_cannot_be_used_is_named(world, script, message):
    with Server(script) as server:
        code, err = says(world, "sample", "s.toml", "--set", "teacher.samples=4", *endpoint(world, server.url))
    assert re.search(message, err), err
    assert (code in (1, 2), "Traceback" in err) == (True, False)


def test_an_endpoint_that_is_not_there_is_named(world):
    code, err = says(world, "sample", "s.toml", *endpoint(world, "http://127.0.0.1:9/v1"))
    assert (code, "is the server running?" in err) == (1, True), err


def test_a_key_that_is_not_set_is_named_before_anything_is_asked(world):
    code, err = says(world, "sample", "s.toml", *endpoint(world, "http://127.0.0.1:9/v1"), "--set", "teacher.key_env=NO_SUCH_KEY")
    assert (code, "teacher.key_env = 'NO_SUCH_KEY': this environment variable is not set" in err) == (2, True), err


def with_files_up_to(size, world, *command):
    """A command that can write no file larger than ``size`` bytes: what a full disk is like."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    words = [sys.executable, "-m", "understudy", *command, "--workers", "1"]
    return subprocess.run(words, cwd=world, preexec_fn=limited, capture_output=True, text=True, timeout=240, check=False)


def test_a_full_disk_in_training_is_said_and_what_was_done_is_kept(world):
    ran = with_files_up_to(20_000, world, "run", "s.toml", "--set", "student.hidden=64")
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), ran.stderr
    assert "too large" in ran.stderr.lower()
    again = understudy("run", "s.toml", "--set", "student.hidden=64", cwd=world)
    assert (again.code, "4 already done" in again.out) == (0, True), again.out + again.err


def test_a_full_disk_in_sampling_is_said_and_no_reply_that_was_kept_is_bought_again(world):
    async def slowly():
        await asyncio.sleep(0.03)  # several groups are committed before the disk is full
        return completion(" The answer is 1." + " so" * 400)

    with Server(lambda *_: slowly()) as server:
        more = {"samples": 8, "first_look": 0, "concurrency": 2}
        sets = [
            *endpoint(world, server.url),
            *(word for key, value in more.items() for word in ("--set", f"teacher.{key}={value}")),
        ]
        ran = with_files_up_to(400_000, world, "sample", "s.toml", *sets)
        assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), ran.stderr
        assert "is the disk full" in ran.stderr
        before = len(server.got)
        again = understudy("sample", "s.toml", *sets, cwd=world)
        assert (again.code, "48 chains for 6 problems" in again.out) == (0, True), again.out + again.err
        assert len(server.got) < 48 + 12, "what was committed is not asked again, though all that was in flight is"
        assert before >= 8


def test_a_worker_that_is_killed_is_said(world):
    command = [sys.executable, "-m", "understudy", "run", "s.toml", "--workers", "1", "--set", "training.steps=100000"]
    run = subprocess.Popen(command, cwd=world, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if list(world.glob("runs/s/stages/student-*")):
            break
        time.sleep(0.1)
    workers = subprocess.run(["pgrep", "-f", "-P", str(run.pid), "spawn_main"], capture_output=True, text=True, check=True)
    for worker in workers.stdout.split():
        os.kill(int(worker), signal.SIGKILL)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (1, False), err
    assert "its process ended" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_named(world):
    (world / "closed").mkdir(mode=0o500)
    code, err = says(world, "run", "s.toml", "--out", "closed/run")
    assert (code, "closed" in err) == (1, True), err


ANYTHING = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(str.encode),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "question", "answer", "text", "x"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
@SLOW
@example(content=b"\xff\xfe\x00")
@example(content=b'question,answer\n"x')
@given(content=ANYTHING)
def test_any_file_of_questions_is_read_or_refused_with_a_message(tmp_path, suffix, content):
    path = tmp_path / f"q{suffix}"
    path.write_bytes(content)
    for read in (
        lambda: Files(kind="number", path=path.name, root=str(tmp_path), sizes={"train": 1}).problems(seed=0),
        lambda: guess(path),
    ):
        try:
            read()
        except UserError as error:
            assert str(error)


@SLOW
@given(content=ANYTHING)
def test_any_file_of_chains_is_read_or_refused_with_a_message(tmp_path, content):
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    try:
        import_chains([path], problems={}, fields={}, prefer="text")
    except UserError as error:
        assert str(error)


@SLOW
@given(content=st.one_of(ANYTHING, st.text(alphabet="[]studyak=\n\"'1.{}", max_size=80).map(lambda t: (STUDY + t).encode())))
def test_any_study_file_loads_or_is_refused_with_a_message(tmp_path, content):
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    try:
        load_study(path)
    except UserError as error:
        assert "s.toml" in str(error)


def test_a_study_file_may_begin_with_a_byte_order_mark(world):
    (world / "s.toml").write_bytes(b"\xef\xbb\xbf" + STUDY.encode())
    assert load_study(world / "s.toml").name == "s"


def test_a_parquet_file_with_other_columns_names_them(world):
    pq.write_table(pa.table({"frage": ["x"] * 10}), world / "q.parquet")
    code, err = says(world, "init", "q.parquet")
    assert (code, "frage" in err) == (2, True), err
