"""Chains that come later, and runs that end while they are written: nothing that was made from other chains passes for done."""

import pytest
from aiohttp import web
from lab import Lab
from loopback import Server, completion

from understudy.core.errors import StudyError
from understudy.core.values import Verdict
from understudy.corpus.store import read_rows
from understudy.pipeline.cache import Manifest, write_manifest
from understudy.pipeline.executor import perform
from understudy.pipeline.run import finish_stage, run_study
from understudy.pipeline.stage import Context, StageSummary
from understudy.studies.load import load_study


def answer(*_):
    return completion(" So the answer is: 2")


def failing(path, body, n):
    return answer() if n % 4 else web.Response(status=500)


@pytest.fixture
def lab(tmp_path):
    with Server(failing) as server:
        yield Lab(tmp_path, server)


def select(lab, *sets):
    """Run up to the selection; the plan."""
    return run_study(load_study(lab.where / "s.toml", ("teacher.n=1", *sets)), lab.where / "run", until="selection", workers=1)


def count(lab, plan):
    """How many chains there are, are judged, and were selected from."""
    run = lab.where / "run"
    (selection,) = {stage for stage in plan.stages.values() if stage.kind == "selection"}
    verdicts = list(read_rows(plan.verdicts.directory(run) / "verdicts.parquet", Verdict))
    return plan.chains.read_summary(run).chains, len(verdicts), selection.read_summary(run).chains


def test_a_run_that_was_killed_while_chains_were_written_anew_makes_the_rest_anew_too(lab):
    plan = select(lab)
    assert count(lab, plan) == (30, 30, 30)
    lab.server.script = answer
    lab.plan("teacher.n=1").chains.run(Context(lab.where / "run"))  # its files are there, its manifest is the old one
    assert count(lab, select(lab)) == (40, 40, 40)


def test_chains_of_which_some_fail_and_a_damaged_stage_before_them_are_both_made_again(lab):
    plan = select(lab)
    (plan.problems.directory(lab.where / "run") / "problems.parquet").unlink()
    chains, judged, selected = count(lab, select(lab))
    assert 30 < chains == judged == selected < 40, "some of those that were asked again came"
    lab.server.script = answer
    assert count(lab, select(lab)) == (40, 40, 40)


def test_a_file_that_changed_since_the_study_was_planned_is_not_read_as_what_it_was(lab):
    plan = lab.plan()
    lab.questions("test", 93, 94)
    with pytest.raises(StudyError, match=r"test\.jsonl: has changed since the study was planned; run it again"):
        perform(plan.problems, lab.where / "run")
    perform(lab.plan().problems, lab.where / "run")


def test_what_was_made_from_answers_is_removed_only_where_they_changed(lab):
    run = lab.where / "run"
    (answers,) = {stage for stage in lab.plan().stages.values() if stage.kind == "answers"}
    made, probe = answers.directory(run), run / "stages" / "answers-probe"
    for folder in (made, probe):
        folder.mkdir(parents=True)
    (made / "solutions.parquet").write_bytes(b"half of them")
    finish_stage(answers, StageSummary(), 0.0, run)
    write_manifest(probe, Manifest("answers", "p", "", 0.0, needs=(answers.key,), inputs={}, summary={}))
    finish_stage(answers, StageSummary(errors=3), 0.0, run)
    assert probe.is_dir(), "the same answers, with other errors"
    (made / "solutions.parquet").write_bytes(b"all of them")
    finish_stage(answers, StageSummary(), 0.0, run)
    assert made.is_dir() and not probe.exists()
