"""A check that looks at steps, an objective and an engine, all from outside the source, from the example to a report."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from command import understudy

from understudy.core import registry
from understudy.core.errors import StudyError
from understudy.core.plugins import load
from understudy.core.registry import find
from understudy.core.values import Chain, Outcome, Problem, Verdict
from understudy.corpus.store import read_rows
from understudy.studies.load import load_study

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZES = {"train": 24, "dev": 8, "test": 12, "longer_test": 8}
DIARY = [f"task.{split}={n}" for split, n in SIZES.items()]
TINY = ["training.steps=4", "training.checks=1", "student.hidden=32", "student.layers=1", "student.heads=2"]


def run(name, where, *sets):
    """Run the example ``name``, small, in a copy; the run's directory."""
    shutil.copytree(EXAMPLES / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [word for assignment in (*TINY, *sets) for word in ("--set", assignment)]
    done = understudy("run", f"{name}/study.toml", *words, cwd=where)
    assert done.code == 0, done.out + done.err
    return where / "runs" / name


@pytest.fixture
def fresh(monkeypatch):
    """A process that no plug-in was loaded into."""
    monkeypatch.setattr(registry, "_added", {})


def stages(run, kind):
    return sorted((run / "stages").glob(f"{kind}-*"))


def test_two_checks_judge_every_chain_and_an_arm_selects_by_the_one_it_names(tmp_path):
    ran = run("steps", tmp_path, *DIARY)
    (chains,), (verdicts,) = stages(ran, "chains"), stages(ran, "verdicts")
    ids = {chain.id for chain in read_rows(chains / "chains.parquet", Chain)}
    outcomes = {"answer": {}, "steps": {}}
    for verdict in read_rows(verdicts / "verdicts.parquet", Verdict):
        outcomes[verdict.check][verdict.chain] = verdict.outcome
        assert verdict.check == "answer" or verdict.outcome is not Outcome.WRONG or verdict.detail.startswith("step ")
    assert outcomes["answer"].keys() == outcomes["steps"].keys() == ids
    told_apart = Counter((outcomes["answer"][name], outcomes["steps"][name]) for name in ids)
    assert told_apart[Outcome.WRONG, Outcome.CORRECT], "right steps of a wrong reading"
    assert told_apart[Outcome.CORRECT, Outcome.CORRECT]
    selected = [set(json.loads((stage / "selected.json").read_text())) for stage in stages(ran, "selection")]
    right = [{name for name, outcome in by.items() if outcome is Outcome.CORRECT} for by in outcomes.values()]
    assert sorted(map(sorted, selected)) == sorted(map(sorted, right))
    report = json.loads((ran / "results.json").read_text())
    assert report["teacher"]["outcomes"] == {check: dict(Counter(by.values())) for check, by in outcomes.items()}
    assert {row["arm"] for row in report["rows"]} == {"right answer", "right steps"}


@pytest.mark.parametrize(
    ("rationale", "outcome", "detail"),
    [
        ("Start 4. Mon 4 + 3 = 7. Wed 7 - 2 = 5.", Outcome.CORRECT, "all 2 equations hold"),
        ("Start 4. Mon 4 + 3 = 8. Wed 8 - 2 = 5.", Outcome.WRONG, "step 2: 4 + 3 does not come to what is written"),
        ("It is five.", Outcome.UNDECIDABLE, "no equation is written"),
    ],
)
def test_the_check_names_the_first_step_that_is_wrong(fresh, rationale, outcome, detail):
    load(EXAMPLES / "steps" / "steps.py")
    chain = Chain("p", 0, rationale, rationale, "5", "marker", "teacher")
    verdict = find("check", "steps")(Problem("p", "?", "number", "6"), chain)
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "arms.1.select.check=stepz",
            r"arms\['right steps'\].select.check: the study has no check 'stepz'; did you mean 'steps'\?",
        ),
        ("study.checks=[]", "study.checks = .*at least one check"),
        ("study.checks=['steps','steps']", "study.checks = .*each once"),
        ("study.checks=['answr']", r"unknown check 'answr'; did you mean 'answer'\?"),
    ],
)
def test_a_check_that_the_study_does_not_have_is_named(fresh, change, message):
    with pytest.raises(StudyError, match=message):
        load_study(EXAMPLES / "steps" / "study.toml", [change])


def test_an_objective_from_a_file_trains_another_student_on_the_same_chains(tmp_path):
    ran = run("objective", tmp_path, *DIARY, "training.precision=float32")
    losses = {}
    for stage in stages(ran, "student"):
        made = json.loads((stage / "manifest.json").read_text())["inputs"]["training"]["objective"]
        losses[made] = [loss for _, loss in json.loads((stage / "curve.json").read_text())["losses"]]
    assert losses.keys() == {"cross_entropy", "focal"}
    assert all(0 < focal < plain for focal, plain in zip(losses["focal"], losses["cross_entropy"], strict=True))
    assert len(stages(ran, "selection")) == 1, "what training minimises is no matter of the chains"


def test_an_objective_that_nobody_knows_is_named(fresh):
    with pytest.raises(StudyError, match=r"unknown objective 'focul'; did you mean 'focal'\?"):
        load_study(EXAMPLES / "objective" / "study.toml", ["arms.1.training.objective=focul"])


def test_a_function_is_a_teacher_whose_replies_are_kept(tmp_path):
    ran = run("function", tmp_path)
    chains = list(read_rows(stages(ran, "chains")[0] / "chains.parquet", Chain))
    verdicts = read_rows(stages(ran, "verdicts")[0] / "verdicts.parquet", Verdict)
    assert [chain.teacher for chain in chains] == ["function recite"] * 40
    assert all(chain.steps == () and f"= {chain.answer}. So the answer is: {chain.answer}" in chain.text for chain in chains)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.CORRECT] * 40
    assert {row["arm"] for row in json.loads((ran / "results.json").read_text())["rows"]} == {"SCoTD", "answer-only"}
    again = understudy("run", "function/study.toml", "--dry-run", "--set", "teacher.samples=2", cwd=tmp_path)
    assert "80 chains, 40 already in the ledger, 40 to ask for" in again.out, again.out + again.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["teacher.function=recited"], r"teacher: function = 'recited': there are recite"),
        (["teacher.slip=0.1"], r"engine 'function' has no key 'slip'; it is a key of engine 'procedural'"),
        (["teacher.engine=functon"], r"unknown engine 'functon'; did you mean 'function'\?"),
        (
            ["arms.0.model=teacher", "arms.0.decode.beams=2"],
            r"beams = 2: only models on this machine search with beams; .*'function'",
        ),
    ],
)
def test_what_an_engine_of_ones_own_does_not_have_is_named(fresh, changes, message):
    with pytest.raises(StudyError, match=message):
        load_study(EXAMPLES / "function" / "study.toml", changes)
