"""The same from Python: six documented functions."""

import json
import shutil

import pytest

import understudy
from understudy.core.values import COMMA
from understudy.pipeline.card import CARD
from understudy.runs import ask


def test_a_finished_run_is_opened_asked_and_run_again_from_python(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    report = understudy.open_run("runs/demo")
    assert {row.arm for row in report.rows} >= {"answer-only", "N chains, all + vote"}
    assert report.story is not None
    assert [token for token, weight in report.story.tokens if weight][-1] == "<end>"
    answered = understudy.ask_student(
        "runs/demo/students/N-chains-all", "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?", votes=3
    )
    assert len(answered.solutions) == 3
    study = understudy.load_study("runs/demo/study.toml", ["study.title=again"])
    assert study.title == "again"


def test_a_student_is_asked_in_the_form_in_which_its_answers_are_written(tiny, tmp_path, monkeypatch):
    student = shutil.copytree(tiny / "runs/demo/students/answer-only", tmp_path / "student")
    (student / CARD).write_text(json.dumps(json.loads((student / CARD).read_text()) | {"form": COMMA}))
    asked = []
    answer = ask.answer
    monkeypatch.setattr(ask, "answer", lambda problems, *rest, **more: asked.extend(problems) or answer(problems, *rest, **more))
    understudy.ask_student(student, "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?")
    assert [problem.form for problem in asked] == [COMMA]


def test_what_the_package_does_not_have_is_an_attribute_error():
    assert set(understudy.__all__) <= set(dir(understudy)) | set(understudy._WHERE)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = understudy.nonsense
