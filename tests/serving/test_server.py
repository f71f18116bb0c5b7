"""The server over real HTTP: OpenAI's shapes, the text of the evaluation, and what is refused."""

import json
from types import SimpleNamespace

import pytest
import torch
from served import KNOWN, SAYS, make_student, serving
from transformers import AutoModelForCausalLM, AutoTokenizer

from understudy.core.asks import Call, Decoding, SamplePath
from understudy.core.errors import CheckpointError, EngineError, StudyError
from understudy.runs.ask import ask_student
from understudy.serving.students import ServedStudent, open_students
from understudy.studies.options import Decode

TELLS = " She has 1. So 3.\nThen 4.\nSo the answer is: 4\n\n"
QUESTION = "Bob finds 3 more, and then loses 12. How many coins has Bob?"


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    where = tmp_path_factory.mktemp("students")
    make_student(where / "one", terms="made up", licence="CC0-1.0")
    make_student(where / "voting", decode=Decode(votes=3, temperature=1.5, top_p=0.9, weighted=True), seed=7)
    make_student(where / "sci", "sci_cot", ("rationale", "answer"), options={"max_tokens": 8, "rationales": 2})
    turns = {"max_steps": 2, "max_tokens": 8}
    make_student(where / "socratic", "socratic", ("decomposer", "solver"), options=turns, decode=Decode(votes=2))
    make_student(where / "knows", knows=[(f"Q: {KNOWN}\nA:", SAYS)])
    make_student(where / "tells", knows=[(f"Q: {KNOWN}\nA:", TELLS)], options={"max_tokens": 64})
    return where


@pytest.fixture(scope="module")
def server(students):
    with serving(*sorted(students.iterdir())) as served:
        yield served


@pytest.mark.parametrize("name", ["one", "voting", "sci", "socratic", "knows"])
@pytest.mark.parametrize("seed", [None, 3])
def test_a_chat_says_what_understudy_answer_says(students, server, name, seed):
    question = KNOWN if name == "knows" else QUESTION
    asked = ask_student(students / name, question, seed=seed)
    (choice,) = server.chat(name, question, **({} if seed is None else {"seed": seed}))["choices"]
    told = choice["understudy"]
    assert told["text"] in [solution.text for solution in asked.solutions]
    assert (told["answer"], told["agreement"]) == (asked.answer, asked.share)


def test_the_votes_of_a_chat_are_those_of_the_same_paths(students, server):
    asked = ask_student(students / "one", QUESTION, votes=6)
    (choice,) = server.chat("one-vote6", QUESTION)["choices"]
    assert (choice["understudy"]["answer"], choice["understudy"]["agreement"]) == (asked.answer, asked.share)
    drawn = server.chat("one", QUESTION, n=6, temperature=0.7)["choices"]
    assert [each["understudy"]["text"] for each in drawn] == [solution.text for solution in asked.solutions]
    assert [each["index"] for each in drawn] == list(range(6))
    assert len({each["understudy"]["text"] for each in drawn}) > 1
    assert server.chat("one", QUESTION, n=6, temperature=0.7, seed=1)["choices"] != drawn
    (single,) = server.chat("one-vote1", QUESTION)["choices"]
    assert single["understudy"]["text"] == drawn[0]["understudy"]["text"], "one vote is drawn, too"


@pytest.mark.parametrize(
    ("form", "content", "reasoning"),
    [
        ("parsed", "So the answer is: 4", "She has 4."),
        ("raw", "<think>\nShe has 4.\n</think>\n\nSo the answer is: 4", None),
        ("hidden", "So the answer is: 4", None),
    ],
)
def test_the_reasoning_stands_beside_the_answer_in_think_or_not_at_all(server, form, content, reasoning):
    body = server.chat("knows", KNOWN, reasoning_format=form)
    (choice,) = body["choices"]
    assert choice["message"]["content"] == content
    assert choice["message"].get("reasoning_content") == reasoning
    assert (choice["finish_reason"], choice["understudy"]["answer"], choice["understudy"]["agreement"]) == ("stop", "4", 1.0)
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 8


def test_a_limit_and_stop_strings_cut_a_reply_and_say_so(server):
    (cut,) = server.chat("knows", KNOWN, max_tokens=2)["choices"]
    assert cut["finish_reason"] == "length"
    assert SAYS.startswith(cut["understudy"]["text"])
    (also,) = server.chat("knows", KNOWN, max_tokens=2, max_completion_tokens=None)["choices"]
    assert also == cut
    (stopped,) = server.chat("knows", KNOWN, stop=" answer")["choices"]
    assert (stopped["finish_reason"], stopped["understudy"]["text"]) == ("stop", " She has 4. So the")
    assert server.chat("knows", KNOWN, stop=["", " has"])["choices"][0]["understudy"]["text"] == " She"


def read_events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return list(map(json.loads, lines))


def test_a_stream_has_the_parts_of_the_whole_answer_and_its_usage(server):
    messages = [{"role": "user", "content": [{"type": "text", "text": KNOWN}]}]
    body = {"model": "knows", "messages": messages, "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    status, text = server.post("/v1/chat/completions", body)
    events = read_events(text)
    assert (status, {event["object"] for event in events}) == (200, {"chat.completion.chunk"})
    last = events.pop()
    assert (last["choices"], last["usage"]["completion_tokens"] > 0) == ([], True)
    parts = [event["choices"][0] for event in events]
    assert [(part["index"], part["finish_reason"]) for part in parts][-2:] == [(0, "stop"), (1, "stop")]
    whole = server.post("/v1/chat/completions", {**body, "stream": False})[1]
    for choice in whole["choices"]:
        own = [part for part in parts if part["index"] == choice["index"]]
        assert join(part["delta"] for part in own) == choice["message"]
        assert (own[-1]["understudy"], "understudy" in own[0]) == (choice["understudy"], len(own) == 1)
    status, text = server.post("/v1/completions", {"model": "knows", "prompt": f"Q: {KNOWN}\nA:", "stream": True, "stop": "\n\n"})
    assert "".join(event["choices"][0]["text"] for event in read_events(text)) == SAYS.rstrip("\n")


def join(parts):
    """Fields that came in parts."""
    fields = {}
    for part in parts:
        for name, text in part.items():
            fields[name] = fields.get(name, "") + text
    return fields


def told_while_written(server, path, body):
    """The events of a stream that came before the last one of its choice, as an HTTP client reads them line by line."""
    return [event["choices"][0] for event in read_events(server.post(path, {**body, "stream": True})[1])][:-1]


@pytest.mark.parametrize("form", ["parsed", "raw", "hidden"])
def test_a_chat_is_told_sentence_by_sentence_while_it_is_written(server, form):
    body = {"model": "tells", "messages": [{"role": "user", "content": KNOWN}], "reasoning_format": form}
    whole = server.post("/v1/chat/completions", body)[1]["choices"][0]["message"]
    told = [part["delta"] for part in told_while_written(server, "/v1/chat/completions", body)]
    field, opens = ("content", "<think>\n") if form == "raw" else ("reasoning_content", "")
    said = [f"{opens}She has 1.", " So 3.", "\nThen 4."]
    assert [delta.get(field) for delta in told] == ([] if form == "hidden" else said)
    assert whole.get(field, "").startswith(join(told).get(field, ""))
    assert [set(delta) for delta in told] == ([] if form == "hidden" else [{"role", field}, {field}, {field}])


def test_a_completion_is_told_token_by_token_and_never_a_part_of_a_stop_string(server):
    body = {"model": "tells", "prompt": [f"Q: {KNOWN}\nA:", "Bob"], "stop": ["4.\nSo", "\n\n"], "max_tokens": 64, "echo": True}
    whole = server.post("/v1/completions", body)[1]["choices"]
    parts = [event["choices"][0] for event in read_events(server.post("/v1/completions", {**body, "stream": True})[1])]
    assert len(parts) > 12
    for choice in whole:
        own = [part for part in parts if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
    assert whole[0]["text"].endswith("Then ")


def test_a_stop_string_longer_than_the_text_so_far_shows_nothing_of_it(server):
    body = {"model": "tells", "prompt": f"Q: {KNOWN}\nA:", "stop": " She has 1. So 3.\nThen", "max_tokens": 64}
    parts = [event["choices"][0]["text"] for event in read_events(server.post("/v1/completions", {**body, "stream": True})[1])]
    assert "".join(parts) == server.post("/v1/completions", body)[1]["choices"][0]["text"] == ""


def test_an_empty_prompt_is_the_client_s_mistake(server):
    assert server.post("/v1/completions", {"model": "one", "prompt": ""})[0] == 422


def test_scores_are_streamed_whole(server):
    body = {"model": "knows", "prompt": KNOWN, "echo": True, "max_tokens": 0, "logprobs": 1, "temperature": 0}
    (event,) = read_events(server.post("/v1/completions", {**body, "stream": True})[1])
    assert event["choices"] == server.post("/v1/completions", body)[1]["choices"]


def test_votes_and_turns_are_told_when_they_are_done(server):
    for model in ("knows-vote3", "sci"):
        body = {"model": model, "messages": [{"role": "user", "content": KNOWN}], "temperature": 0.7}
        assert told_while_written(server, "/v1/chat/completions", body) == []


def test_an_error_before_the_first_event_has_its_status(server, students):
    long = "word " * 400
    status, body = server.post(
        "/v1/chat/completions", {"model": "one", "messages": [{"role": "user", "content": long}], "stream": True}
    )
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert server.get("/health")[1]["requests"] == 0


def test_a_completion_continues_raw_text(students, server):
    body = server.complete("knows", [f"Q: {KNOWN}\nA:", "Bob"], stop="\n\n", max_tokens=16, n=2, echo=True)
    texts = [choice["text"] for choice in body["choices"]]
    assert texts[0] == texts[1] == f"Q: {KNOWN}\nA:{SAYS.rstrip()}"
    assert texts[2] == texts[3] != "Bob"
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    alone = [server.complete("one", "Bob", temperature=1.5, seed=seed)["choices"][0]["text"] for seed in (0, 1, 0)]
    assert alone[0] == alone[2] != alone[1]


@pytest.mark.parametrize("as_tokens", [False, True])
def test_given_text_is_scored_as_by_the_plain_forward_pass(students, server, as_tokens):
    texts = ["Bob finds 3 more, and then loses 12 of them.", "Q: How many", "Bob"]
    tokenizer, model = AutoTokenizer.from_pretrained(students / "one"), AutoModelForCausalLM.from_pretrained(students / "one")
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    body = server.complete("one", rows if as_tokens else texts, echo=True, logprobs=2, max_tokens=1, temperature=0)
    assert body["usage"]["prompt_tokens"] == sum(map(len, rows))
    for ids, choice in zip(rows, body["choices"], strict=True):
        with torch.inference_mode():
            known = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        told = choice["logprobs"]
        assert (told["token_logprobs"][0], told["top_logprobs"][0]) == (None, None)
        assert told["token_logprobs"][1:-1] == pytest.approx(known[range(len(ids) - 1), ids[1:]].tolist(), abs=1e-4)
        assert [max(top.values()) for top in told["top_logprobs"][1:]] == pytest.approx(known.max(-1).values.tolist(), abs=1e-4)
        assert told["token_logprobs"][-1] == pytest.approx(float(known[-1].max()), abs=1e-4)
        assert "".join(told["tokens"][:-1]) == tokenizer.decode(ids)
        assert [choice["text"][at:][: len(t)] for at, t in zip(told["text_offset"], told["tokens"], strict=True)] == told["tokens"]
    nothing = server.complete("one", texts[:1], echo=True, logprobs=1, max_tokens=0)["choices"][0]["logprobs"]
    assert len(nothing["tokens"]) == len(nothing["token_logprobs"]) == len(nothing["top_logprobs"]) == len(rows[0])


def test_models_are_listed_with_where_they_are_from(server):
    status, body = server.get("/v1/models")
    names = [model["id"] for model in body["data"]]
    assert (status, body["object"]) == (200, "list")
    assert names[:2] == ["knows", "knows-vote8"]
    status, one = server.get("/v1/models/one-vote5")
    assert (status, one["id"], one["understudy"]["licence"], one["understudy"]["terms"]) == (200, "one-vote5", "CC0-1.0", "made up")
    assert server.get("/health") == (200, {"status": "ok", "requests": 0})


ASK = {"model": "one", "messages": [{"role": "user", "content": QUESTION}]}
TEXT = {"model": "one", "prompt": "Bob"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("chat/completions", b"{", 400, "not JSON"),
        ("chat/completions", [], 422, "must be a JSON object"),
        ("chat/completions", {"model": "one"}, 422, "messages must be given"),
        ("chat/completions", ASK | {"model": "two"}, 404, "no model 'two'"),
        ("chat/completions", ASK | {"model": "one-vote65"}, 404, "no model 'one-vote65'"),
        ("chat/completions", ASK | {"temperature": "hot"}, 422, "temperature = 'hot'"),
        ("chat/completions", ASK | {"n": 0}, 422, "n = 0"),
        ("chat/completions", ASK | {"max_tokens": 0}, 422, "max_tokens = 0"),
        ("chat/completions", ASK | {"presence_penalty": 0.5}, 400, "presence_penalty = 0.5: is not supported"),
        ("chat/completions", ASK | {"messages": [{"role": "system", "content": "x"}, *ASK["messages"]]}, 400, "one question"),
        ("chat/completions", ASK | {"messages": [{"role": "user", "content": " "}]}, 422, "messages[0].content = ' '"),
        ("chat/completions", ASK | {"model": "voting", "temperature": 0}, 400, "raise temperature (model 'voting')"),
        ("chat/completions", ASK | {"messages": [{"role": "user", "content": "Bob " * 200}]}, 400, "leaves no room"),
        ("completions", TEXT | {"model": "sci"}, 400, "'sci' is not a single model"),
        ("completions", TEXT | {"model": "one-vote8"}, 400, "'one-vote8' is not a single model"),
        ("completions", TEXT | {"max_tokens": 0}, 400, "max_tokens at least 1"),
        ("completions", TEXT | {"prompt": [[1, 2]]}, 400, "a prompt must be text"),
        ("completions", TEXT | {"logprobs": 1}, 400, "send echo = true"),
        ("completions", TEXT | {"logprobs": 1, "echo": True, "max_tokens": 2}, 400, "max_tokens 0 or 1"),
        ("completions", TEXT | {"logprobs": 1, "echo": True, "max_tokens": 0, "prompt": [[1, 9999]]}, 422, "each from 0 to"),
        ("completions", TEXT | {"logprobs": 1, "echo": True, "max_tokens": 0, "prompt": "Bob " * 200}, 400, "context only 128"),
        ("completions", TEXT | {"prompt": ["a"] * 100, "n": 21}, 400, "100 texts times n = 21 are more than 2,048"),
        ("chat/completions", b'{"model": "one", "messages": [' + b"[" * 300 + b"]" * 300 + b"]}", 422, "the body cannot be read"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_openais_shape(server, path, body, status, says):
    got, answer = server.post(f"/v1/{path}", body)
    assert got == status, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert says in answer["error"]["message"]


def test_fields_that_ask_for_nothing_are_passed_over(server):
    nothing = {
        "presence_penalty": 0,
        "tools": [],
        "logit_bias": {},
        "logprobs": False,
        "user": "me",
        "response_format": {"type": "text"},
    }
    assert server.chat("one", QUESTION, **nothing)["choices"] == server.chat("one", QUESTION)["choices"]


def test_a_key_is_asked_for_where_the_server_has_one(students):
    with serving(students / "one", key="käse") as served:
        for key, status in [("", 401), ("wrong", 401), ("käse".encode().decode("latin-1"), 200)]:
            assert served.get("/v1/models", key)[0] == status
            assert served.post("/v1/chat/completions", ASK, key)[0] == status
        assert served.get("/health")[0] == 200


def test_a_page_of_another_site_gets_nothing_from_a_server_without_a_key(students):
    for key, status in (("", 403), ("a key", 200)):
        with serving(students / "one", key=key) as served:
            for origin in ("https://evil.example", "null"):
                assert served.post("/v1/chat/completions", ASK, key, Origin=origin)[0] == status
            assert served.post("/v1/chat/completions", ASK, key, Origin="http://localhost:3000")[0] == 200


def test_where_the_model_fails_everybody_who_waits_is_told_at_once(students):
    def fail(source):
        source.take(1)
        raise RuntimeError("no memory")

    with serving(students / "one", timeout=60) as served:
        served.service.engines["one/student"].serve = fail
        futures = [served.service.board.submit(SamplePath("q", i), ask_once()) for i in range(40)]
        for future in futures:
            with pytest.raises(EngineError, match="the model failed"):
                future.result(30)


def ask_once():
    return (yield Call("one/student", "Bob"))


def test_students_of_one_name_and_directories_without_a_student_are_refused(students, tmp_path):
    (tmp_path / "one").symlink_to(students / "one")
    with pytest.raises(StudyError, match="served as 'one' already"):
        open_students([students / "one", tmp_path / "one"])
    with pytest.raises(CheckpointError, match="holds no student"):
        open_students([tmp_path])


def test_a_method_that_draws_for_itself_keeps_the_calculator_of_its_student():
    student = ServedStudent("s", None, Decode(calculator=True))
    body = SimpleNamespace(max_tokens=None, stop=(), seed=7)
    calls = [Call("student", "a"), Call("student", "b", decoding=Decoding(0.7))]
    asked = next(student.amend((call for call in [calls]), body))
    assert [call.decoding for call in asked] == [Decoding(calculator=True), Decoding(0.7, seed=7, calculator=True)]
