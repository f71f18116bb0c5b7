"""Sampling goes on past asks that fail, however many of them come first."""

import asyncio
from dataclasses import replace

from understudy.checks.answer import same_answer
from understudy.checks.judge import by_answer, judge
from understudy.core.asks import Answer, Decoding, Reply, Usage
from understudy.core.errors import EngineError
from understudy.core.values import Chain, Outcome, Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.run import HOPELESS
from understudy.methods.scotd import SCoTD
from understudy.sampling.account import Account
from understudy.sampling.first_look import first_look
from understudy.sampling.ledger import Ledger
from understudy.sampling.pool import StudyPool
from understudy.sampling.sample import Sampling, sample
from understudy.tasks.worlds.diary import Diary


def judged(problem, chain, check=same_answer):
    return judge(problem, chain, check)


def test_failures_at_the_beginning_lose_none_of_the_chains_that_come_after(tmp_path):
    learn = list(Diary(train=40, dev=0, test=0, longer_test=0).problems(seed=0))
    bad = {p.question for p in learn[: HOPELESS + 5]}

    def say(request):
        if any(question in request.ask.prompt for question in bad):
            raise EngineError("too long")
        return Reply("So the answer is: 3", tokens=5)

    told = []
    sampling = Sampling(learn, lambda problem, path: SCoTD().sample(problem, path, StudyPool()), judged, decoding=Decoding(1.0))
    with Ledger(tmp_path / "l.sqlite") as ledger, Account(ledger, 40) as account:
        account.begin()
        sampled = sample(sampling, ScriptedEngine(say, identity="e"), account, lambda *a: told.append(a[1:3]))
    assert (len(sampled.chains), len(sampled.failures)) == (40 - len(bad), len(bad))
    assert told[-1] == (40, 40)


def test_a_first_question_that_is_refused_on_every_path_ends_nothing(tmp_path):
    async def say(request):
        if learn[0].question in request.ask.prompt:
            raise EngineError("too long")
        await asyncio.sleep(0)
        return Reply("So the answer is: 3", tokens=5)

    class Remote:
        identity, concurrency, n = "e", 64, 1

        async def replies(self, requests):
            return Answer((await say(requests[0]),), Usage(1))

    learn = list(Diary(train=3, dev=0, test=0, longer_test=0).problems(seed=0))
    samples = HOPELESS + 10
    sampling = Sampling(
        learn, lambda problem, path: SCoTD().sample(problem, path, StudyPool()), judged, samples=samples, decoding=Decoding(1.0)
    )
    with Ledger(tmp_path / "l.sqlite") as ledger, Account(ledger, 3 * samples) as account:
        account.begin()
        sampled = sample(sampling, Remote(), account, lambda *_: None)
    assert (len(sampled.chains), len(sampled.failures), sampled.unasked) == (2 * samples, samples, 0)


def test_the_first_look_judges_by_the_check_of_the_study():
    problem, chain = Problem("p", "?", "number", "4"), Chain("p", 0, "t", "r", "5", "marker", "t")
    assert first_look([chain], [], {"p": problem}, judged, drawn=True, rationales=True).startswith("first 1 replies: 0 of 1 agree")
    pleased = by_answer(lambda *_: Outcome.CORRECT)
    assert first_look([chain], [], {"p": problem}, lambda *it: judged(*it, pleased), drawn=True, rationales=True).startswith(
        "first 1 replies: 1 of 1 agree"
    )


def test_the_first_look_notices_a_server_that_draws_nothing():
    problem = Problem("p", "?", "number", "4")
    alike = [Chain("p", i, "same", "r", "4", "marker", "t", prompt="Q") for i in range(10)]
    assert "all 10 replies to the same prompt are word for word alike" in first_look(
        alike, [], {"p": problem}, judged, drawn=True, rationales=True
    )
    assert "alike" not in first_look(alike, [], {"p": problem}, judged, drawn=False, rationales=True), (
        "a greedy reply is bought once for all"
    )
    for others in (alike[:9], [*alike, replace(alike[0], text="other")], [replace(c, prompt=str(c.path)) for c in alike]):
        assert "alike" not in first_look(others, [], {"p": problem}, judged, drawn=True, rationales=True)
