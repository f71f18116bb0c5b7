"""A ledger that was written before the redesign (by commit 6b91b0b) is opened: what was paid for is found and not asked again."""

import shutil
from pathlib import Path

import pytest
from asking import read_keys

from understudy.core.asks import GREEDY, Call, Decoding, Message, Request, SamplePath
from understudy.core.errors import EngineError
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.budget import Price
from understudy.sampling.jobs import read_jobs
from understudy.sampling.ledger import Ledger

WRITTEN = Path(__file__).parent / "ledgers" / "6b91b0b.sqlite"
KEYS = """
50768f81b1c85200e1c9b19af9fff8c6 4ad2a019bd2aef0f4125bae110c93d37 c87a8929467c74d27f481a356c2c234b 0fb34a3c2eb265d8ae0364b732589be6
76f1e81c48f117f54dbe0c3a3a90839a 9bb55f65d499a4ffeb68eff776da20f0 6086cc5e31b077714e36b552c64fd093 feebc48a3273e3720c3e856dada15056
""".split()  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    shutil.copy(WRITTEN, tmp_path / "ledger.sqlite")
    with Ledger(tmp_path / "ledger.sqlite", price=Price(1, 2)) as opened:
        yield opened


def flow(question):
    """The flow that was sampled: a chat of two turns, and a raw prompt with a decoding of its own."""
    chat = (Message("system", "Be brief."), Message("user", question))
    first = yield Call("teacher", chat, stop=("\n\n",), max_tokens=20)
    again = f"{question} again after {first.text}"
    second = yield Call("teacher", again, max_tokens=10, decoding=Decoding(0.5, 0.9), step=1)
    return first, second


def test_its_replies_are_found_under_their_keys_and_nothing_is_asked_again(ledger):
    def refuse(request):
        raise EngineError(f"asked again: {request}")

    engine = ScriptedEngine(refuse, identity="teacher")
    cast = Cast({"teacher": engine}, {"teacher": Decoding(0.7)}, store=ledger, seed=3)
    flows = ((SamplePath(f"p-{i}", path), flow(f"question {i}")) for i in range(2) for path in range(2))
    done = {(d.path.problem, d.path.index): d for d in run_flows(flows, cast)}
    assert not engine.asked
    for (problem, path), one in done.items():
        first, second = one.value
        text = f"question {problem[2:]} said {path} <ü>"
        assert (first.text, first.reasoning, first.logprobs) == (text, "a thought", (-0.5, -1.25))
        assert (first.tokens, first.prompt_tokens, first.model, first.finish_reason) == (2, 7, "m-7 (fp)", "stop")
        assert second.text == f"question {problem[2:]} again after {text} said 0 <ü>"
    assert set(KEYS) <= set(read_keys(ledger))


def test_what_it_cost_is_known_and_a_lost_request_counts(ledger):
    assert ledger.spent.requests == 13
    assert ledger.spent.read + ledger.spent.written == 209 + 52
    assert ledger.spent.money == pytest.approx(0.000313)


def test_what_its_endpoint_does_is_known(ledger):
    (facts,) = ledger.capabilities("teacher").values()
    assert (facts["n"], facts["seed"], facts["stop"]) == ("one", "honoured", "removed")


def test_a_batch_that_it_noted_is_still_under_way(ledger):
    (job,) = read_jobs(ledger, "teacher", {"http://127.0.0.1:8000/v1"})
    request = Request(Call("teacher", (Message("user", "in a batch"),), ("x",), 6, GREEDY, 0), GREEDY, 0, problem="p-7")
    assert (job.tag, job.file, job.id) == ("understudy-1", "file-1", "batch-1")
    assert list(job.lines.values()) == [{request.key("teacher"): request}]
