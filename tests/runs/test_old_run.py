"""A run of before the stages became values: it is said to be old, and what was paid for goes on."""

import shutil
from pathlib import Path

import pytest
from command import understudy

from understudy.core.errors import DataError
from understudy.runs.holdings import collect_garbage, list_holdings
from understudy.runs.report import open_run

OLD = Path(__file__).parent / "old"
"""Made by the commands `understudy check` of commit 6b91b0b, over a server that is no more."""


@pytest.fixture
def where(tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_an_old_run_is_recognised_and_said_to_be_old(where):
    with pytest.raises(DataError, match=r"plan\.json: made by an earlier Understudy.*run the study again"):
        open_run(where / "run")
    told = understudy("results", "run", cwd=where)
    assert (told.code, "Traceback" in told.err) == (2, False)
    assert "made by an earlier Understudy" in told.err


def test_its_ledger_goes_on_so_that_nothing_is_bought_again(where):
    done = understudy("check", "study.toml", "--out", "run", cwd=where)  # nobody listens at the study's url
    assert done.code == 0, done.out + done.err
    assert "12 chains for 4 problems by a teacher" in done.out
    assert "correct 12" in done.out
    held = list_holdings(where / "run")
    assert {stage.needed for stage in held if "earlier Understudy" in stage.label} == {False}
    assert sum(stage.needed for stage in held) == 3
    assert len(collect_garbage(where / "run")) == len(held) - 3
    assert len(list_holdings(where / "run")) == 3
