"""A cascade: the student answers where its votes agree, else a teacher behind a real endpoint, through a ledger and a budget."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web
from loopback import Server, completion
from served import KNOWN, SAYS, make_student, serving

from understudy.core.errors import StudyError
from understudy.core.values import Problem
from understudy.sampling.ledger import Ledger
from understudy.serving.teacher import ServedTeacher
from understudy.studies.options import Decode

UNSURE = "Bob finds 3 more, and then loses 12. How many coins has Bob?"
TEACHER = """
[teacher]
engine = "endpoint"
url = "URL"
model = "large"
api = "completions"
retries = 0
"""


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    where = tmp_path_factory.mktemp("students")
    make_student(where / "knows", knows=[(f"Q: {KNOWN}\nA:", SAYS)])
    make_student(where / "one", decode=Decode(temperature=1.5))
    make_student(where / "three", decode=Decode(votes=3, temperature=0.1), knows=[(f"Q: {KNOWN}\nA:", SAYS)])
    return where


@pytest.fixture
def cascade(students, tmp_path):
    """Serve the students with the teacher behind a script: (the server, what the teacher was asked)."""

    def start(script=lambda *_: completion(" Bob has 6. So the answer is: 6"), more="", **options):
        with Server(script) as endpoint:
            (tmp_path / "large.toml").write_text(TEACHER.replace("URL", endpoint.url) + more)
            teacher = ServedTeacher(tmp_path / "large.toml", lambda _: None)
            try:
                with serving(*sorted(students.iterdir()), teacher=teacher, **options) as served:
                    yield served, endpoint.got
            finally:
                teacher.close()

    running = []

    def run(*args, **options):
        running.append(start(*args, **options))
        return next(running[-1])

    yield run
    for one in running:
        next(one, None)


def test_where_the_votes_agree_the_student_answers_and_nobody_else_is_asked(cascade):
    served, asked = cascade()
    alone, both = (served.chat(f"knows-{how}", KNOWN)["choices"][0] for how in ("vote8", "cascade"))
    assert both["understudy"].pop("answered_by") == "student"
    assert both == alone
    assert both["understudy"]["agreement"] == 1.0
    assert asked == []


def test_where_they_do_not_the_teacher_answers_and_the_votes_stay(cascade):
    served, asked = cascade()
    alone, both = served.chat("one-vote8", UNSURE), served.chat("one-cascade", UNSURE)
    before, after = alone["choices"][0]["understudy"], both["choices"][0]["understudy"]
    assert before["agreement"] < 0.75
    assert after["votes"] == before["votes"]
    assert after["agreement"] <= before["agreement"]  # of all votes, also of those without an answer
    assert (after["answer"], after["text"], after["answered_by"]) == ("6", " Bob has 6. So the answer is: 6", "teacher")
    assert both["choices"][0]["message"] == {
        "role": "assistant",
        "content": "So the answer is: 6",
        "reasoning_content": "Bob has 6.",
    }
    (path, body), *others = asked
    assert (path, body["prompt"], body["temperature"], others) == ("completions", f"Q: {UNSURE}\nA:", 0.0, [])
    assert both["usage"]["completion_tokens"] == alone["usage"]["completion_tokens"] + 5  # the endpoint counts 3 and 5
    assert both["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"] + 3


def test_a_stream_never_mixes_the_students_reasoning_with_the_teachers_answer(cascade):
    served, _ = cascade(agreement=1.01)
    body = {"model": "knows-vote1-cascade", "messages": [{"role": "user", "content": KNOWN}], "stream": True}
    status, text = served.post("/v1/chat/completions", body)
    assert (status, "Bob has 6." in text, "She has 4" in text) == (200, True, False)


def test_the_share_of_votes_that_is_good_enough_is_the_server_s_and_the_number_the_model_s(cascade):
    served, asked = cascade(agreement=0.01)
    assert served.chat("three-vote5-cascade", KNOWN)["choices"][0]["understudy"]["votes"] == {"4": 5}
    assert served.chat("three-cascade", KNOWN)["choices"][0]["understudy"]["votes"] == {"4": 3}
    assert asked == []


def test_what_the_teacher_said_once_is_not_asked_again(cascade, tmp_path):
    served, asked = cascade()
    with ThreadPoolExecutor() as clients:
        replies = list(clients.map(lambda _: served.chat("one-cascade", UNSURE, n=2)["choices"], range(4)))
    assert {choice["understudy"]["answer"] for choices in replies for choice in choices} == {"6"}
    assert 1 <= len(asked) <= 4
    n = len(asked)
    served.chat("one-cascade", UNSURE)
    assert len(asked) == n
    assert (tmp_path / "large.sqlite").exists()


def test_a_spent_budget_is_an_error_and_never_the_student_s_guess(cascade):
    served, _ = cascade(more="budget = { requests = 4 }")
    other = "Cid loses 1 and finds 7. How many coins has Cid?"
    bodies = [{"model": "one-cascade", "messages": [{"role": "user", "content": text}]} for text in (UNSURE, other)]
    statuses = {}
    for body in bodies * 3:
        status, said = served.post("/v1/chat/completions", body)
        statuses.setdefault(status, said)
    assert 402 in statuses, "the budget was never spent"
    assert statuses[402]["error"]["type"] == "insufficient_quota"
    assert "the budget has no room" in statuses[402]["error"]["message"]


def test_an_endpoint_that_fails_is_named(cascade):
    served, _ = cascade(lambda *_: {"error": {"message": "out of order"}})
    status, said = served.post("/v1/chat/completions", {"model": "one-cascade", "messages": [{"role": "user", "content": UNSURE}]})
    assert status == 503
    assert "out of order" in said["error"]["message"]
    assert served.chat("one-vote8", UNSURE)["choices"]


def test_a_key_that_is_refused_is_told_and_the_next_question_is_asked_again(cascade):
    refuses = [True]

    def script(*_):
        if refuses:
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        return completion(" So the answer is: 6")

    served, asked = cascade(script)
    body = {"model": "one-cascade", "messages": [{"role": "user", "content": UNSURE}]}
    for _ in range(2):
        status, said = served.post("/v1/chat/completions", body)
        assert (status, "no such key" in said["error"]["message"]) == (503, True)
    assert len(asked) == 2
    refuses.clear()
    assert served.chat("one-cascade", UNSURE)["choices"][0]["understudy"]["answer"] == "6"


def test_a_client_that_leaves_does_not_lose_what_is_paid_for(tmp_path):
    came, goes_on = threading.Event(), threading.Event()

    def script(*_):
        came.set()
        assert goes_on.wait(30)
        return completion(" So the answer is: 6")

    with Server(lambda *asked: asyncio.to_thread(script, *asked)) as endpoint:
        (tmp_path / "large.toml").write_text(TEACHER.replace("URL", endpoint.url))
        teacher = ServedTeacher(tmp_path / "large.toml", lambda _: None)
        asking = teacher.ask(Problem("question", UNSURE, None))
        assert came.wait(30)
        asking.cancel()
        goes_on.set()
        teacher.close()
    with Ledger(tmp_path / "large.sqlite", readonly=True) as ledger:
        assert ledger.settled.requests >= 1


def test_without_a_teacher_there_is_no_cascade_and_with_one_it_is_listed(students, cascade):
    with serving(students / "knows") as served:
        status, said = served.post(
            "/v1/chat/completions", {"model": "knows-cascade", "messages": [{"role": "user", "content": KNOWN}]}
        )
        assert (status, "--teacher FILE.toml" in said["error"]["message"]) == (404, True)
        status, said = served.post("/v1/chat/completions", {"model": "nobody", "messages": [{"role": "user", "content": KNOWN}]})
        assert (status, "NAME-voteK" in said["error"]["message"], "NAME-cascade" in said["error"]["message"]) == (404, True, False)
        assert not any(model["id"].endswith("-cascade") for model in served.get("/v1/models")[1]["data"])
    listed = cascade()[0].get("/v1/models")[1]["data"]
    assert [model["id"] for model in listed][:3] == ["knows", "knows-vote8", "knows-cascade"]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("engine = 'recorded'\nchains = ['x.jsonl']", "cannot answer; choose an endpoint"),
        ("engine = 'endpoint'\nurl = 'http://127.0.0.1:1/v1'\nmodel = 'm'\nbatch = true", "teacher.batch = true: "),
        ("engine = 'procedural'", "not a procedural world"),
        ("engine = 'nobody'", "nobody"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused_at_the_start(tmp_path, table, why):
    (tmp_path / "large.toml").write_text(f"[teacher]\n{table}\n")
    with pytest.raises(StudyError, match=why):
        ServedTeacher(tmp_path / "large.toml", lambda _: None)
