"""Text from outside is only text on a terminal: nothing in it is obeyed, and nothing in it is markup."""

import re

import pytest
from rich.panel import Panel
from rich.text import Text

from understudy.cli.guard import run_verb
from understudy.cli.live import Live
from understudy.cli.table import Screen, say, show_table
from understudy.core.errors import DataError

EVIL = "a\x1b[2J\x9b31m\x1b]0;title\x07[/bold][red]z"
SHOWN = "a\ufffd[2J\ufffd31m\ufffd]0;title"


def print_progress(screen):
    live = Live(screen)
    live.progress.add_task(EVIL, kind=EVIL, note=EVIL)
    screen.print(live.progress.get_renderable())


@pytest.mark.parametrize(
    "show",
    [
        lambda screen: screen.print(EVIL),
        lambda screen: screen.print(Text.assemble((EVIL, "bold"))),
        lambda screen: screen.print(Panel(Text(EVIL), title=Text(EVIL))),
        lambda screen: show_table(EVIL, {EVIL: EVIL, "list": [EVIL]}, screen),
        lambda screen: Live(screen).event(("label", 0, 0, EVIL)),
        print_progress,
        lambda _: say(EVIL),
    ],
    ids=["line", "text", "panel", "table", "note", "progress", "say"],
)
def test_what_a_terminal_would_obey_is_made_visible(capsys, show):
    show(Screen())
    out = capsys.readouterr().out
    assert re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out) == []
    assert SHOWN in out
    assert "[/bold]" in out


def test_progress_takes_one_line_of_80_columns_and_cuts_names_before_numbers(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen()
    live = Live(screen)
    for label, done in (("Socratic CoT, two students, one of a question, seed 5, test", 12_000), ("answer-only", 5)):
        live.progress.add_task(label, kind="answers", note="93 % ok, 12 failed, $1.24", completed=done, total=65_250)
    screen.print(live.progress.get_renderable())
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"answers   Socratic CoT, .*… .* 12000/65250 0/s 93 % ok, .*… --:--", first.rstrip()), first
    assert re.fullmatch(r"answers   answer-only +5/65250 0/s 93 % ok, .*… --:--", second.rstrip()), second


@pytest.mark.parametrize(
    ("where", "keeps"), [("look:ls", False), ("corpora:import_", False), ("run:main", True), ("view:judge", True)]
)
def test_an_interruption_promises_only_what_the_verb_keeps(capsys, monkeypatch, where, keeps):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"understudy.cli.{where.replace(':', '.')}", interrupted)
    assert run_verb(where, "ls", []) == 130
    err = capsys.readouterr().err
    assert err.startswith("understudy ls: interrupted")
    assert ("what was done is kept" in err) == keeps


def test_an_error_of_a_file_or_a_server_is_shown_so_too(capsys, monkeypatch):
    def fails(*_):
        raise DataError(EVIL)

    monkeypatch.setattr("understudy.cli.look.ls", fails)
    assert run_verb("look:ls", "ls", []) == 2
    err = capsys.readouterr().err
    assert SHOWN in err
    assert "\x1b" not in err
