"""Names that files of the user's own and installed packages add, and what a wrong one is told."""

import sys

import pytest

from understudy.core import registry
from understudy.core.errors import StudyError
from understudy.core.plugins import load
from understudy.core.registry import find, find_module

ENGINE = "from understudy.core.protocols import EngineOptions\n"
CHECK = """
from understudy.core.values import Outcome, Verdict

def check(problem, chain):
    return Verdict(chain, Outcome.CORRECT)

UNDERSTUDY = {"check": {"mine": check}}
"""
TASK = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    n: int = 3

    def problems(self, *, seed: int) -> list[object]:
        return []

UNDERSTUDY = {"task": {"mine": Mine}}
"""


@pytest.fixture(autouse=True)
def no_names_left(monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    registry._list_plugins.cache_clear()
    yield
    registry._list_plugins.cache_clear()


@pytest.fixture
def plugin(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_file_adds_names_and_is_imported_once_under_a_private_name(plugin, tmp_path):
    log = tmp_path / "log"
    path = plugin(f"with open({str(log)!r}, 'a') as log:\n    log.write('imported ')\n{CHECK}")
    digest = load(path)
    assert load(path) == digest
    assert log.read_text() == "imported "
    assert find("check", "mine")(None, "5").outcome == "correct"
    assert find_module("check", "mine") == f"understudy_plugin_{digest}"
    assert "mine" not in sys.modules


def test_options_of_a_class_in_a_file_are_built_as_any_other(plugin):
    from understudy.studies.schema import build

    load(plugin(TASK))
    assert build(find("task", "mine"), {"n": 4}, "task").n == 4
    with pytest.raises(StudyError, match=r"task: unknown key 'm' \(known: n\)"):
        build(find("task", "mine"), {"m": 4}, "task")


def test_a_changed_file_takes_the_place_of_what_it_added_before(plugin):
    before = load(plugin(CHECK))
    after = load(plugin(CHECK.replace("mine", "other").replace("CORRECT", "WRONG")))
    assert before != after
    assert find("check", "other")(None, "5").outcome == "wrong"
    with pytest.raises(StudyError, match="unknown check 'mine'"):
        find("check", "mine")


def test_a_name_of_another_file_is_taken_unless_the_text_is_the_same(plugin):
    load(plugin(CHECK))
    load(plugin(CHECK, "copy.py"))
    with pytest.raises(StudyError, match=r"other\.py: check 'mine' is already defined in .*\.py"):
        load(plugin(CHECK + "# another", "other.py"))
    assert find("check", "mine")(None, "5").outcome == "correct"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = (", r"mine\.py, line 1: cannot be imported: SyntaxError"),
        ("x = 1\ny = x / 0\n", r"mine\.py, line 2: cannot be imported: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", r"mine\.py, line 1: cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", "UNDERSTUDY = "),
        ("UNDERSTUDY = {'metod': {}}", r"UNDERSTUDY .*'metod'; did you mean 'method'\?"),
        ("UNDERSTUDY = {'check': [1]}", r"UNDERSTUDY\['check'\] .*\[1\]"),
        ("UNDERSTUDY = {'check': {'c': 3}}", "check 'c': .*it must be a function"),
        ("UNDERSTUDY = {'task': {'t': int}}", "task 't': lacks problems; a task is a class with problems"),
        ("class M:\n    problems = 1\nUNDERSTUDY = {'task': {'t': M}}", "task 't': is not a dataclass"),
        ("class E:\n    open = 1\nUNDERSTUDY = {'engine': {'e': E}}", "engine 'e': is not a subclass of .*EngineOptions"),
        (f"{ENGINE}class E(EngineOptions):\n    word = 1\nUNDERSTUDY = {{'engine': {{'e': E}}}}", "engine 'e': lacks open"),
        ("UNDERSTUDY = {'method': {'m': int}}", "method 'm': lacks roles, needs, .*, solve"),
        (CHECK.replace('"mine"', '"answer"'), "check 'answer' is built in; give yours another name"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong_and_adds_nothing(plugin, text, says):
    for _ in range(2):  # the second time nothing of the first is left
        with pytest.raises(StudyError, match=says):
            load(plugin(text))
    assert not registry._added


def test_a_file_that_is_not_there_or_has_changed_is_an_error(plugin, tmp_path):
    with pytest.raises(StudyError, match=r"none\.py: cannot be read \(No such file"):
        load(tmp_path / "none.py")
    path = plugin(CHECK)
    digest = load(path)
    plugin(CHECK + "\n")
    with pytest.raises(StudyError, match="changed while the study ran; run it again"):
        load(path, digest=digest)


def test_only_names_are_found_never_modules(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil", "evil:x", "evil.x", "../evil.py"):
        with pytest.raises(StudyError, match="unknown method"):
            find("method", name)


def package(root, name, points, source=CHECK):
    """An installed package, as pip leaves it."""
    (root / f"{name}.py").write_text(source)
    info = root / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in points))


def test_an_installed_package_brings_names_by_its_entry_points(tmp_path, monkeypatch):
    package(
        tmp_path, "some_sums", [("understudy.checks", "sums = some_sums:check"), ("understudy.tasks", "broken = some_sums:Task")]
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find("check", "sums")(None, "5").outcome == "correct"
    assert find_module("check", "sums") == "some_sums"
    with pytest.raises(
        StudyError, match="task 'broken' of the installed package some_sums: some_sums:Task cannot be imported: AttributeError"
    ):
        find("task", "broken")


def test_an_installed_name_that_is_taken_is_an_error(tmp_path, monkeypatch, plugin):
    package(tmp_path, "one", [("understudy.checks", "mine = one:check")])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StudyError, match="check 'mine' comes from the installed package one"):
        load(plugin(CHECK))
    package(tmp_path, "two", [("understudy.checks", "mine = two:check")])
    registry._list_plugins.cache_clear()
    with pytest.raises(StudyError, match=r"the installed packages (one and two|two and one) both provide the check 'mine'"):
        find("check", "answer")
    package(tmp_path, "three", [("understudy.methods", "scotd = three:check")])
    with pytest.raises(StudyError, match="the installed package three provides the built-in method 'scotd'"):
        find("method", "scotd")
