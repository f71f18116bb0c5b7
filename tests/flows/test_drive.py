"""Both drivers run the same flows; what was received is never asked again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import PLANNER, SOLVER, expected, plan_reply, solve_reply, toy

from understudy.core.asks import Call, Decoding, Reply, SamplePath
from understudy.core.errors import EngineError
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast, assign_fold
from understudy.flows.drive import adrive, drive
from understudy.sampling.ledger import Ledger

PROBLEMS = [f"p-{i}" for i in range(20)]
PATHS = 3


def engines():
    folds = [ScriptedEngine(plan_reply(fold), identity=name) for fold, name in enumerate(PLANNER)]
    return {"solver": ScriptedEngine(solve_reply, identity=SOLVER)}, {"planner": folds}


def flows(stop_after=None):
    for problem in PROBLEMS[:stop_after]:
        for index in range(PATHS):
            path = SamplePath(problem, index, 0)
            yield path, toy(problem, path)


def check(done, problems=PROBLEMS):
    assert {(d.path.problem, d.path.index) for d in done} == {(p, i) for p in problems for i in range(PATHS)}
    for d in done:
        assert d.error is None
        assert (d.value.text, d.value.logprob) == expected(d.path.problem, d.path.index)


def test_a_call_that_draws_for_itself_keeps_its_roles_calculator():
    def flow():
        yield [Call("solver", "a"), Call("solver", "b", decoding=Decoding(0.7)), Call("planner", "c", decoding=Decoding(0.7))]

    solver, planner = (ScriptedEngine(lambda _: "x", identity=name) for name in ("s", "p"))
    cast = Cast({"solver": solver, "planner": planner}, decoding={"solver": Decoding(calculator=True)})
    list(drive([(SamplePath("p-0"), flow())], cast))
    assert [r.decoding for r in solver.asked] == [Decoding(calculator=True), Decoding(0.7, calculator=True)]
    assert [r.decoding for r in planner.asked] == [Decoding(0.7)]
    list(drive([(SamplePath("p-1"), flow())], Cast({"solver": solver, "planner": solver})))
    assert [r.decoding.calculator for r in solver.asked[2:]] == [False] * 3
    own = Decoding(0.7, calculator=True)
    list(drive([(SamplePath("p-2"), (call for call in [Call("solver", "d", decoding=own)]))], Cast({"solver": solver})))
    assert solver.asked[-1].decoding == own, "as a server asks, which has each student's decoding in its calls"


def test_a_two_role_method_runs_out_of_fold_with_retry_list_and_vote():
    roles, folds = engines()
    check(list(drive(flows(), Cast(roles, folds=folds))))
    for fold, engine in enumerate(folds["planner"]):
        for request in engine.asked:
            assert assign_fold(request.ask.prompt.split()[1], 2) == fold, "a fold was asked about a problem it was trained on"


def test_the_async_driver_gives_the_same():
    class Slow(ScriptedEngine):
        most = now = 0
        concurrency = 8

        async def replies(self, requests):
            Slow.now += 1
            Slow.most = max(Slow.most, Slow.now)
            await asyncio.sleep(0.001)
            Slow.now -= 1
            return await super().replies(requests)

    async def run():
        folds = {"planner": [Slow(plan_reply(f), identity=n) for f, n in enumerate(PLANNER)]}
        roles = {"solver": Slow(solve_reply, identity=SOLVER)}
        return [d async for d in adrive(flows(), Cast(roles, folds=folds))]

    check(asyncio.run(run()))
    assert 2 <= Slow.most <= 3 * 8, "three engines, each asked by itself"


@pytest.mark.parametrize("first", ["drive", "adrive"])
@pytest.mark.parametrize("second", ["drive", "adrive"])
def test_what_the_ledger_has_is_not_asked_again_by_either_driver(tmp_path, first, second):
    def run(which, stop_after, store):
        roles, folds = engines()
        cast = Cast(roles, folds=folds, store=store)
        if which == "drive":
            done = list(drive(flows(stop_after), cast))
        else:

            async def collect():
                return [d async for d in adrive(flows(stop_after), cast)]

            done = asyncio.run(collect())
        return done, [r.key(e.identity) for e in [*roles.values(), *folds["planner"]] for r in e.asked]

    with Ledger(tmp_path / "ledger.sqlite") as store:
        done, asked = run(first, 8, store)
        check(done, PROBLEMS[:8])
    with Ledger(tmp_path / "ledger.sqlite") as store:
        done, again = run(second, None, store)
        check(done)
    assert len(set(asked)) == len(asked)
    assert len(set(again)) == len(again)
    assert not set(asked) & set(again)


def test_equal_greedy_asks_of_many_paths_are_one_request():
    def flow():
        reply = yield Call("s", "same")
        return reply.text

    engine = ScriptedEngine(lambda request: Reply("x"), identity="e")
    done = list(drive(((SamplePath("p", i), flow()) for i in range(5)), Cast({"s": engine})))
    assert [d.value for d in done] == ["x"] * 5
    assert len(engine.asked) == 1


class InBatches(ScriptedEngine):
    """A local engine of ``batch_size`` rows."""

    def __init__(self, batch_size, device):
        super().__init__(lambda _: "x", identity=str(batch_size))
        self.batch_size, self.device = batch_size, device

    def serve(self, source):
        while waiting := source.take(self.batch_size):
            for ticket, request in waiting:
                source.give(ticket, self._reply(request))


@pytest.mark.parametrize(
    ("turns", "device", "window", "most"),
    [
        (1, "cpu", {}, range(40, 61)),
        (3, "cpu", {}, [8]),
        (3, "cuda", {}, [60]),
        (3, "cpu", {"window": 5000}, [60]),
        (3, "cpu", {"window": 5}, [5]),
    ],
    ids=["one turn", "dialogues", "on a GPU", "an engine that wants all", "a small window"],
)
def test_flows_that_come_back_to_an_engine_are_begun_as_it_has_rows_and_others_all_at_once(turns, device, window, most):
    """An engine keeps what it read for a flow's last turn, but not for any number of flows (`engines.local.prompts`)."""
    live, seen = set(), []

    def flow(i):
        live.add(i)
        seen.append(len(live))
        for turn in range(turns):
            for role in ("asks", "answers"):
                yield Call(role, f"{i} {turn}")
        live.remove(i)

    cast = Cast({"asks": InBatches(4, device), "answers": InBatches(3, device)})
    done = list(drive(((SamplePath(f"p-{i}", 0), flow(i)) for i in range(60)), cast, **window))
    assert len(done) == 60
    assert seen[:4] == [1, 2, 3, 4]
    assert max(seen) in most


def test_replies_that_came_are_kept_when_the_caller_leaves(tmp_path):
    class Gated(ScriptedEngine):
        concurrency = 8
        gate = asyncio.Event()

        async def replies(self, requests):
            if requests[0].ask.prompt != "solve p-0":
                await self.gate.wait()
            return await super().replies(requests)

    engine = Gated(lambda _: Reply("4", tokens=1), identity=SOLVER)

    def asking(path):
        reply = yield Call("solver", f"solve {path.problem}")
        return reply.text

    async def run(store):
        paths = [SamplePath(problem, 0, 0) for problem in PROBLEMS]
        flowing = adrive(((path, asking(path)) for path in paths), Cast({"solver": engine}, store=store))
        await anext(flowing)
        engine.gate.set()  # the others answer while the caller looks at the first
        while len(engine.asked) < 8:
            await asyncio.sleep(0)
        await flowing.aclose()

    with Ledger(tmp_path / "ledger") as store:
        asyncio.run(run(store))
        with store.reading() as reader:
            (kept,) = reader.execute("SELECT count(*) FROM replies").fetchone()
    assert kept == len(engine.asked) > 1


def test_an_engine_error_fails_its_own_flow_and_can_be_caught_by_it():
    def script(request):
        if "bad" in request.ask.prompt:
            raise EngineError("no")
        return Reply("good")

    def flow(prompt, careful):
        try:
            reply = yield Call("s", prompt)
        except EngineError:
            if not careful:
                raise
            reply = yield Call("s", "instead")
        return reply.text

    asks = [("a", "ok", False), ("b", "bad 1", False), ("c", "bad 2", True)]
    made = ((SamplePath(name), flow(prompt, careful)) for name, prompt, careful in asks)
    done = {d.path.problem: d for d in drive(made, Cast({"s": ScriptedEngine(script, identity="e")}))}
    assert (done["a"].value, done["b"].value, done["b"].error, done["c"].value) == ("good", None, "no", "good")


def test_a_bug_in_a_flow_is_never_turned_into_an_error_of_the_model():
    def flow():
        yield Call("s", "x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(drive([(SamplePath("p"), flow())], Cast({"s": ScriptedEngine(lambda r: Reply(""), identity="e")})))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (Call("nobody", "x"), "role 'nobody'"),
        (Call("s", "x", out_of_fold=True), "out of fold"),
    ],
)
def test_a_role_or_fold_that_is_not_there_is_named(ask, says):
    def flow():
        yield ask

    with pytest.raises(EngineError, match=says):
        list(drive([(SamplePath("p"), flow())], Cast({"s": ScriptedEngine(lambda r: Reply(""), identity="e")})))


@pytest.mark.parametrize("driver", ["drive", "adrive"])
def test_a_process_that_is_killed_half_way_is_resumed_with_no_reply_asked_twice(tmp_path, driver):
    """Real processes, SIGKILL: each writes down what it asks after the reply is durable, in a file of its own."""
    here = Path(__file__).parents[1] / "engines"
    ledger, out = tmp_path / "ledger.sqlite", tmp_path / "done.txt"

    def start(name):
        arguments = [sys.executable, str(here / "killed.py"), driver, str(ledger), str(tmp_path / name), str(out)]
        return subprocess.Popen(arguments, cwd=here)

    for i in range(3):
        process = start(f"asked-{i}")
        wait_for_lines(tmp_path / f"asked-{i}", 40)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists(), "the run ended before it was killed; the test proves nothing"
    process = start("asked-last")
    assert process.wait(timeout=120) == 0
    logs = [(tmp_path / name).read_text().split() for name in ("asked-0", "asked-1", "asked-2", "asked-last")]
    received = [key for log in logs for key in log]
    assert len(set(received)) == len(received), "a reply that was received was asked again"
    lines = out.read_text().splitlines()
    assert sorted(lines) == sorted(f"{p} {i} {expected(p, i)[0]}" for p in PROBLEMS for i in range(PATHS))


def wait_for_lines(path, n):
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().split()) < n:
        assert time.monotonic() < deadline
        time.sleep(0.01)
