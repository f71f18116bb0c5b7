"""What a user meets: every verb on a tiny run of the demo."""

import json
import re
import shutil

import pytest
from command import SETS, understudy

FIELDS = (
    "arm method role_models engine precision task split seed decoding extractor n correct wrong undecidable unparsed truncated "
    "errors accuracy low high tokens_per_answer seconds"
).split()


def test_the_demo_ends_with_a_table_of_every_arm_and_a_report(tiny):
    out = (tiny / "first.txt").read_text()
    for arm in ("answer-only", "1 chain, correct", "N chains, correct", "N chains, all", "N chains, all + vote"):
        assert arm in out
    page = tiny / "runs" / "demo" / "report.html"
    assert str(page.relative_to(tiny)) in out
    assert "<svg" in page.read_text()


def test_results_has_one_row_per_arm_split_seed_and_decoding_and_the_counts_add_up(tiny):
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tiny).out)
    assert all(list(row) == FIELDS for row in rows)
    keys = [(row["arm"], row["split"], row["seed"], row["decoding"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["split"] for row in rows} == {"test", "test-longer"}
    for row in rows:
        assert row["n"] == sum(row[k] for k in ("correct", "wrong", "undecidable", "unparsed", "truncated"))
        assert row["accuracy"] == pytest.approx(row["correct"] / row["n"])
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert {row["n"] for row in rows if row["split"] == "test"} == {40}


def test_running_again_does_nothing_again(tiny):
    ran = understudy("demo", *SETS, cwd=tiny)
    assert ran.code == 0
    assert re.search(r"^0 stages to do, \d+ already there", ran.out, re.M)


def test_a_changed_option_redoes_only_what_depends_on_it(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    ran = understudy("demo", *SETS, "--set", "arms.4.decode.votes=2", cwd=tmp_path)
    assert re.search(r"^2 stages to do", ran.out, re.M), ran.out + ran.err
    listed = json.loads(understudy("ls", "runs/demo", "--json", cwd=tmp_path).out)
    assert sum(not held["needed"] for held in listed) == 2
    assert "removed 2 stages" in understudy("gc", "runs/demo", cwd=tmp_path).out
    assert all(held["needed"] for held in json.loads(understudy("ls", "runs/demo", "--json", cwd=tmp_path).out))


def test_a_dry_run_shows_plan_prompts_and_requests_and_writes_nothing(tmp_path):
    ran = understudy("demo", *SETS, "--dry-run", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "144 requests, 0 already in the ledger, 144 to ask" in ran.out
    assert "first prompt: student (scotd)" in ran.out
    assert "first prompt: teacher (scotd)" in ran.out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_beside_a_finished_run_finds_everything_there(tiny):
    ran = understudy("demo", *SETS, "--dry-run", cwd=tiny)
    assert "144 requests, 144 already in the ledger, 0 to ask" in ran.out
    assert re.search(r"^0 of \d+ stages to do", ran.out, re.M)


def test_a_student_answers_a_question_with_its_chain(tiny):
    student = next((tiny / "runs" / "demo" / "students").iterdir())
    question = "ana has 4 coins . mon finds 3 . how many coins ?"
    ran = understudy("answer", str(student), question, "--json", cwd=tiny)
    answered = json.loads(ran.out)
    assert len(answered["solutions"]) == 1
    assert ran.code == (0 if answered["answer"] is not None else 1)
    votes = json.loads(understudy("answer", str(student), question, "--votes", "3", "--json", cwd=tiny).out)
    assert len(votes["solutions"]) == 3


def test_the_stages_can_be_run_one_by_one(tmp_path, tiny):
    study = tmp_path / "study.toml"
    study.write_text((tiny / "runs" / "demo" / "study.toml").read_text())
    for verb, kinds in [("sample", 2), ("check", 1), ("select", 3), ("train", 4), ("evaluate", 10), ("run", 0)]:
        ran = understudy(verb, "study.toml", *SETS, cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert re.search(rf"^{kinds} stages to do", ran.out, re.M), (verb, ran.out)
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()


def test_seeds_train_each_arm_again_and_are_rows_of_their_own(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    ran = understudy("demo", *SETS, "--seeds", "2", "--set", "evaluation.splits=['test']", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tmp_path).out)
    assert {row["seed"] for row in rows} == {0, 1}


def test_the_report_can_be_written_again_and_as_markdown_and_pictures(tiny, tmp_path):
    page = tiny / "runs" / "demo" / "report.html"
    page.unlink()
    assert understudy("report", "runs/demo", cwd=tiny).code == 0
    assert page.is_file()
    ran = understudy("report", "runs/demo", "--markdown", "--pictures", str(tmp_path), cwd=tiny)
    assert "| answer-only |" in ran.out
    assert list(tmp_path.glob("*.png"))


def test_ls_without_a_run_lists_the_runs(tiny):
    assert "runs/demo" in understudy("ls", cwd=tiny).out
