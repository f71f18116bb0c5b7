"""A study whose teacher is an endpoint: sampled through the ledger, resumed without asking twice, stopped where nothing comes."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading

import pytest
from aiohttp import web
from command import understudy
from loopback import Server, completion

from understudy.core.errors import BusyError
from understudy.sampling.ledger import Ledger

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
concurrency = 8
n = 1  # some tests fail every tenth request
retries = 0
[[arms]]
name = "a"
method = "scotd"
"""


def answer(_path, body, _n):
    start = re.findall(r"has (\d+) ", body["prompt"])[-1]
    return completion(f" It starts with {start}. So the answer is: {start}")


@pytest.fixture
def study(tmp_path):
    def write(url):
        (tmp_path / "s.toml").write_text(STUDY.replace("URL", url))

    return write


def test_chains_come_from_the_endpoint_and_no_reply_is_asked_for_twice(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert "90 chains for 30 problems" in ran.out
        assert re.search(r"first 50 replies: \d+ of 50 agree with the gold answer, 0 unparsed, 0 cut off, 0 refused;", ran.out)
        assert len(server.got) == 90
        again = understudy("check", "s.toml", "--set", "teacher.concurrency=4", cwd=tmp_path)
        assert again.code == 0, again.err
        assert len(server.got) == 90, "another concurrency asks nothing anew"
        more = understudy("sample", "s.toml", "--set", "teacher.samples=4", cwd=tmp_path)
        assert "120 chains for 30 problems" in more.out
        assert len(server.got) == 120, "a fourth chain is one more request for each problem"
    assert {json.dumps(body["seed"]) for _, body in server.got} == {str(i << 16) for i in range(4)}


def test_asks_that_fail_are_counted_and_end_in_exit_code_3(tmp_path, study):
    def sometimes(path, body, n):
        return web.Response(status=400, text="no") if n % 10 == 0 else answer(path, body, n)

    with Server(sometimes) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
    assert ran.code == 3, ran.out + ran.err
    assert "81 chains" in ran.out


def test_a_teacher_that_cannot_be_asked_ends_the_run_soon_with_its_reason(tmp_path, study):
    with Server(lambda *_: web.Response(status=401, text="who are you?")) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
        assert len(server.got) < 60
    assert ran.code == 1
    assert "HTTP 401: who are you?; is the key right" in ran.err
    assert "Traceback" not in ran.err


def test_an_endpoint_needs_address_and_model(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY.replace('url = "URL"', ""))
    ran = understudy("sample", "s.toml", cwd=tmp_path)
    assert (ran.code, "url must be given" in ran.err) == (2, True), ran.err


def test_try_shows_prompt_reply_answer_and_verdict_and_the_run_does_not_ask_again(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        ran = understudy("try", "s.toml", "-n", "2", cwd=tmp_path)
        assert ran.code == 0, ran.err
        seen = ("Q: ", "raw reply", "So the answer is:", "read by: marker", "gold", "3 read, 5 written", "2 tried:")
        for shown in seen:
            assert shown in ran.out, shown
        assert len(server.got) == 2
        assert f"{server.url}/completions: logprobs given" in " ".join(ran.out.split())
        assert not (tmp_path / "runs" / "s" / "sampling.json").exists()
        understudy("sample", "s.toml", cwd=tmp_path)
        assert len(server.got) == 90
        assert understudy("try", "s.toml", "-n", "2", cwd=tmp_path).code == 0
    assert "90 of 90" in understudy("status", "runs/s", cwd=tmp_path).out
    assert understudy("try", "s.toml", "-n", "0", cwd=tmp_path).code == 2


def test_try_shows_recorded_chains_as_they_are_read(tmp_path):
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"id": f"q{i}", "question": f"{i} + 1?", "answer": i + 1}) + "\n" for i in range(9))
    )
    (tmp_path / "c.jsonl").write_text(json.dumps({"problem_id": "q1", "text": "1 + 1 = 2. \x1b[31mThe answer is 2."}) + "\n")
    own = STUDY.replace(
        'name = "diary"\ntrain = 30\ndev = 4\ntest = 8\nlonger_test = 0',
        'name = "files"\npath = "q.jsonl"\nkind = "number"\nsizes = { train = 9 }',
    )
    own = re.sub(r"\[teacher\].*?(?=\[\[arms)", '[teacher]\nengine = "recorded"\nchains = ["c.jsonl"]\n', own, flags=re.S)
    (tmp_path / "s.toml").write_text(own)
    ran = understudy("try", "s.toml", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "recorded without a prompt" in ran.out
    assert "correct" in ran.out
    assert "\x1b[31m" not in ran.out


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (completion(" I would rather talk about the weather."), "50 unparsed, 0 cut off, 0 refused: hardly any can be used"),
        (completion(" Start 4. Mon", finish_reason="length"), "0 unparsed, 50 cut off, 0 refused: hardly any can be used"),
        (completion(" So the answer is: 61"), "0 refused, 50 without a rationale: hardly any can be used"),
    ],
)
def test_a_teacher_whose_first_replies_are_useless_is_stopped_before_more_are_bought(tmp_path, study, reply, says):
    with Server(lambda *_: reply) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
        assert len(server.got) < 70
        assert (ran.code, says in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err
        on = understudy("sample", "s.toml", "--set", "teacher.first_look=0", cwd=tmp_path)
        assert on.code == 0, on.err
        assert len(server.got) <= 90 + 8, "only what was in flight is asked for again"


def test_try_says_what_the_run_will_cost(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        price = ("--set", "teacher.price.input=1000", "--set", "teacher.price.output=20000")
        ran = understudy("try", "s.toml", "-n", "2", *price, cwd=tmp_path)
    assert "3 read, 5 written, cost 0.1" in ran.out, ran.out + ran.err
    assert "; cost 0.21" in ran.out
    told = " ".join(ran.out.split())
    assert "90 chains, 2 already in the ledger, 88 to ask for in 88 requests" in told
    assert "about 264 to read (going by its replies so far), about 440 to write" in told
    assert "money: about 9.06, at most" in told


def test_few_replies_that_are_useless_are_told_too(tmp_path, study):
    with Server(lambda *_: completion(" Well.")) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", "--set", "teacher.samples=1", cwd=tmp_path)
    assert (ran.code, "first 30 replies: 30 unparsed" in ran.err) == (2, True), ran.out + ran.err


def test_asks_that_fail_are_told_and_when_nearly_all_do_the_sampling_stops(tmp_path, study):
    def some(path, body, n):
        return answer(path, body, n) if n % 3 == 0 else web.json_response({"error": "too long"}, status=400)

    with Server(some) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", cwd=tmp_path)
    assert (ran.code, "60 requests FAILED" in " ".join(ran.out.split())) == (3, True), ran.out + ran.err
    with Server(lambda path, body, n: answer(path, body, n) if n == 1 else some(path, body, 1)) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", "--out", "runs/rare", cwd=tmp_path)
    assert (ran.code, "49 failed: hardly any can be used" in ran.err, "too long" in ran.err) == (2, True, True), ran.err


def test_asks_that_failed_are_asked_again_by_the_same_command_and_what_was_made_of_the_others_is_made_anew(tmp_path, study):
    def sometimes(path, body, n):
        return web.Response(status=400, text="no") if n % 10 == 0 else answer(path, body, n)

    with Server(sometimes) as server:
        study(server.url)
        first = understudy("check", "s.toml", cwd=tmp_path)
        assert (first.code, "81 chains" in first.out, "9 requests FAILED" in " ".join(first.out.split())) == (3, True, True), (
            first.out + first.err
        )
        assert re.search(
            r"^understudy check: 9 requests failed; the most common reason \(9\): http.*HTTP 400: no$", first.err, re.M
        ), first.err
        server.script = answer
        second = understudy("check", "s.toml", cwd=tmp_path)
        assert (second.code, len(server.got)) == (0, 99), second.out + second.err
        assert "answer: wrong 87, correct 3" in second.out
        third = understudy("check", "s.toml", cwd=tmp_path)
        assert "0 stages to do" in third.out
        assert len(server.got) == 99


def test_asks_that_go_on_failing_do_not_undo_what_was_made_of_the_others(tmp_path, study):
    with Server(lambda p, b, n: web.Response(status=400) if b["seed"] == 1 << 16 else answer(p, b, n)) as server:
        study(server.url)
        understudy("check", "s.toml", cwd=tmp_path)
        again = understudy("check", "s.toml", cwd=tmp_path)
    assert len(server.got) == 90 + 30
    assert "chains " in again.out
    assert "verdicts  answer" not in again.out, "nothing new came"


def test_a_budget_ends_the_sampling_with_exit_code_3_and_is_shown_beforehand_and_by_status(tmp_path, study):
    sets = ["--set", "teacher.price.input=1000", "--set", "teacher.price.output=20000", "--set", "teacher.first_look=0"]
    with Server(answer) as server:
        study(server.url)
        dry = understudy("sample", "s.toml", "--dry-run", *sets, "--set", "teacher.budget.requests=45", cwd=tmp_path)
        assert "90 chains, 0 already in the ledger, 90 to ask for in 90 requests" in dry.out, dry.err
        assert "at most 23,040 to write (max_tokens)" in dry.out
        assert re.search(r"money: at most \d+\.\d\d\n", dry.out)
        assert "budget: 0 of 45 requests are spent" in dry.out
        ran = understudy("sample", "s.toml", *sets, "--set", "teacher.budget.requests=45", cwd=tmp_path)
        assert (ran.code, len(server.got)) == (3, 40), ran.out + ran.err
        assert "45 of 45 requests): 50 of 90 chains are missing" in ran.err
        assert "raise teacher.budget and run the same command again" in ran.err
        told = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)
        assert (told["writer"], told["chains"], told["total"], told["received"], told["in_flight"]) == (None, 40, 90, 45, 0)
        assert (told["chains_failed"], told["chains_unasked"], told["requests"], told["asked"]) == (0, 50, 45, 45)
        assert "40 of 90, 50 not asked" in (shown := understudy("status", "runs/s", cwd=tmp_path).out)
        assert told["money"] == pytest.approx(45 * (3 * 1000 + 5 * 20_000) / 1e6)
        assert re.search(r"requests +45 sent *\n", shown)
        assert re.search(r"replies +45 asked for, 45 received *\n", shown)
        assert re.search(r"errors +0 *\n(.*\n)* unasked +50 *\n", ran.out), "none of the 50 is an error besides"
        assert f"{server.url}/completions" in shown
        assert "n one, seed honoured, stop removed, temperature draws, usage given" in " ".join(shown.split())
        assert told["capabilities"][f"endpoint {server.url} completions tiny"][f"{server.url}/completions"]["n"] == "one"
        dry = understudy("sample", "s.toml", "--dry-run", *sets, cwd=tmp_path)
        assert "about 150 to read (going by its replies so far), about 250 to write" in " ".join(dry.out.split())
        assert "money: about 5.15, at most" in dry.out
        on = understudy("sample", "s.toml", *sets, cwd=tmp_path)
        assert (on.code, len(server.got)) == (0, 90), on.err
    assert understudy("status", "runs/none", cwd=tmp_path).code == 2


def test_a_budget_without_room_for_one_request_says_what_one_takes_with_exit_code_2(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", "--set", "teacher.budget.tokens=100", cwd=tmp_path)
        assert (ran.code, len(server.got), len(server.probes)) == (2, 0, 0), ran.out
    assert re.search(r"no room for another request \(tokens: it may take \d,?\d+, and 0 of 100 are spent\).*raise it", ran.err), (
        ran.err
    )


def test_status_and_whoever_comes_second_name_the_process_to_interrupt(tmp_path, study):
    asked, over = threading.Event(), threading.Event()

    async def slow(path, body, n):
        asked.set()
        await asyncio.to_thread(over.wait, 60)
        return answer(path, body, n)

    with Server(slow) as server:
        study(server.url)
        with subprocess.Popen([sys.executable, "-m", "understudy", "sample", "s.toml"], cwd=tmp_path) as process:
            try:
                assert asked.wait(60)
                told = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)
                second = understudy("sample", "s.toml", cwd=tmp_path)
                with pytest.raises(BusyError, match=rf"process {process.pid} is writing to its ledger"):
                    Ledger(tmp_path / "runs" / "s" / "ledger.sqlite")
            finally:
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 130
                over.set()
        assert told["writer"] == process.pid
        assert (second.code, f"process {process.pid} is running a study there" in second.err) == (2, True), second.err
        assert json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)["writer"] is None


@pytest.mark.parametrize(("verb", "failed"), [("check", 30), ("evaluate", 8)])
def test_every_verb_ends_with_exit_code_3_and_the_commonest_reason_where_asks_failed(tmp_path, study, verb, failed):
    def script(path, body, n):
        if body["seed"] == 1 << 16:
            return web.Response(status=400, text=f"the prompt has {n} tokens too many \x1b[2J")
        return web.Response(status=422, text="odd") if body["seed"] == 2 << 16 and n % 9 == 0 else answer(path, body, n)

    with Server(script) as server:
        study(server.url)
        arm = ("--set", 'arms.0.model="teacher"', "--set", "arms.0.decode.votes=3", "--set", "teacher.first_look=0")
        ran = understudy(verb, "s.toml", *arm, cwd=tmp_path)
    assert ran.code == 3, ran.out + ran.err
    assert re.search(
        rf"^understudy {verb}: \d+ requests failed; the most common reason \({failed}\): .*HTTP 400: the prompt has \d+ tokens",
        ran.err,
        re.M,
    )
    assert "\x1b" not in ran.out + ran.err
    if verb == "evaluate":
        assert understudy("report", "runs/s", cwd=tmp_path).code == 3


def test_a_model_at_another_address_is_bought_again_and_the_dry_run_says_how_not_to(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        assert understudy("sample", "s.toml", cwd=tmp_path).code == 0
    with Server(answer) as server:
        study(server.url)
        dry = " ".join(understudy("sample", "s.toml", "--dry-run", cwd=tmp_path).out.split())
        before = re.search(r"90 of these are in the ledger under '(endpoint http://\S+ completions tiny)'", dry)
        assert before, dry
        same = understudy("sample", "s.toml", "--dry-run", "--set", f"teacher.identity={before[1]}", cwd=tmp_path)
        assert "90 already in the ledger" in " ".join(same.out.split())
        assert "these chains are in the ledger" not in same.out
        other = understudy("sample", "s.toml", "--dry-run", "--set", "teacher.model=another", cwd=tmp_path)
        assert "these chains are in the ledger" not in other.out, "another model is another teacher"


def test_what_the_replies_show_is_told_and_recorded(tmp_path, study):
    def script(path, body, n):
        if "stop" in body:
            return web.json_response({"error": {"message": "'stop' is not supported"}}, status=400)
        return answer(path, body, n) | {"model": "tiny-2" if n > 60 else "tiny-1"}

    with Server(script) as server:
        study(server.url)
        ran = understudy("sample", "s.toml", "--set", "teacher.concurrency=1", cwd=tmp_path)
        assert ran.code == 0, ran.err
        told = " ".join(ran.out.split())
        assert "refuses these fields, so they were left out: stop" in told
        assert re.search(r"several versions of the model: tiny-1 \(\d+\), tiny-2 \(\d+\)", told), told
        assert re.search(r"versions +tiny-1 \d+, tiny-2 \d+", told), "so says the summary"
        facts = json.loads(understudy("status", "runs/s", "--json", cwd=tmp_path).out)["capabilities"]
        facts = facts[f"endpoint {server.url} completions tiny"][f"{server.url}/completions"]
        assert (facts["left out"], facts["versions"].startswith("tiny-1 (")) == ("stop", True)
