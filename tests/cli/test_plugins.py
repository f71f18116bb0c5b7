"""A task, a check and a method of one's own, from the example to a student that answers: in processes of their own."""

import json
import shutil
from pathlib import Path

import pytest
from command import understudy, understudy_anew

from understudy.core import registry
from understudy.core.errors import DataError, StudyError
from understudy.core.values import Verdict
from understudy.corpus.store import read_rows
from understudy.pipeline.plan import make_plan
from understudy.runs.ask import ask_student
from understudy.runs.report import open_run
from understudy.studies.load import load_study

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "game24"
TINY = ["training.steps=4", "student.hidden=32", "student.layers=1", "student.heads=2", "teacher.samples=2", "training.checks=1"]
TINY += [f"arms.{arm}.options.max_tokens=24" for arm in (0, 1)]
SETS = [word for assignment in TINY for word in ("--set", assignment)]
RUN = ("run", "game24/study.toml", *SETS)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A directory in which the example has run, small."""
    where = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, where / "game24", ignore=shutil.ignore_patterns("__pycache__"))
    done = understudy_anew(*RUN, "--workers", "1", cwd=where)  # a worker that starts anew has the plug-ins from their files alone
    assert done.code == 0, done.out + done.err
    assert not list((where / "game24").glob("__pycache__"))
    return where


@pytest.fixture
def fresh(monkeypatch):
    """A process that no plug-in was loaded into."""
    monkeypatch.setattr(registry, "_added", {})


def test_the_check_gives_the_verdicts_and_scores_the_students(ran):
    (verdicts,) = (ran / "runs" / "game24" / "stages").glob("verdicts-*/verdicts.parquet")
    outcomes = [(verdict.check, verdict.outcome.value) for verdict in read_rows(verdicts, Verdict)]
    assert len(outcomes) == 220
    assert {check for check, _ in outcomes} == {"game24"}
    assert 0.8 < sum(said == "correct" for _, said in outcomes) / len(outcomes) < 1.0  # the search errs in one of ten
    rows = json.loads((ran / "runs" / "game24" / "results.json").read_text())["rows"]
    assert {(row["task"], row["method"], row["n"]) for row in rows} == {("game24", "scotd", 35), ("game24", "retry", 35)}


def test_a_run_imports_no_plug_in_by_itself(ran, fresh):
    with pytest.raises(DataError, match=r"unknown check 'game24'.*the study had --plugin .*game24\.py"):
        open_run(ran / "runs" / "game24")
    named = understudy("results", "runs/game24", "--plugin", "game24/game24.py", "--json", cwd=ran)
    assert named.code == 0, named.err
    assert {row["arm"] for row in json.loads(named.out)} == {"SCoTD", "SCoTD, asked again"}


def test_a_student_of_ones_own_method_answers_when_its_file_is_named(ran, fresh):
    student = ran / "runs" / "game24" / "students" / "SCoTD-asked-again"
    with pytest.raises(StudyError, match="unknown method 'retry'"):
        ask_student(student, "Make 24 from 1 2 3 4.")
    named = ("--plugin", "game24/retry.py", "--json")
    answered = understudy("answer", str(student), "Make 24 from 1 2 3 4.", *named, cwd=ran)
    assert json.loads(answered.out)["solutions"], answered.err


def test_a_changed_plug_in_is_done_anew_and_no_other_stage(ran, fresh, monkeypatch):
    monkeypatch.chdir(ran)
    run = Path("runs/game24")

    def to_do():
        stages = make_plan(load_study("game24/study.toml", TINY)).stages.values()
        return sorted(stage.kind for stage in stages if not stage.done(run))

    assert to_do() == []
    retry, check = Path("game24/retry.py"), Path("game24/game24.py")
    before = {path: path.read_text() for path in (retry, check)}
    try:
        retry.write_text(before[retry] + "# changed\n")
        assert to_do() == ["answers", "student"]
        check.write_text(before[check] + "# changed\n")
        with pytest.raises(DataError, match=r"game24\.py: has changed since runs/game24 was written"):
            open_run(run, [check])
    finally:
        for path, text in before.items():
            path.write_text(text)


def test_a_wrong_plug_in_is_one_message(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "game24", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "game24" / "retry.py").write_text("1 / 0\n")
    told = understudy(*RUN, cwd=tmp_path)
    assert told.code == 2
    assert "retry.py, line 1: cannot be imported: ZeroDivisionError" in told.err
    assert "Traceback" not in told.err
