"""A teacher's greedy chain beside those that it samples: one for each problem, and never taken for a sample."""

import pytest

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.checks.majority import majority
from understudy.core.asks import GREEDY_PATH, Call, Decoding
from understudy.core.errors import EngineError, StudyError
from understudy.core.values import Chain, Outcome, Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.pipeline.run import run_study
from understudy.pipeline.stage import Context
from understudy.sampling.ledger import Ledger
from understudy.sampling.sample import Sampling, iter_chains
from understudy.selection.select import Selection, count_selected, select
from understudy.studies.load import load_study

PROBLEMS = [Problem(name, f"{name}?", "number", "7", split="train") for name in "ab"]
STUDY = """
[study]
name = "s"
[task]
name = "diary"
train = 6
dev = 2
test = 2
longer_test = 0
[teacher]
samples = 2
greedy = true
{more}
[[arms]]
name = "a"
method = "scotd"
select = {{ samples = "greedy", keep = "all" }}
"""


def ask(problem, path):
    """Two calls at once, and a third one in the place of a reply that failed."""
    first, second = yield [Call("teacher", f"{problem.id} one"), Call("teacher", f"{problem.id} two", decoding=Decoding(0.3))]
    try:
        third = yield Call("teacher", f"{problem.id} fails")
    except EngineError:
        third = yield Call("teacher", f"{problem.id} again", attempt=1)
    return Chain(problem.id, path.index, first.text + second.text + third.text, "r", "7", "marker", "t")


def test_every_call_of_the_greedy_chain_is_greedy_and_those_of_the_samples_are_as_before(tmp_path):
    asked = []

    def reply(request):
        asked.append(request)
        if "fails" in request.ask.prompt:
            raise EngineError("it does")
        return f"{request.decoding.temperature:g} "

    def begin(problem, path):
        return ask(problem, path)

    sampling = Sampling(PROBLEMS, begin, lambda p, c: judge(p, c, same_answer), samples=2, decoding=Decoding(1.0), greedy=True)
    with Ledger(tmp_path / "ledger.sqlite") as store:
        done = list(iter_chains(sampling, ScriptedEngine(reply), store))
    assert sampling.total == len(done) == 6
    texts = {(d.value.problem, d.value.path): d.value.text for d in done}
    assert {text for (_, path), text in texts.items() if path == GREEDY_PATH} == {"0 0 0 "}
    assert {text for (_, path), text in texts.items() if path != GREEDY_PATH} == {"1 0.3 1 "}
    assert sorted(r.path for r in asked if "one" in r.ask.prompt and not r.decoding.temperature) == [0, 0], "one of each problem"


def chain(path, answer="7"):
    return Chain("a", path, f"{path}", "r", answer, "marker", "t")


@pytest.mark.parametrize(
    ("options", "paths", "dropped"),
    [
        (Selection(), [0, 2], {"the greedy chain": 1, "wrong": 1}),
        (Selection(samples=1), [0], {"the greedy chain": 1, "not the first sample": 2}),
        (Selection(samples="greedy"), [GREEDY_PATH], {"not the greedy chain": 3}),
        (Selection(per_problem=1), [0], {"the greedy chain": 1, "wrong": 1, "more than 1 per problem": 1}),
    ],
)
def test_one_chain_may_be_the_first_sample_the_first_right_one_or_the_greedy_one(options, paths, dropped):
    judged = [(chain(path), Outcome.WRONG if path == 1 else Outcome.CORRECT) for path in (GREEDY_PATH, 0, 1, 2)]
    parts = list(select(judged, options, seed=0))
    assert [c.path for part in parts for c in part.kept] == paths
    assert count_selected(parts).dropped == dropped


def test_the_greedy_chain_has_no_vote_in_the_majority():
    chains = [chain(GREEDY_PATH, "8"), chain(0, "7"), chain(1, "7"), chain(2, "8")]
    agrees = majority.prepare(PROBLEMS[0], chains)
    assert [agrees(PROBLEMS[0], c).outcome for c in chains] == [Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT, Outcome.WRONG]


def test_a_study_has_both_and_the_corpus_is_measured_by_its_samples(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY.format(more=""))
    plan = run_study(load_study(tmp_path / "s.toml"), tmp_path / "run", until="verdicts")
    context = Context(tmp_path / "run")
    chains = list(plan.chains.stream(context))
    assert [c.path for c in chains] == [GREEDY_PATH, 0, 1] * 6
    assert plan.verdicts.read_summary(tmp_path / "run").worth.chains == 12
    assert sum(plan.verdicts.read_summary(tmp_path / "run").outcomes["answer"].values()) == 18


def test_the_greedy_chain_of_a_teacher_that_writes_none_is_refused(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY.format(more="").replace("greedy = true", ""))
    with pytest.raises(StudyError, match=r"arms\['a'\].select.samples = \"greedy\": .* set teacher.greedy = true"):
        load_study(tmp_path / "s.toml")


@pytest.mark.parametrize("more", ["temperature = 0", "allocation = { first = 2 }"])
def test_a_greedy_chain_beside_greedy_ones_or_an_allocation_is_refused(tmp_path, more):
    (tmp_path / "s.toml").write_text(STUDY.format(more=more))
    with pytest.raises(StudyError, match="greedy: "):
        load_study(tmp_path / "s.toml")
