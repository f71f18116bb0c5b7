"""What a server does with what it is sent is found by a probe: over HTTP on loopback, against each behaviour that is known."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiohttp import web
from asking import open_endpoint, read_keys
from endpoints import PROGRAMS, Program, serving
from loopback import Server, completion

from understudy.core.asks import Reply
from understudy.core.errors import AccountError, StudyError
from understudy.core.protocols import silent
from understudy.engines.remote.probe import PROMPT, ProbeReplies, probe, read_facts
from understudy.pipeline.connect import connect, probe_endpoint
from understudy.sampling.budget import Budget
from understudy.sampling.ledger import Ledger

FOUND = {
    "vllm": ("honoured", "given", "removed", "draws", "honoured", "given"),
    "transformers serve": ("one", "none", "kept", "draws", "honoured", "given"),
    "transformers serve without do_sample": ("one", "none", "kept", "ignored", "unknown", "given"),
    "llama.cpp": ("one", "given", "removed", "draws", "honoured", "given"),
    "one that refuses n": ("refused", "given", "removed", "draws", "ignored", "given"),
    "one that copies": ("copies", "given", "ignored", "draws", "honoured", "none"),
}


def engine_of(*servers, **options):
    return open_endpoint([server.url for server in servers], "tiny", identity="e", **options)


def found_by(server, path, **options):
    engine = engine_of(server, **options)
    with Ledger(path) as ledger:
        return probe(engine, engine.addresses, ledger).get(engine.build_url(engine.addresses[0]))


def learn(engine, path, *, paths=1, **options):
    """(what is known of each address, the lines that were told)"""
    told = []
    with Ledger(path, **options) as ledger:
        return probe_endpoint(engine, ledger, paths=paths, report=lambda *event: told.append(event[-1])), told


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_probe_finds_what_a_program_does(tmp_path, program, api):
    with serving(**PROGRAMS[program]) as server:
        found = found_by(server, tmp_path / "l.sqlite", api=api)
    n, logprobs, stop, temperature, seed, usage = FOUND[program]
    assert found == {
        **{"n": n, "logprobs": logprobs, "stop": stop, "temperature": temperature, "seed": seed, "usage": usage},
        "model": "m-7",
    }
    assert server.got == []
    assert len(server.probes) == (6 if n == "refused" else 5)
    assert all(body["max_tokens"] <= 24 for _, body in server.probes)


@pytest.mark.parametrize("says", ["", " ", "No."])
def test_of_a_model_that_says_nothing_only_what_is_seen_all_the_same_is_told(tmp_path, says):
    with serving(says=says) as server:
        found = found_by(server, tmp_path / "l.sqlite")
    unknown = {name for name, value in found.items() if value == "unknown"}
    assert unknown == {"stop", "temperature", "seed"}
    assert found["n"] == "honoured", "choices are counted, whatever they say"


def test_a_text_that_is_likely_to_be_drawn_twice_says_nothing_of_the_temperature():
    def reply(*logprobs):
        answer = completion("Sure! Here they are:", logprobs={"token_logprobs": logprobs})
        return Reply("Sure! Here they are:", logprobs=logprobs, raw=json.dumps(answer))

    sure, unsure = reply(*[-0.01] * 5), reply(*[-2.0] * 5)
    assert read_facts(ProbeReplies(sure, sure, sure, True, None), chat=False)["temperature"] == "unknown"
    assert read_facts(ProbeReplies(unsure, unsure, unsure, True, None), chat=False)["temperature"] == "ignored"
    assert read_facts(ProbeReplies(unsure, None, unsure, True, None), chat=False)["temperature"] == "unknown", "two are few"


def test_an_address_is_probed_once_and_each_one_for_itself(tmp_path):
    path = tmp_path / "l.sqlite"
    with serving() as one, serving(n="refused") as two:
        for _ in range(2):
            engine = engine_of(one, two)
            known, _ = learn(engine, path)
            assert [a.takes_n for a in engine.addresses] == [True, False]
            assert [facts["n"] for facts in known.values()] == ["honoured", "refused"]
            assert (len(one.probes), len(two.probes)) == (5, 6)
        chat, _ = learn(engine_of(one, api="chat"), path)
        assert (list(chat), len(one.probes)) == ([f"{one.url}/chat/completions"], 10), "another API may do other things"
    assert all(body["prompt"] == PROMPT for _, body in two.probes)
    with Ledger(path) as ledger:
        assert (ledger.spent.requests, len(read_keys(ledger))) == (16, 15), "they are in the ledger, the one that was refused too"
        assert ledger.compute_means("e") is None, "and tell nothing of how long a study's prompts and replies are"


def test_a_probe_that_is_broken_off_goes_on_at_the_next_run_and_asks_nothing_twice(tmp_path):
    path, program = tmp_path / "l.sqlite", Program()
    broken = iter([None, None, web.Response(status=503), None, None, None, web.Response(status=429)])

    def sometimes(*given):
        return next(broken, None) or program.answer(*given)

    with Server(None, probed=sometimes) as server:
        engine = engine_of(server)
        assert (learn(engine, path), engine.addresses[0].takes_n, len(server.probes)) == (({}, []), None, 3)
        assert learn(engine, path)[0][f"{server.url}/completions"]["n"] == "honoured"
        assert len(server.probes) == 3 + 3
        assert engine.addresses[0].takes_n is True
        assert learn(engine_of(server, api="chat"), path)[0] == {}, "refused (429)"


def test_of_two_addresses_one_may_be_down(tmp_path):
    class Nowhere:
        url = "http://127.0.0.1:9/v1"

    with serving() as server:
        engine = engine_of(Nowhere, server)
        assert list(learn(engine, tmp_path / "l.sqlite")[0]) == [f"{server.url}/completions"]
        assert [a.takes_n for a in engine.addresses] == [None, True]


def test_a_server_that_does_not_answer_soon_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.engines.remote.probe.PATIENCE", 0.2)

    with Server(None, probed=lambda *_: asyncio.sleep(5)) as server:
        assert learn(engine_of(server), tmp_path / "l.sqlite") == ({}, [])


@pytest.mark.parametrize("answer", [web.Response(status=404, text="no such model"), {"choices": [{"finish_reason": "stop"}]}])
def test_of_an_endpoint_that_gives_no_answer_nothing_is_recorded(tmp_path, answer):
    with Server(None, probed=lambda *_: answer) as server:
        assert learn(engine_of(server), tmp_path / "l.sqlite") == ({}, [])
        assert len(server.probes) == 1


def test_a_budget_holds_a_probe_too(tmp_path):
    with serving() as server:
        assert learn(engine_of(server), tmp_path / "l.sqlite", budget=Budget(requests=3))[0] == {}
        assert len(server.probes) == 3
        found, _ = learn(engine_of(server), tmp_path / "l.sqlite", budget=Budget(requests=5))
        assert (len(found), len(server.probes)) == (1, 5)


def test_where_no_usage_comes_as_much_counts_as_was_set_aside_for_two_choices_too(tmp_path):
    with serving(usage=False) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        engine = engine_of(server)
        probe(engine, engine.addresses, ledger)
        assert (ledger.spent.requests, ledger.spent.written) == (5, (4 + 2) * 24)


def test_an_account_that_is_refused_ends_it_and_so_do_log_probabilities_that_the_study_needs(tmp_path):
    with Server(None, probed=lambda *_: web.Response(status=401)) as server, pytest.raises(AccountError, match="is the key right"):
        learn(engine_of(server), tmp_path / "l.sqlite")
    with serving(logprobs=False) as server:
        with pytest.raises(StudyError, match=r"logprobs = true: .* gives no"):
            learn(engine_of(server, logprobs=True), tmp_path / "l.sqlite")
        assert len(server.probes) == 1


@pytest.mark.parametrize("field", ["logprobs", "seed"])
def test_what_a_server_does_not_know_is_left_out_of_the_probe_and_of_what_follows(tmp_path, field):
    program = Program(logprobs=False, seed=False)

    def strict(path, body, n):
        return web.Response(status=400, text=f"unknown field {field}") if field in body else program.answer(path, body, n)

    with Server(None, probed=strict) as server:
        engine = engine_of(server)
        (found,) = learn(engine, tmp_path / "l.sqlite")[0].values()
        assert (found["n"], found[field]) == ("honoured", {"logprobs": "none", "seed": "ignored"}[field])
        assert [field in body for _, body in server.probes] == [True] + [False] * 5


def test_what_costs_money_is_told_in_one_line(tmp_path):
    with serving(draws=False, stop="ignored") as server:
        for _ in range(2):
            _, told = learn(engine_of(server), tmp_path / "l.sqlite", paths=30)
            assert [line.split(":")[0] for line in (told[0][len(server.url) :], told[1][len(server.url) :])] == [
                " seems not to sample",
                " ignores stop strings",
            ]
            assert "the 30 replies to a prompt may be copies" in told[0]
        assert [line.split()[1] for line in learn(engine_of(server), tmp_path / "l.sqlite", paths=1)[1]] == ["ignores"]


def test_an_engine_that_answers_in_no_known_way_is_told_what_it_lacks():
    with pytest.raises(StudyError, match=r"teacher\.engine: SimpleNamespace must have identity, and serve or replies"):
        connect(SimpleNamespace(identity="mine"), None, seed=0, paths=1, report=silent)
