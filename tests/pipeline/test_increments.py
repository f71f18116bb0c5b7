"""Only the difference is bought: a real server counts what each change of a study asks for."""

import json

import pytest
from aiohttp import web
from endpoints import Program
from lab import Lab
from loopback import Server, completion

from understudy.core.errors import StudyError
from understudy.core.values import Chain
from understudy.corpus.store import read_rows
from understudy.flows.run import HOPELESS
from understudy.pipeline.preview import count_requests


@pytest.fixture
def lab(tmp_path):
    with Server(lambda *_: completion(" So the answer is: 2")) as server:
        yield Lab(tmp_path, server)


def test_one_more_question_and_more_chains_and_another_teacher_and_another_prompt_buy_the_difference(lab):
    assert lab.sample()[0] == 40
    assert lab.sample()[0] == 0
    lab.questions("q", 0, 5)
    assert lab.sample()[0] == 10, "one more question"
    assert lab.sample("teacher.samples=30")[0] == 5 * 20, "from 10 chains to 30"
    assert len(lab.server.probes) == 5, "an endpoint is probed once"
    assert lab.sample("teacher.model=other")[0] == 50, "a second teacher"
    assert lab.sample("teacher.model=other", "teacher.samples=30")[0] == 100
    lab.shown("8 + 8?")
    assert lab.sample()[0] == 50, "another prompt"
    lab.shown("7 + 7?")
    assert lab.sample("teacher.samples=30")[0] == 0, "what was bought before is still there"


@pytest.mark.parametrize("change", ["teacher.temperature=0.5", "teacher.top_p=0.9", "teacher.options.max_tokens=64"])
def test_other_decoding_never_takes_old_replies(lab, change):
    assert lab.sample()[0] == 40
    assert lab.sample(change)[0] == 40
    assert lab.sample(change)[0] == lab.sample()[0] == 0


@pytest.mark.parametrize("change", ["teacher.concurrency=3", "teacher.timeout=9.0", "teacher.price={input=1.0,output=2.0}"])
def test_how_a_teacher_is_reached_buys_nothing_anew(lab, change):
    assert lab.sample()[0] == 40
    assert lab.sample(change)[0] == 0
    assert lab.plan().chains == lab.plan(change).chains


def test_asks_that_failed_are_asked_again_and_no_others(lab):
    good, lab.server.script = lab.server.script, lambda p, b, n: good(p, b, n) if n % 4 else web.Response(status=500)
    asked, says = lab.sample("teacher.n=1")
    assert (asked, says.chains, says.errors) == (40, 30, 10)
    plan = lab.plan()
    assert not plan.chains.done(lab.where / "run"), "a stage with errors is not final"
    lab.server.script = good
    asked, again = lab.sample()
    assert (asked, again.chains, again.errors) == (10, 40, 0)
    assert again.corpus != says.corpus
    assert plan.chains.done(lab.where / "run")


def test_a_prompt_that_is_forbidden_fails_alone_in_a_later_session_too(lab):
    """The only prompts that are left say nothing about the key: the probe of the first session was answered."""
    good = lab.server.script
    lab.server.script = lambda p, b, n: good(p, b, n) if n % 4 else web.Response(status=403, text="no")
    assert lab.sample("teacher.n=1")[1].errors == 10
    lab.server.script = lambda *_: web.Response(status=403, text="no")
    asked, says = lab.sample("teacher.n=1")
    assert (asked, says.chains, says.errors, says.stopped) == (10, 30, 10, "")


def test_a_budget_ends_the_sampling_with_a_corpus_and_a_larger_one_goes_on(lab):
    asked, says = lab.sample("teacher.budget.requests=22")
    assert len(lab.server.probes) == 5
    assert (asked, says.chains, says.unasked, says.errors) == (17, 17, 23, 0)
    plan = lab.plan()
    assert not plan.chains.done(lab.where / "run"), "a stage with chains that were not asked for is not final"
    assert says.stopped.startswith("the budget is spent (22 of 22 requests): 23 of 40 chains are missing")
    assert lab.sample("teacher.budget.requests=22")[0] == 0
    asked, says = lab.sample("teacher.budget.requests=45")
    assert (asked, says.chains, says.errors) == (23, 40, 0)
    plan = lab.plan("teacher.budget.requests=45")
    assert plan.chains == lab.plan().chains, "a budget is not in the key"


def test_a_budget_without_room_for_one_chain_says_so(lab):
    with pytest.raises(StudyError, match=r"no room for another request \(tokens: it may take 373, and 0 "):
        lab.sample("teacher.budget.tokens=5")
    with pytest.raises(StudyError, match=r"tokens: it may take 373, and 40 of 412 are spent"):
        lab.sample("teacher.budget.tokens=412")
    assert not lab.server.got
    assert lab.sample("teacher.budget.tokens=413")[0] >= 1, "it says what it takes to go on"


def test_a_budget_that_ends_before_a_chain_came_says_what_the_asks_came_to(lab):
    lab.server.script = lambda *_: web.json_response({"choices": [{"finish_reason": "stop"}]})
    with pytest.raises(StudyError, match=r"and 7 of 7 are spent\), and no chain .*; the first error: .*choice"):
        lab.sample("teacher.budget.requests=7")


def test_money_needs_a_price(lab):
    with pytest.raises(StudyError, match=r"budget.money = 5.0: .*price"):
        lab.plan("teacher.budget.money=5.0")


def test_what_is_left_is_estimated_before_it_is_asked(lab):
    run, price = lab.where / "run", "teacher.price={input=1.0,output=2.0}"
    before = count_requests(lab.plan(price, "teacher.n=1"), run)
    assert (before.total, before.in_ledger, before.maximum.requests, before.means) == (40, 0, 40, None)
    assert (before.maximum, before.probed) == (before.maximum_if_single, True)
    assert before.maximum.written == 40 * 256
    assert before.maximum.read > before.prompts > 4 * before.expected[0] - 1
    lab.sample(price)
    assert lab.server.got[0][1]["max_tokens"] == 256
    after = count_requests(lab.plan(price, "teacher.samples=12"), run)
    assert (after.total, after.remaining, after.maximum.requests, after.expected) == (48, 8, 8, (8 * 3, 8 * 5)), (
        "the probe found that n is not"
    )
    assert after.spent.money == pytest.approx((40 + len(lab.server.probes)) * (3 * 1 + 5 * 2) / 1e6)
    assert sum(len(body["prompt"]) for _, body in lab.server.got) == before.prompts


def scattered(_path, body, _n):
    """Questions with an even number are always answered alike, the others as the seed of the path says."""
    number = int(body["prompt"].rsplit(" + 1?", 1)[0].rsplit(" ", 1)[1])
    return completion(f" So the answer is: {number + 1 if number % 2 == 0 else body['seed'] % 5}")


@pytest.fixture
def divided(lab):
    lab.server.script = scattered
    return lab


ALLOCATED = ("teacher.allocation.first=4", "teacher.allocation.most=40")


def paths_of(lab, *sets):
    """Problem -> the paths of its chains."""
    where = lab.plan(*sets).chains.directory(lab.where / "run")
    paths = {}
    for chain in read_rows(where / "chains.parquet", Chain):
        paths.setdefault(chain.problem, []).append(chain.path)
    return paths


def test_an_allocation_asks_for_as_many_chains_and_for_more_where_answers_differ(divided):
    assert divided.sample(*ALLOCATED)[0] == 40
    paths = paths_of(divided, *ALLOCATED)
    assert {name: len(found) for name, found in paths.items() if name in ("q0", "q2")} == {"q0": 4, "q2": 4}
    assert len(paths["q1"]) + len(paths["q3"]) == 32
    assert all(found == list(range(len(found))) for found in paths.values())
    assert divided.sample(*ALLOCATED)[0] == 0


def test_an_allocation_takes_what_is_there_already_and_more_chains_buy_the_difference(divided):
    assert divided.sample(*ALLOCATED)[0] == 40
    assert divided.sample(*ALLOCATED, "teacher.samples=14")[0] == 16
    assert divided.sample(*ALLOCATED)[0] == 0, "what was bought before is still there"
    assert divided.sample()[0] == 2 * 6, "ten of each: two have four"
    divided.questions("q", 0, 5)
    assert divided.sample(*ALLOCATED)[0] in range(4, 11), "one more question"


def test_an_allocation_that_is_killed_or_short_of_money_goes_on_as_if_it_had_not_been(divided):
    whole = {name: len(found) for name, found in (divided.sample(*ALLOCATED), paths_of(divided, *ALLOCATED))[1].items()}
    (divided.where / "run" / "ledger.sqlite").unlink()
    for budget, asked in ((3, 3), (19, 16), (30, 11), (100, 10)):
        got, says = divided.sample(*ALLOCATED, f"teacher.budget.requests={5 + budget}")  # five of the probe
        assert (got, says.chains, says.unasked) == (asked, min(budget, 40), max(0, 40 - budget))
    assert {name: len(found) for name, found in paths_of(divided, *ALLOCATED).items()} == whole


def test_an_endpoint_that_dies_between_rounds_leaves_a_corpus_and_the_rest_for_later(divided):
    divided.questions("q", 0, 24)
    divided.server.script = lambda *a: scattered(*a) if a[2] <= 96 else web.Response(status=500)
    _, says = divided.sample(*ALLOCATED)
    assert (says.chains, says.errors, says.unasked) == (96, HOPELESS, 144 - HOPELESS)
    assert says.stopped.startswith("the teacher stopped answering (")
    divided.server.script = scattered
    asked, says = divided.sample(*ALLOCATED)
    assert (asked, says.chains, says.errors) == (144, 240, 0)


def test_an_allocation_by_right_chains_follows_the_check_of_the_study(divided):
    sets = (*ALLOCATED, "teacher.allocation.right=1")
    divided.server.script = lambda _path, body, _n: completion(f" So the answer is: {3 if '2 + 1?' in body['prompt'] else 99}")
    assert divided.sample(*sets)[0] == 40
    assert {name: len(found) for name, found in paths_of(divided, *sets).items()} == {"q0": 12, "q1": 12, "q2": 4, "q3": 12}
    plan = divided.plan(*sets)
    assert plan.chains.right_by == "answer", "the check is in the key of the chains"
    assert not divided.plan(*ALLOCATED).chains.right_by


def test_a_dry_run_counts_what_an_allocation_has_and_will_ask(divided):
    run = divided.where / "run"
    before = count_requests(divided.plan(*ALLOCATED), run)
    assert (before.total, before.remaining) == (40, 40)
    divided.sample(*ALLOCATED, "teacher.budget.requests=25")  # five of the probe
    during = count_requests(divided.plan(*ALLOCATED), run)
    assert (during.total, during.remaining) == (40, 20)
    divided.sample(*ALLOCATED)
    asked = len(divided.server.got)
    after = count_requests(divided.plan(*ALLOCATED), run)
    assert (after.total, after.remaining, len(divided.server.got)) == (40, 0, asked)
    assert count_requests(divided.plan(*ALLOCATED, "teacher.samples=12"), run).remaining == 8


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("teacher.allocation.first=11",), "samples = 10: .*from allocation.first = 11"),
        (("teacher.allocation.most=9",), r"samples = 10: .*from allocation.first = 4 to allocation.most = 9"),
        (("teacher.allocation.first=0",), "first = 0: input should be greater than or equal to 1"),
    ],
)
def test_an_allocation_that_cannot_be_is_refused(lab, sets, message):
    with pytest.raises(StudyError, match=message):
        lab.plan(*sets)


@pytest.mark.parametrize(("n", "requests"), [("honoured", 4 * 2), ("one", 40), ("copies", 40), ("refused", 40)])
def test_several_chains_are_asked_for_in_one_request_only_where_the_probe_found_that_they_come(tmp_path, n, requests):
    program = Program(n=n)
    with Server(program.answer, probed=program.answer) as server:
        lab = Lab(tmp_path, server)
        asked, says = lab.sample("teacher.n=8")
        assert (asked, says.chains, len(server.probes)) == (requests, 40, 5 + (n == "refused"))
        assert all(("n" in body) == (n == "honoured") for _, body in server.got)
        assert lab.sample("teacher.n=8", "teacher.samples=11")[0] == 4
        assert len(server.probes) == 5 + (n == "refused")


@pytest.mark.parametrize(("n", "shared"), [("honoured", 4 * 2), ("one", 40)])
def test_a_dry_run_counts_the_requests_that_would_be_sent(tmp_path, n, shared):
    program = Program(n=n)
    with Server(program.answer, probed=program.answer) as server:
        lab = Lab(tmp_path, server)
        run, sets = tmp_path / "run", ("teacher.n=8", "teacher.price={input=1.0,output=2.0}")
        before = count_requests(lab.plan(*sets), run)
        assert (before.maximum_if_single.requests, before.maximum.requests, before.probed) == (40, 8, False)
        assert (before.maximum.written, before.maximum.requests) == (40 * 256, 8)
        single = before.maximum_if_single
        assert (single.requests, single.read) == (40, 5 * before.maximum.read), "read once for each request"
        assert before.maximum.money == pytest.approx((before.maximum.read + 2 * before.maximum.written) / 1e6)
        assert lab.sample(*sets, "teacher.samples=1")[0] == 4
        probed = count_requests(lab.plan(*sets), run)
        assert (probed.in_ledger, probed.maximum_if_single.requests, probed.maximum.requests) == (
            4,
            36,
            4 * 2 if shared == 8 else 36,
        )
        assert probed.probed
        assert lab.sample(*sets)[0] == probed.maximum.requests
        greedy = count_requests(lab.plan(*sets, "teacher.temperature=0.0"), run)
        assert (greedy.total, greedy.in_ledger, greedy.maximum_if_single.requests, greedy.maximum.requests) == (40, 0, 4, 4), (
            "one reply for all paths"
        )
        assert lab.sample(*sets, "teacher.temperature=0.0")[0] == 4


def test_a_dry_run_shares_nothing_between_prompts_that_differ_and_only_within_a_round_of_an_allocation(tmp_path):
    program = Program()
    with Server(program.answer, probed=program.answer) as server:
        lab, run = Lab(tmp_path, server), tmp_path / "run"
        assert count_requests(lab.plan("teacher.n=8", *ALLOCATED), run).maximum.requests == 4 * 3, "blocks of four, ten of each"
        rows = [json.dumps({"question": f"{i} + 7?", "answer": i + 7, "rationale": "Both."}) + "\n" for i in range(6)]
        (tmp_path / "shown.jsonl").write_text("".join(rows))
        counted = count_requests(lab.plan("teacher.n=8"), run)
        assert 35 <= counted.maximum.requests == lab.sample("teacher.n=8")[0]


def test_what_replies_that_share_a_request_took_is_known_though_none_says_its_own_tokens(lab):
    def two(_path, body, _n):
        choices = [{"index": i, "text": " So the answer is: 2"} for i in range(body.get("n", 1))]
        return completion("") | {"choices": choices}

    lab.server.script, lab.server.probed = two, Program().answer
    assert lab.sample("teacher.n=10")[0] == 4
    after = count_requests(lab.plan("teacher.n=10", "teacher.samples=20"), lab.where / "run")
    assert after.means == (3, 5 / 10), "a request reads its prompt once, and its replies write together"
    assert (after.maximum_if_single.requests, after.maximum.requests, after.expected) == (40, 4, (4 * 3, 4 * 5))
