"""The documents say what is there: every verb, every key, commands that parse, studies that load, links that lead somewhere."""

import ast
import dataclasses
import importlib
import inspect
import json
import re
import runpy
import shlex
import subprocess
import tomllib
import typing
from pathlib import Path

import pytest
from command import understudy

import understudy as package
from understudy.cli import VERBS
from understudy.cli.arguments import make_parser
from understudy.core import registry
from understudy.core.registry import find
from understudy.reports.data import ResultRow
from understudy.sampling.status import Status
from understudy.studies.load import load_study
from understudy.studies.study import Study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb):
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*\b{verb}\b", text, re.M)


def section(verb):
    """What docs/cli.md says of ``verb``."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (found,) = [part for part in text.split("\n## ")[1:] if verb in re.split(r",? ", part.partition("\n")[0])]
    return found


def help_of(verb, capsys):
    file, function = VERBS[verb][0].split(":")
    with pytest.raises(SystemExit):
        getattr(importlib.import_module(f"understudy.cli.{file}"), function)(make_parser(verb), ["--help"])
    return set(re.findall(r"--[a-z][a-z-]+|(?<=[ \[])-n\b", capsys.readouterr().out)) - {"--help", "--debug"}


@pytest.mark.parametrize("verb", VERBS)
def test_the_options_of_a_verb_are_those_that_its_section_names(verb, capsys):
    said, own = section(verb), help_of(verb, capsys)
    shared = help_of("run", capsys) if re.search(r"options of\s+`run`|`--out` and `--set`", said) else set()
    named = {option for code in re.findall(r"`([^`\n]+)`", said) for option in re.findall(r"--[a-z][a-z-]+|(?<!\S)-n\b", code)}
    assert own - shared <= named
    others = set().union(*(help_of(other, capsys) for other in re.findall(r"understudy ([a-z-]+)", said) if other in VERBS))
    assert named <= own | shared | others


@pytest.mark.parametrize(("verb", "kind"), [("results", ResultRow), ("status", Status)])
def test_the_keys_of_a_json_are_those_that_the_code_writes(verb, kind):
    (listed,) = re.findall(r"`--json`[^`]*((?:`[\w, \n]+`[^`]*)+)", section(verb))
    keys = {key for code in re.findall(r"`([\w, \n]+)`", listed) for key in re.split(r",\s+", code)}
    assert {field.name for field in dataclasses.fields(kind)} - keys == set()


def test_the_calls_from_python_fit_the_functions():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.S)
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    assert {call.func.attr for call in calls} == set(package.__all__)
    for call in calls:
        function = getattr(package, call.func.attr)
        inspect.signature(function).bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})


REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))
TABLES = REFERENCE["TABLES"]


def test_the_reference_of_keys_is_what_the_code_says():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert text == REFERENCE["page"](), "docs/reference.md is not what the code says: python docs/reference.py > docs/reference.md"


def test_the_page_of_sampling_speed_is_what_its_results_say(tmp_path, monkeypatch):
    benchmarks = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(benchmarks / "peers")
    rows = json.loads((benchmarks / "results" / "sampling.json").read_text(encoding="utf-8"))
    assert all(list(row) == ["benchmark", "subject", "concurrency", "value", "unit", "ratio"] for row in rows)
    runpy.run_path(str(benchmarks / "sampling_page.py"))["write_page"](rows, tmp_path / "page.md")
    text = (ROOT / "docs" / "sampling-speed.md").read_text(encoding="utf-8")
    assert text == (tmp_path / "page.md").read_text(encoding="utf-8"), "python benchmarks/sampling.py --page"


@pytest.mark.parametrize("title", TABLES)
def test_every_key_says_what_it_means_and_every_table_what_it_is_for(title):
    options = TABLES[title]
    meanings = REFERENCE["meanings"](options)
    for field in REFERENCE["keys"](options):
        assert meanings[field.name], f"{options.__name__}.{field.name}: write below the field what it means"
    assert not options.__doc__.startswith(f"{options.__name__}("), (
        f"{options.__name__}: write in its docstring what the table is for"
    )


def test_the_reference_has_every_table_that_a_study_can_hold():
    registered = [("task", registry.TASKS), ("method", registry.METHODS), ("engine", registry.ENGINES)]
    found = {Study} | {find(what, name) for what, names in registered for name in names}
    waiting = [*found]
    while waiting:
        hints = typing.get_type_hints(waiting.pop()).values()
        inside = {kind for hint in hints for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)}
        waiting += inside - found
        found |= inside
    assert set(TABLES.values()) == found


def test_the_examples_of_the_study_page_make_one_study(tmp_path):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    study = "\n".join(re.findall(r"```toml\n(.*?)```", text, re.S))
    assert [*tomllib.loads(study)] == [title.strip("[]") for title in re.findall(r"^## (\S+)$", text, re.M)]
    (tmp_path / "s.toml").write_text(study, encoding="utf-8")
    assert load_study(tmp_path / "s.toml").teacher.price.output == 1.5


def test_the_parts_of_the_extending_page_make_a_study_that_runs(tmp_path):
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = sorted(re.findall(r"```python\n(.*?)```", text, re.S), key=lambda block: "UNDERSTUDY =" in block)
    (tmp_path / "my_things.py").write_text("\n".join(blocks), encoding="utf-8")
    (study,) = re.findall(r"```toml\n(\[study\].*?)```", text, re.S)
    (tmp_path / "mine.toml").write_text(study, encoding="utf-8")
    done = understudy("run", "mine.toml", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    report = json.loads((tmp_path / "runs" / "mine" / "results.json").read_text(encoding="utf-8"))
    assert report["teacher"]["outcomes"] == {"answer": {"correct": 30}, "short": {"correct": 30}}
    assert [(row["task"], row["method"], row["n"]) for row in report["rows"]] == [("sums", "plain", 20)]


@pytest.mark.parametrize(
    "path", sorted([*(ROOT / "studies").rglob("*.toml"), *(ROOT / "examples").rglob("*.toml")]), ids=lambda p: p.name
)
def test_example_studies_load(path):
    assert load_study(path).arms


@pytest.mark.parametrize("name", sorted(set(registry.TASKS) - {"diary", "materials", "scales", "files"}))
def test_every_built_in_set_is_listed_with_its_paper(name):
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.M)
    module = registry.find_module("task", name)
    source = (ROOT / "src" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert set(re.findall(r"arXiv (\d+\.\d+)", row)) <= set(re.findall(r"arXiv (\d+\.\d+)", source))


METHODS_PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(registry.METHODS))
def test_every_built_in_method_has_its_paper_and_a_study_that_loads(name, tmp_path):
    (row,) = re.findall(rf"^\| \[`{name}`\]\(#{name}\) \|.*$", METHODS_PAGE, re.M)
    paper = re.search(r"arXiv (\d{4}\.\d{5})", inspect.getmodule(find("method", name)).__doc__)
    assert paper and paper[1] in row
    (block,) = re.findall(r"```toml\n(.*?)```", METHODS_PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0], re.S)
    (tmp_path / "s.toml").write_text('[study]\nname = "s"\n[task]\nname = "diary"\n' + block, encoding="utf-8")
    study = load_study(tmp_path / "s.toml")
    assert name in {study.teacher.method, *(arm.method for arm in study.arms)}


def test_the_readmes_study_loads(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    tomllib.loads(block)
    (tmp_path / "s.toml").write_text(block, encoding="utf-8")
    assert len(load_study(tmp_path / "s.toml").arms) == 3


def test_the_readmes_tree_has_every_room_and_every_name_that_is_built_in():
    tree = README.partition("## The tree")[2].partition("## State")[0]
    rooms = {path.name for path in (ROOT / "src" / "understudy").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(re.findall(r"^  (\w+)/", tree, re.M))
    lines = dict(re.findall(r"^  (\w+)/((?:.*\n(?!  \w|\w))*.*)", tree, re.M))
    for room, names in {"tasks": registry.TASKS, "methods": registry.METHODS, "engines": registry.ENGINES}.items():
        assert set(names) - {"files"} <= set(re.findall(r"\w+", lines[room])), room
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name in tree}
    assert folders >= {"src", "tests", "benchmarks", "studies", "docs", "examples"}


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
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            there = page.parent / target if target else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_every_page_is_named_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index.read_text(encoding="utf-8"))}
    assert [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")) if page not in {*linked, index}] == []


def anchors(page):
    """The names of a page's headings in links, as the usual renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


COVERAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")


def test_coverage_names_files_and_tests_that_exist():
    rows = re.findall(r"^\| (\d+) \|", COVERAGE, re.M)
    assert [int(row) for row in rows] == list(range(1, 63))
    table = COVERAGE.partition("|---")[2].partition("\n## ")[0]
    names = re.findall(r"`([\w/]+(?:\.py|\.toml|/))`", table)
    assert len(names) > 150
    places = {name: (ROOT if name.startswith("tests/") else ROOT / "src" / "understudy") / name for name in names}
    assert [name for name, place in places.items() if not place.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page):
    """Paths that begin with a directory of the repository, a room of the source or a room of the tests."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for name in re.findall(r"`([a-z_]+/[\w./-]*\.(?:py|toml|txt))(?:::\w+)?`", text):
        first = name.partition("/")[0]
        inside = [base for base in (ROOT, ROOT / "src" / "understudy", ROOT / "tests") if (base / first).is_dir()]
        if inside and (first != "src" or name.startswith("src/understudy/")):  # other projects have a src/ too
            assert any((base / name).exists() for base in inside), name


ROW = r"^\| `([\w.]+)` \| (?:`([^`]*)`|not given) \| (\w+): ([^|]+) \| (.*) \|$"
OPTIONS = {option: rest for option, *rest in re.findall(ROW, COVERAGE.partition("\n## Options of the methods\n")[2], re.M)}
BESIDE = ["arms.fraction", "training.tokens", "training.tokens_of", "training.join_turns"]
BESIDE += ["evaluation.attribution", "evaluation.compare", "teacher.prompts"]


def test_every_option_of_every_method_and_of_its_arm_has_a_row_of_its_own():
    every = [f"{title}.{f.name}" for title in (*registry.METHODS, "format", "decode", "select", "roles") for f in fields_of(title)]
    expected = [option for option in every if not option.endswith(".format")] + BESIDE
    assert sorted(re.findall(r"^\| `([a-z_]+\.\w+)` \|", COVERAGE, re.M)) == sorted(expected)
    assert sorted(OPTIONS) == sorted(expected), "rows that have another form"


@pytest.mark.parametrize("option", OPTIONS)
def test_the_row_of_an_option_has_its_default_its_source_and_tests_that_are_there(option):
    title, _, name = option.partition(".")
    shown, source, _, tests = OPTIONS[option]
    field = next(f for f in fields_of(title) if f.name == name)
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    assert shown == ("" if default is None else json.dumps(default))
    assert source in {"paper", "code", "proxy", "measured", "ours"}
    if re.search(r"\bours\b|\bthis\s+project\b", REFERENCE["meanings"](table_of(title))[name]):
        assert source == "ours", "the string below the field says that this project chose the default"
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    assert tests == ", ".join(f"`{file}::{test}`" for file, test in named)
    for file, test in named:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


def table_of(title):
    return next(TABLES[name] for name in (title, f"[{title}]", f"[[{title}]]") if name in TABLES)


def fields_of(title):
    return REFERENCE["keys"](table_of(title))


def test_the_repository_speaks_of_the_project_alone():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    if not any(listed):
        pytest.skip("not a git checkout")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix == ".png" or not path.is_file():
            continue
        text = path.read_bytes()  # ledgers and corpora of earlier versions too
        for word in ("/" + "work/", "/" + "root/", "/" + "home/"):
            assert word.encode() not in text, (name, word)
