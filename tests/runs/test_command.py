"""The command in a report makes the same run again."""

import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest

from understudy.runs.report import format_command
from understudy.studies.load import load_study


def command(directory, head="", overrides=(), **changes):
    """The command of a run of a study with ``head``, whose fields were changed from outside."""
    text = f'[study]\nname = "s"\n{head}\n[task]\nname = "diary"\n[[arms]]\nname = "a"\nmethod = "scotd"\n'
    (directory / "study.toml").write_text(text)
    study = replace(load_study(directory / "study.toml", overrides), **{"file": "s.toml"} | changes)
    return format_command(SimpleNamespace(study=study, directory=directory))


@pytest.mark.parametrize(
    ("changes", "option"),
    [({}, " --seeds 3"), ({"seeds": 1}, " --seeds 1"), ({"profile": "smoke"}, " --profile smoke --seeds 3")],
)
def test_the_seeds_are_named_whatever_the_file_says(tmp_path, changes, option):
    assert command(tmp_path, "seeds = 3", **changes) == f"understudy run s.toml{option} --out {tmp_path}"


def test_what_a_shell_would_read_as_its_own_is_quoted(tmp_path):
    directory = tmp_path / "my runs"
    directory.mkdir()
    title = "study.title=it's $HOME"
    words = shlex.split(command(directory, overrides=[title], file="a b.toml"))
    assert words == ["understudy", "run", "a b.toml", "--seeds", "1", "--set", title, "--out", str(directory)]
