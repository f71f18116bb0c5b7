"""What is said while chains come: which came, what they took, what all will take."""

import json

import pytest

from understudy.core.asks import GREEDY, Call, Reply, Request, SamplePath, Usage
from understudy.flows.board import Done
from understudy.sampling.account import ESTIMATE_MINIMUM, FILE, Account
from understudy.sampling.ledger import Ledger
from understudy.sampling.status import status

EACH = 7
"""Tokens of a chain here."""


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def pay(ledger, start, end, each=EACH):
    """Replies of one answer: the first has the usage of all."""
    for i in range(start, end):
        request = Request(Call("teacher", "?"), GREEDY, i)
        ledger.reserve(f"k{i}", engine="e", request=request)
        usage = Usage(1, each * (end - start), 0) if i == start else Usage(0, 0, 0)
        ledger.put(f"k{i}", Reply("x"), engine="e", request=request, seed=0, usage=usage)


CAME = Done(SamplePath("p"), "chain", bought=True)
FAILED = Done(SamplePath("p"), None, "no", bought=True)
UNASKED = Done(SamplePath("p"), None, "no room", unasked=True, bought=True)


def end(account, n, done=CAME):
    said = []
    for _ in range(n):
        account.note(done)
        said.append(account.summary())
    return said


def test_a_probe_and_replies_whose_chains_have_not_ended_yet_are_not_taken_to_recur(ledger):
    with Account(ledger, 96) as account:
        pay(ledger, 1000, 1001, each=1776)
        account.begin()
        said = []
        for start in range(0, 96, 12):
            pay(ledger, start, start + 12)
            said += end(account, 12)
    assert said[0] == f"{1776 + 12 * EACH:,} tokens", "one chain says nothing of the others"
    assert not any("of about" in told for told in said[:ESTIMATE_MINIMUM])
    projected = [told.partition("of about ")[2] for told in said if "of about" in told]
    assert projected, "but some do"
    assert set(projected) == {f"{1776 + 96 * EACH:,} tokens"}
    assert said[-1] == f"{1776 + 96 * EACH:,} tokens"


def test_chains_that_came_failed_and_were_not_asked_for_are_told_apart(tmp_path, ledger):
    with Account(ledger, 10) as account:
        account.begin()
        end(account, 4)
        end(account, 2, FAILED)
        said = end(account, 3, UNASKED)
        assert said[-1] == "2 failed, 3 not asked"
        assert (account.received, account.done, account.bought) == (4, 6, 6)
    assert json.loads((tmp_path / FILE).read_text()) | {"rate": 0} == {
        "chains": 4,
        "chains_failed": 2,
        "chains_unasked": 4,
        "total": 10,
        "rate": 0,
    }, "one more was never put to the teacher"
    found = status(tmp_path)
    assert (found.chains, found.chains_failed, found.chains_unasked, found.total) == (4, 2, 4, 10)


def test_what_an_interrupted_sampling_had_not_come_to_is_not_called_unasked(tmp_path, ledger):
    def interrupted():
        with Account(ledger, 10) as account:
            end(account, 4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (status(tmp_path).chains, status(tmp_path).chains_unasked) == (4, 0)


def test_the_figures_of_an_older_sampling_are_read(tmp_path, ledger):
    (tmp_path / FILE).write_text(json.dumps({"chains": 7, "total": 9, "rate": 1.0}))
    assert (status(tmp_path).chains, status(tmp_path).chains_failed, status(tmp_path).total) == (7, 0, 9)


def test_status_counts_requests_apart_from_the_replies_that_they_bring(tmp_path, ledger):
    pay(ledger, 0, 8)
    pay(ledger, 8, 12)
    ledger.flush()
    found = status(tmp_path)
    assert (found.requests, found.asked, found.received, found.replies) == (2, 12, 12, 12)
