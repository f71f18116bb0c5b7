"""The same from Python: six documented functions."""

import pytest

import understudy


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


def test_what_the_package_does_not_have_is_an_attribute_error():
    assert set(understudy.__all__) <= set(dir(understudy)) | set(understudy._WHERE)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = understudy.nonsense
