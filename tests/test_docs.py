"""The documents say what is there: every verb, every key, commands that parse, studies that load, links that lead somewhere."""

import dataclasses
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from understudy.cli import VERBS
from understudy.core import registry
from understudy.core.prompting import Format
from understudy.core.registry import find
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.few_shot import FewShot
from understudy.methods.scotd import SCoTD
from understudy.methods.zero_shot import ZeroShot
from understudy.selection.select import Selection
from understudy.studies.options import Arm, Corpus, Decode, Evaluation, Exemplars, Teacher
from understudy.studies.study import _HEAD, load_study
from understudy.training.options import Lora, StudentOptions, TrainingOptions

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb):
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*\b{verb}\b", text, re.M)


TABLES = [Corpus, Exemplars, Format, Teacher, StudentOptions, Lora, TrainingOptions, Evaluation, Arm, Decode, Selection]
METHODS = [SCoTD, AnswerOnly, FewShot, ZeroShot]
TASKS = [find("task", name) for name in registry.TASKS]


@pytest.mark.parametrize("options", [*TABLES, *METHODS, *TASKS], ids=lambda o: o.__name__)
def test_every_key_of_a_study_is_documented_with_its_default(options):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(options):
        assert f"`{field.name}`" in text, f"{options.__name__}.{field.name}"
        default = field.default
        if isinstance(default, int | float | str) and not isinstance(default, bool) and default not in ("", None):
            shown = f'["{default}"]' if isinstance(default, str) else f"[{default}]"
            assert f"`{field.name}` {shown}" in text, f"{options.__name__}.{field.name} = {default!r}"


@pytest.mark.parametrize(
    "path", sorted([*(ROOT / "studies").glob("*.toml"), *(ROOT / "examples").rglob("*.toml")]), ids=lambda p: p.name
)
def test_example_studies_load(path):
    assert load_study(path).arms


@pytest.mark.parametrize("name", sorted(set(registry.TASKS) - {"diary", "files"}))
def test_every_built_in_set_is_listed_with_its_paper(name):
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.M)
    source = (ROOT / "src" / "understudy" / "tasks" / f"{name}.py").read_text(encoding="utf-8")
    assert set(re.findall(r"arXiv (\d+\.\d+)", row)) <= set(re.findall(r"arXiv (\d+\.\d+)", source))


def test_every_key_of_the_study_table_is_documented():
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    table = text[text.index("## [study]") : text.index("## [task]")]
    assert {key for row in re.findall(r"^\| (`.*?) \|", table, re.M) for key in re.findall(r"`(\w+)`", row)} == set(_HEAD)


def test_the_readmes_study_loads(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    tomllib.loads(block)
    (tmp_path / "s.toml").write_text(block, encoding="utf-8")
    assert len(load_study(tmp_path / "s.toml").arms) == 3


def test_the_readmes_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    blocks = README.split("```")[1::2]
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    commands = [c for c in commands if c.startswith(("make ", "understudy "))]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)
        assert words[1] in (targets if words[0] == "make" else VERBS), command


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_coverage_names_files_and_tests_that_exist():
    text = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|", text, re.M)
    assert [int(row) for row in rows] == list(range(1, 63))
    for name in re.findall(r"`([\w/]+(?:\.py|\.toml|/))`", text[text.index("|---") :]):
        base = ROOT if name.startswith("tests/") else ROOT / "src" / "understudy"
        assert (base / name).exists(), name


def test_the_repository_speaks_of_the_project_alone():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    if not any(listed):
        pytest.skip("not a git checkout")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in (".png", ".svg") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for word in ("/" + "work/", "/" + "root/", "/" + "home/"):
            assert word not in text, (name, word)
