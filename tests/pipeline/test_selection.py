"""Selection as a stage: it reads chains and verdicts problem by problem, whatever the order of the rows they came in."""

import json

import pytest
from here import perform

from understudy.core.errors import StudyError
from understudy.core.values import Outcome
from understudy.corpus import store
from understudy.engines.recorded import Recorded
from understudy.pipeline.stage import Context
from understudy.pipeline.stages.chains import RecordedChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.pipeline.stages.selection import SelectionStage, read_chosen
from understudy.pipeline.stages.verdicts import VerdictsStage
from understudy.selection.select import Selection
from understudy.studies.options import Exemplars
from understudy.tasks.files import Files

ANSWERS = {"q0": "7787", "q1": "8878", "q2": "7878", "u0": "7777"}
"""Question -> the answers of its chains; all gold answers are 7, and that of u0 is unknown."""


@pytest.fixture
def select(tmp_path, monkeypatch):
    """What a selection keeps, as (question, path), and its summary."""
    monkeypatch.setattr(store, "ROWS", 3)
    questions = [{"id": name, "question": f"What of {name}?", "answer": None if name == "u0" else "7"} for name in ANSWERS]
    questions += [{"id": name, "question": f"Who is {name}?", "answer": "7"} for name in ("dev", "test")]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (tmp_path / "s.json").write_text(json.dumps({"train": [*ANSWERS], "dev": ["dev"], "test": ["test"]}))
    rows = [
        {"problem_id": name, "text": f"{'So then, it is so. ' * (path if name == 'q1' else 1)}The answer is {ANSWERS[name][path]}."}
        for path in range(4)
        for name in reversed(ANSWERS)
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Files("number", root=str(tmp_path), path="q.jsonl", splits="s.json")
    problems = ProblemsStage(
        name="files", task=task, files={}, exemplars=Exemplars(), seed=0, overlap="error", held_out=("test",), used=("dev",)
    )
    chains = RecordedChainsStage(problems=problems, files={}, engine=Recorded((str(tmp_path / "c.jsonl"),)))
    verdicts = VerdictsStage(problems=problems, chains=chains, checks=("answer", "majority"), relabels={})
    for stage in (problems, chains, verdicts):
        perform(stage, tmp_path)

    def run(fraction=1.0, **options):
        stage = SelectionStage(
            problems=problems,
            chains=chains,
            verdicts=verdicts,
            select=Selection(**options),
            fraction=fraction,
            taker=None,
            method=None,
            seed=0,
        )
        summary = perform(stage, tmp_path)
        read = list(chains.stream(Context(tmp_path)))
        assert [chain.problem for chain in read] == [name for name in ANSWERS for _ in range(4)]
        check = options.get("check", "answer")
        outcomes = {said.chain: said.outcome for said in verdicts.stream(Context(tmp_path)) if said.check == check}
        assert list(verdicts.judged(Context(tmp_path), check)) == [(chain, outcomes[chain.id]) for chain in read]
        kept = read_chosen(stage.directory(tmp_path))
        return [f"{chain.problem} {chain.answer}" for chain in read if chain.id in kept], summary

    return run


def test_chains_are_selected_by_the_verdict_of_the_check_that_is_named(select):
    kept, summary = select()
    assert kept == ["q0 7"] * 3 + ["q1 7"] + ["q2 7"] * 2
    assert (summary.chains, summary.kept, summary.problems, summary.covered) == (16, 6, 4, 3)
    assert summary.dropped == {Outcome.WRONG.value: 6, Outcome.NO_GOLD.value: 4}


def test_the_majority_needs_no_gold_and_says_nothing_of_a_tie(select):
    kept, summary = select(check="majority")
    assert kept == ["q0 7"] * 3 + ["q1 8"] * 3 + ["u0 7"] * 4
    assert summary.dropped == {Outcome.UNDECIDABLE.value: 4, Outcome.WRONG.value: 2}


def test_the_majority_is_that_of_the_samples_alone(select):
    assert select(check="majority", samples=1)[0] == []
    assert select(check="majority", samples=2)[0] == ["q0 7"] * 2 + ["q1 8"] * 2 + ["u0 7"] * 2
    assert select(check="majority", samples=4) == select(check="majority")


@pytest.mark.parametrize(
    ("options", "relabels", "needs"),
    [
        ({}, {}, True),
        ({}, {"answer": {"a chain": "correct"}}, False),
        ({"check": "leak"}, {"answer": {"a chain": "correct"}}, True),
        ({"keep": "all"}, {}, False),
        ({"check": "majority"}, {}, False),
        ({"keep": "wrong", "check": "leak"}, {}, True),
    ],
)
def test_gold_answers_are_needed_where_a_check_looks_at_them_and_people_say_nothing(options, relabels, needs):
    checks = ("answer", "majority", "leak")
    verdicts = VerdictsStage(problems=None, chains=None, checks=checks, relabels=relabels)
    stage = SelectionStage(
        problems=None, chains=None, verdicts=verdicts, select=Selection(**options), fraction=1.0, taker=None, method=None, seed=0
    )
    assert stage.needs_gold is needs


def test_nothing_is_kept_where_nothing_is_wanted(select):
    assert select(keep="wrong", check="majority", fraction=0.01)[1].dropped["not in the fraction"] == 12


def test_open_ended_counts_the_chains_of_all_problems_that_are_learned_from(select):
    kept, summary = select(keep="all", per_problem=5, choose="open-ended")
    counts = [sum(one.startswith(name) for one in kept) for name in ANSWERS]
    assert counts == [3, 4, 4, 1], "u0 always says the same, q1 most; of q0 and q2, which are equally open, q0 comes first"
    assert summary.dropped == {"more than 1 per problem": 3, "more than 3 per problem": 1}


def test_a_share_for_a_teacher_without_a_chain_is_named(select):
    with pytest.raises(StudyError, match=r"select\.shares: no chain is by 'unknwon'; did you mean 'unknown'"):
        select(per_problem=1, choose="mixed", shares={"unknwon": 1.0})
