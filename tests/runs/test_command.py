"""The command in a report makes the same run again."""

import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest

from understudy.runs.report import format_command
from understudy.studies.load import load_study

ARM = '[[arms]]\nname = "{}"\nmethod = "scotd"\n'


def command(directory, head="", arms=1, overrides=(), **changes):
    """The command of a run of a study with ``head``, whose fields were changed from outside."""
    names = "".join(map(ARM.format, "abc"[:arms]))
    text = f'[study]\nname = "s"\n{head}\n[task]\nname = "diary"\n{names}'
    (directory / "study.toml").write_text(text)
    study = replace(load_study(directory / "study.toml", overrides), **{"file": "s.toml"} | changes)
    return format_command(SimpleNamespace(study=study, directory=directory))


@pytest.mark.parametrize(
    ("head", "arms", "changes", "option"),
    [
        ("", 1, {}, ""),
        ("", 1, {"seeds": 2}, " --seeds 2"),
        ("", 2, {}, ""),
        ("", 2, {"seeds": 1}, " --seeds 1"),
        ("seeds = 3", 2, {}, ""),
        ("seeds = 3", 2, {"seeds": 1}, " --seeds 1"),
        ("seeds = 1", 2, {"seeds": 3}, " --seeds 3"),
        ("seeds = 3", 2, {"profile": "smoke"}, " --profile smoke --seeds 3"),
    ],
)
def test_the_seeds_are_named_unless_the_study_says_the_same(tmp_path, head, arms, changes, option):
    assert command(tmp_path, head, arms, **changes) == f"understudy run s.toml{option} --out {tmp_path}"


def test_what_a_shell_would_read_as_its_own_is_quoted(tmp_path):
    directory = tmp_path / "my runs"
    directory.mkdir()
    title = "study.title=it's $HOME"
    words = shlex.split(command(directory, overrides=[title], file="a b.toml"))
    assert words == ["understudy", "run", "a b.toml", "--set", title, "--out", str(directory)]
