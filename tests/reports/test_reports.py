"""What reports show: every number that is in the data, and nothing that a model or a user wrote as markup."""

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from understudy.core.values import Chain, Outcome, Problem, Verdict
from understudy.evaluation.metrics import group_by_perplexity
from understudy.evaluation.worth import CorpusMeter
from understudy.reports.cells import Cell, Column, Table
from understudy.reports.data import (
    ALL_VERSIONS,
    ArmSelection,
    ArmSummary,
    Attribution,
    Cascade,
    Comparison,
    Consistency,
    Curve,
    Faithfulness,
    FirstWrong,
    Group,
    Perplexity,
    ReportData,
    ResultRow,
    Story,
    StudentAnswer,
    SweptArm,
    TeacherSummary,
    Votes,
)
from understudy.reports.documents import render_markdown, render_page
from understudy.reports.plots import draw_pictures
from understudy.reports.tables import list_splits, make_tables, tabulate_accuracy, tabulate_consistency
from understudy.reports.terminal import show, show_tables
from understudy.reports.words import file_name, printable, say_detectable
from understudy.training.record import LearningCurve, ShownExample, TrainingRecord, read_curve, read_seen, write_record

HOSTILE = '<script>alert(1)</script><img src=x onerror=y> {{ 7 * 7 }} [red]x[/red] \x1b[31m | **b** & "q"'


BINS = tuple(group_by_perplexity([(-0.01 * i, i % 60 < 31) for i in range(60)]))

SAW = TrainingRecord(
    examples=5,
    problems=3,
    too_long=2,
    groups={"main": 5},
    duplicates=1,
    context=64,
    longest=60,
    lengths=((1, 60, 7),),
    weights={"1": 99},
    end_token="<end>",
    ended=5,
    shown=(ShownExample("p", None, "main", (("5", 1.0),)),),
    steps=2,
    seen_tokens=987,
    tokens=99,
)


def summary(arm, split, accuracy, says=""):
    correct = int(accuracy * 100)
    return ArmSummary(
        arm=arm,
        split=split,
        decoding="greedy",
        seeds=1,
        n=100,
        correct=correct,
        wrong=100 - correct,
        undecidable=0,
        unparsed=0,
        abstained=0,
        truncated=0,
        errors=0,
        accuracy=accuracy,
        low=accuracy - 0.05,
        high=min(1.0, accuracy + 0.05),
        spread=(accuracy,),
        chance=0.5,
        majority=0.55,
        says=says,
        stop_rate=0.99,
        tokens_per_answer=12.5,
        read_per_answer=345.0,
        calls_per_answer=1.5,
        seconds=1.0,
    )


def row(arm, errors=0):
    return ResultRow(
        arm=arm,
        method="scotd",
        model="trained",
        role_models={"student": "x"},
        engine="transformers",
        precision="float32",
        training_precision="float32",
        task="files",
        split="test",
        seed=0,
        decoding="greedy",
        extractor="1",
        n=100,
        correct=83,
        wrong=17,
        undecidable=0,
        unparsed=0,
        abstained=0,
        truncated=0,
        errors=errors,
        accuracy=0.83,
        low=0.78,
        high=0.88,
        tokens_per_answer=12.5,
        read_per_answer=345.0,
        calls_per_answer=1.5,
        seconds=1.0,
    )


@pytest.fixture
def data():
    arms = ("plain", HOSTILE)
    return ReportData(
        name="n",
        title=HOSTILE,
        description=HOSTILE,
        command="understudy run x.toml",
        supported=f"The data support: plain is better than {HOSTILE}.",
        not_supported="",
        made_on="1 training seed; students answer in float32.",
        notes=(HOSTILE,),
        task="files",
        teacher=TeacherSummary(
            "recorded", (HOSTILE,), 9, 3, {"answer": {"correct": 9}, "steps": {"wrong": 4}}, 1.0, 0, CorpusMeter().read(), 0
        ),
        versions={"python": "3.11"},
        by="steps",
        cluster="",
        contrast="",
        rows=tuple(row(arm) for arm in arms),
        summaries=(summary("plain", "test", 0.83), summary(HOSTILE, "test", 0.52, "at chance: nothing can be said")),
        comparisons=(
            Comparison(
                -0.31,
                -0.4,
                -0.2,
                0.00001,
                0.1,
                arm=HOSTILE,
                other="plain",
                split="test",
                n=100,
                p_holm=0.00002,
                says="worse",
                unlike=("learned tokens", "cut off"),
            ),
        ),
        swept=(
            *(SweptArm(arm, "swept", "select.samples", value) for arm, value in zip(arms, (1, 4), strict=True)),
            SweptArm("plain", HOSTILE, "select.keep", HOSTILE),
        ),
        consistency=(Consistency(HOSTILE, 12, {"test": 0.75, "contrast": 0.5}, 0.25, 0.1, 0.5, 0.2, ""),),
        groups=tuple(Group(arm, "test", v, v == "1", 50, 0.5, 0.4, 0.6) for arm in arms for v in ("1", "2")),
        selected=(
            ArmSelection(
                arm=HOSTILE, chains=9, kept=5, dropped={"wrong": 3, "duplicate": 1}, problems=3, covered=2, examples=5, used=True
            ),
        ),
        curves=(
            Curve(losses=((1, 2.0), (2, 1.0)), dev=((2, 0.5),), best=2, arm=HOSTILE, seed=0, seconds=1.5, parameters=1000, saw=SAW),
        ),
        votes=(Votes(HOSTILE, "test", (1, 2), (0.5, 0.6), (0.5, 0.61), (0.5, 0.7), (0.5, 0.58), 30.4),),
        cascades=(
            Cascade(HOSTILE, HOSTILE, "test", 100, (0.0, 0.5, 1.0), (0.0, 0.25, 0.25), (0.5, 0.75, 0.75), (0.0, 20.0, 20.0), 60.8),
        ),
        perplexity=(Perplexity(HOSTILE, "test", BINS), Perplexity("", "train", BINS[:2])),
        chosen_pairs=False,
        attributions=(
            Attribution(
                0.125,
                0.05,
                0.2,
                0.01,
                0.1,
                arm=HOSTILE,
                part=HOSTILE,
                split="test",
                seeds=1,
                n=100,
                accuracy=0.5,
                with_gold=0.625,
                wrong=50,
                mended=17,
            ),
        ),
        faithfulness=(Faithfulness(HOSTILE, "other", "test", 40, 0.875, 0.7, 0.95, 0.5, 0.45),),
        first_wrong=(
            FirstWrong("", "train", 3, ((2, 3),), 0, 0, 90, 1, 200, 190),
            FirstWrong(HOSTILE, "test", 50, ((1, 21), (2, 13)), 9, 7, 0, 0, 80, 40),
            FirstWrong("mute", "test", 8, (), 0, 8, 0, 0, 0, 0),
        ),
        judged=(),
        story=Story(
            Problem("p", HOSTILE, "number", "5"),
            Chain("p", 0, HOSTILE, HOSTILE, "5", "marker", HOSTILE),
            Verdict("c", Outcome.CORRECT, HOSTILE, "answer"),
            ((HOSTILE, 0.0), ("5", 1.0)),
            Problem("q", HOSTILE, "number", "6"),
            (StudentAnswer("plain", HOSTILE, "6", "correct"),),
        ),
    )


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def parsed(data):
    tags = Tags()
    tags.feed(render_page(data))
    return tags


def test_the_page_needs_nothing_from_outside_and_runs_nothing(data):
    tags = parsed(data)
    assert not {"script", "link", "iframe", "img", "object", "form"} & set(tags.tags)
    for name, value in tags.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#")
    assert "49" not in re.findall(r"x onerror=y> (\d+) ", tags.text)


def test_the_page_has_the_numbers_and_what_cannot_be_said(data):
    text = parsed(data).text
    for shown in (
        "83.0",
        "78.0 to 88.0",
        "at chance: nothing can be said",
        "-31.0",
        "< .0001",
        "{{ 7 * 7 }}",
        "The check answer found: correct 9. The check steps found: wrong 4.",
        "wrong 3",
        "987",
        "345",
        "62.5",
        "learned tokens, cut off",
        "The data support: plain is better than",
        "1 training seed; students answer in float32.",
        "87.5",  # faithfulness
        "75.0",  # contrast
        "they write down no calculation: mute on test",
        "100.0 (1.21), 55.0 (1.48), 0.0 (1.8)",
    ):
        assert shown in text, shown
    drawn = {p.name for p in draw_pictures(data)}
    assert drawn >= {
        "accuracy-test",
        "by-steps",
        f"cascade-{file_name(HOSTILE)}-{file_name(HOSTILE)}",
        "chains",
        "curves",
        "cost",
        "sweep-select.samples",
    }


def test_a_value_on_two_splits_is_not_one_point_of_a_line(data):
    group = data.groups[0]
    same = dataclasses.replace(data, groups=[dataclasses.replace(group, split=s, value=v) for s in ("test", "other") for v in "12"])
    pictures = {picture.name: picture for picture in draw_pictures(same) if picture.name.startswith("by-")}
    assert set(pictures) == {"by-steps-test", "by-steps-other"}
    assert "on other" in pictures["by-steps-other"].caption


@pytest.mark.parametrize(("values", "joined"), [(["10", "9"], True), (["hard", "easy"], False)])
def test_numbers_are_joined_in_their_order_and_names_are_not(data, values, joined):
    group = data.groups[0]
    named = dataclasses.replace(data, groups=[dataclasses.replace(group, value=value) for value in values])
    (picture,) = (picture for picture in draw_pictures(named) if picture.name.startswith("by-"))
    (axes,) = picture.figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == values[::-1]
    assert any(line.get_linestyle() == "-" and len(line.get_xdata()) == 2 for line in axes.lines) == joined


def test_colour_means_shown_and_not_highest(data):
    *_, comparisons = (table for table in make_tables(data) if table.title.startswith(("Accuracy", "Compared")))
    (shown,) = comparisons.rows
    assert [cell.role for cell in shown if "worse" in cell.text] == ["bad"]
    assert not any(cell.role == "good" for table in make_tables(data) for row in table.rows for cell in row)
    better = dataclasses.replace(data.comparisons[0], difference=0.3, says="better")
    unclear = dataclasses.replace(better, p_holm=0.06, says="no difference shown")
    by_name = dataclasses.replace(better, arm="second chance")
    for pair, role in ((better, "good"), (by_name, "good"), (unclear, "dim")):
        (table,) = (t for t in make_tables(dataclasses.replace(data, comparisons=(pair,))) if t.title.startswith("Compared"))
        assert role in {cell.role for cell in table.rows[0]}


@pytest.mark.parametrize(("seeds", "test"), [(1, "p: Student's t, where questions with"), (3, "seeds.*; questions with")])
def test_where_questions_belong_together_the_tests_say_so(data, seeds, test):
    summaries = tuple(dataclasses.replace(summary, seeds=seeds) for summary in data.summaries)
    tables = make_tables(dataclasses.replace(data, summaries=summaries, cluster="passage"))
    (compared,) = (table for table in tables if table.title.startswith("Compared"))
    assert re.search(f"{test} the same passage count together", compared.about), compared.about


def test_originals_with_all_their_versions_are_compared_one_by_one(data):
    of_all = dataclasses.replace(data.comparisons[0], split=ALL_VERSIONS)
    tables = make_tables(dataclasses.replace(data, comparisons=(*data.comparisons, of_all), contrast="pair"))
    of_split, of_versions = (table for table in tables if table.title.startswith("Compared"))
    assert "questions with the same pair count together" in of_split.about
    assert (of_versions.title, "the same pair" in of_versions.about) == (f"Compared on {ALL_VERSIONS}", False)


def test_what_was_found_stands_before_the_notes_and_every_table_and_picture_has_a_name(data):
    written = render_page(data)
    order = [written.index(text) for text in ("The data support: ", "Accuracy on test", "Compared on test", "Notes on the numbers")]
    assert order == sorted(order)
    tags = parsed(data)
    assert tags.tags.count("figure") == sum(name == "aria-label" for name, _ in tags.attributes) - tags.tags.count("table")
    anchors = {value for name, value in tags.attributes if name == "id" and value.startswith(("table", "notes", "story"))}
    assert {f"#{anchor}" for anchor in anchors} <= {value for name, value in tags.attributes if name == "href"}


def test_a_picture_of_votes_stands_by_the_split_that_it_shows(data):
    longer = dataclasses.replace(data.votes[0], split="longer")
    both = dataclasses.replace(data, votes=(*data.votes, longer))
    assert [len(table.pictures) for table in make_tables(both) if table.title.startswith("Votes")] == [1, 0]


def test_pictures_are_the_same_for_the_same_data(data):
    assert [p.svg for p in draw_pictures(data)] == [p.svg for p in draw_pictures(data)]


@pytest.mark.parametrize(
    ("values", "ticks", "accuracies"),
    [
        ((30.0, 1.0), ["1", "30"], [52, 83]),
        (("hub/two", "hub/one"), ["two", "one"], [83, 52]),
        ((True, False), ["0", "1"], [52, 83]),
    ],
)
def test_a_sweep_is_drawn_over_its_values_numbers_by_size_and_words_as_the_study_has_them(data, values, ticks, accuracies):
    swept = [SweptArm(arm, "curve", "x.y", value) for arm, value in zip(("plain", HOSTILE), values, strict=True)]
    (picture,) = [p for p in draw_pictures(dataclasses.replace(data, swept=tuple(swept))) if p.name == "sweep-x.y"]
    (axes,) = picture.figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ticks
    assert [round(y) for y in axes.lines[0].get_ydata()] == accuracies


def test_the_costs_have_plain_numbers_on_their_axis(data):
    two = (data.summaries[0], dataclasses.replace(data.summaries[1], tokens_per_answer=300.0))
    (picture,) = [p for p in draw_pictures(dataclasses.replace(data, summaries=two)) if p.name == "cost"]
    picture.figure.canvas.draw()
    ticks = [tick.get_text() for tick in picture.figure.axes[0].get_xticklabels()]
    assert {"20", "50", "100", "200"} <= set(ticks)
    assert all(text.isdecimal() for text in ticks)


@pytest.mark.parametrize(("seconds", "drawn"), [((0.5, 20.0), True), ((0.5, 0.0), False)])
def test_accuracy_is_drawn_over_the_time_of_an_answer_where_it_is_known(data, seconds, drawn):
    both = tuple(dataclasses.replace(s, seconds=each, n=100) for s, each in zip(data.summaries, seconds, strict=False))
    times = [p for p in draw_pictures(dataclasses.replace(data, summaries=both)) if p.name == "time"]
    assert [p.name for p in times] == ["time"] * drawn
    for picture in times:
        marks = [line.get_xdata()[0] for line in picture.figure.axes[0].lines if len(line.get_xdata()) == 1]
        assert marks == pytest.approx([5.0, 200.0])
        assert picture.figure.axes[0].get_xlabel() == "milliseconds per answer (log scale)"


def test_a_report_without_chains_votes_groups_or_story_is_written_too(data):
    bare = dataclasses.replace(
        data, groups=(), votes=(), cascades=(), perplexity=(), attributions=(), first_wrong=(), story=None, curves=()
    )
    bare = dataclasses.replace(bare, swept=(), consistency=(), faithfulness=())
    assert "83.0" in parsed(bare).text


def test_a_cascade_shows_each_threshold_that_makes_a_difference(data):
    (table,) = (table for table in make_tables(data) if table.title.startswith("Cascade"))
    assert [[cell.text for cell in row] for row in table.rows] == [["0.0", "0.0", "50.0", "0"], ["50.0", "25.0", "75.0", "20"]]
    assert "Its votes read and write 61 tokens per answer." in table.about


def test_votes_show_the_likeliest_sample_beside_the_others_and_what_they_cost_and_markdown_the_bins(data):
    text = render_markdown(data)
    assert "| tokens | 30 | 61 |" in text
    assert "| likeliest | 50.0 | 58.0 |" in text
    assert "| teacher | train | 40 | 100.0 (1.21), 55.0 (1.48) |" in text


@pytest.mark.parametrize(("says", "marked"), [("at chance: nothing can be said", "at chance"), ("", "")])
def test_an_arm_that_is_as_consistent_as_by_chance_is_marked(data, says, marked):
    rows = [dataclasses.replace(data.consistency[0], says=says)]
    assert tabulate_consistency(rows).rows[0][-1].text == marked


@pytest.mark.parametrize(
    ("difference", "says"),
    [(0.184, "only a difference of 18.4 points would have shown"), (1.0, "not even a difference of 100 points would have shown")],
)
def test_what_could_have_been_shown_is_a_difference_that_there_can_be(difference, says):
    assert say_detectable(difference) == says


def test_the_problems_and_seeds_are_the_most_of_any_arm_though_the_first_was_not_trained(data):
    untrained, trained = data.summaries
    trained = dataclasses.replace(trained, seeds=3, n=330, spread=(0.5, 0.52, 0.54))
    several = dataclasses.replace(data, summaries=(untrained, trained))
    assert "n = 110 problems x 3 training seeds" in tabulate_accuracy(several, "test").about
    assert "n = 110 problems, 3 training seeds (circles)" in draw_pictures(several)[0].caption


def test_one_value_of_by_alone_has_no_column(data):
    table = tabulate_accuracy(data, "test")
    assert {"1", "2*"} <= {column.head for column in table.columns} and "1 to 2: by steps" in table.note
    ones = [g for g in data.groups if g.value == "1" and g.trained and g.split == "test"]
    assert ones
    some = tabulate_accuracy(dataclasses.replace(data, groups=tuple(ones)), "test")
    assert "1" in {column.head for column in some.columns}, "some questions have none"
    whole = tuple(dataclasses.replace(g, n=s.n) for g in ones for s in data.summaries if (s.arm, s.split) == (g.arm, "test"))
    table = tabulate_accuracy(dataclasses.replace(data, groups=whole), "test")
    assert "1" not in {column.head for column in table.columns} and "by steps" not in table.note


def test_a_loss_below_zero_is_drawn(data):
    below = dataclasses.replace(data.curves[0], losses=((1, -2.0), (2, -3.0)))
    assert "curves" in {p.name for p in draw_pictures(dataclasses.replace(data, curves=(below,)))}


def test_markdown_escapes_what_it_would_read_as_its_own(data):
    text = render_markdown(data)
    assert "<script>" not in text.replace("\\<script\\>", "").replace("at chance", "")
    rows = [line for line in text.splitlines() if line.startswith("| plain")]
    assert rows[0].count("|") == text.splitlines()[text.splitlines().index(rows[0]) - 1].count("|")


def test_the_terminal_shows_names_as_they_are_and_obeys_nothing(data):
    out = io.StringIO()
    show(data, Console(file=out, width=200, force_terminal=True, color_system=None))
    assert "[red]x[/red]" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()
    assert printable("a\x1b[31mb\r\x07\n\tü") == "a\ufffd[31mb\ufffd\ufffd\n\tü"


@pytest.mark.parametrize(("width", "whole"), [(80, False), (400, True)])
def test_a_wide_terminal_shows_every_column_and_a_narrow_one_says_which_it_leaves_out(data, width, whole):
    out = io.StringIO()
    show(data, Console(file=out, width=width, color_system=None))
    table = tabulate_accuracy(data, list_splits(data)[0])
    wide = [column.head for column in table.columns if column.wide]
    lines = out.getvalue().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Accuracy on"))
    head = " ".join(lines[first : first + 4])
    assert {"cut off", "ms"} <= set(wide)
    assert [name in head for name in wide] == [whole] * len(wide)
    assert (f"A wider window also shows: {', '.join(wide)}." in " ".join(out.getvalue().split())) is not whole


def test_columns_with_one_name_each_show_their_own_values():
    columns = tuple(Column(name, number=True) for name in ("tokens", "stops", "tokens"))
    out = io.StringIO()
    show_tables([Table("t", columns, (tuple(map(Cell, ("50.0", "100", "777"))),))], Console(file=out, width=80, color_system=None))
    assert out.getvalue().split()[-3:] == ["50.0", "100", "777"]


def test_a_table_that_is_wider_than_the_screen_keeps_every_number_whole():
    out = io.StringIO()
    columns = (Column("arm"), *(Column(f"accuracy on split{i}", number=True) for i in range(6)))
    rows = tuple((Cell("a long name of an arm", "name"), *(Cell(f"{1000 * i + 123.4:.1f}") for i in range(6))) for _ in range(2))
    show_tables([Table("t", columns, rows)], Console(file=out, width=40, color_system=None))
    for i in range(6):
        assert out.getvalue().split().count(f"{1000 * i + 123.4:.1f}") == 2


def test_every_table_is_the_same_in_markdown_and_on_the_page(data):
    text, shown = render_markdown(data), parsed(data).text
    for table in make_tables(data):
        for row in table.rows:
            assert len(row) == len(table.columns)
            for cell in row:
                assert cell.text in shown
                assert "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in printable(cell.text)) in text


def test_what_a_training_saw_and_how_it_went_is_read_as_it_was_written(tmp_path):
    curve = LearningCurve(((1, 2.0), (2, 1.5)), ((2, 0.25),), 2)
    write_record(tmp_path, SAW, curve)
    assert (read_seen(tmp_path), read_curve(tmp_path)) == (SAW, curve)


def test_results_json_is_json(data):
    assert json.loads(json.dumps(dataclasses.asdict(data)))["summaries"][0]["accuracy"] == 0.83


def test_asks_that_failed_count_whether_a_student_or_the_teacher_was_asked(data):
    assert data.errors == 0
    failed = dataclasses.replace(data, teacher=dataclasses.replace(data.teacher, errors=2), rows=(row("plain", errors=1),))
    assert failed.errors == 3


def test_what_the_chains_are_worth_stands_in_the_report(data):
    chain = Chain("p", 0, "1 and 1. So: 2", "1 and 1.", "2", "marker", "t", tokens=7)
    meter = CorpusMeter()
    meter.add(Problem("p", "1 + 1?", "number", "2"), [(chain, Outcome.CORRECT)])
    worth = meter.read()
    told = render_markdown(dataclasses.replace(data, teacher=dataclasses.replace(data.teacher, worth=worth)))
    assert "What the teacher's chains are worth" in told
    for name, value in worth.describe().items():
        assert name in told and value in told, name
