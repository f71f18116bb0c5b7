"""Rows become problems: templates over fields, several answers, none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.errors import DataError
from understudy.core.prompt_format import PromptFormat
from understudy.core.values import COMMA
from understudy.tasks.rows import Layout, fill_template, find_fields, make_problems, read_problems

ROW = {"passage": "It is day.", "question": "Is it?", "n": 3, "none": None, "list": ["x"], "answer": "yes"}


def one(row, kind="yes_no", **fields):
    (problem,) = make_problems([("here, line 1", row)], Layout(kind, fields))
    return problem


def test_a_field_may_be_a_template_over_the_row():
    problem = one(
        ROW, question="{passage}\n{question} ({n})", context="{{{none}}}", id="row-{n}", rationale="{passage} So {answer}."
    )
    assert (problem.question, problem.context, problem.id) == ("It is day.\nIs it? (3)", "{}", "row-3")
    assert problem.meta["rationale"] == "It is day. So yes."
    assert problem.meta["passage"] == "It is day.", "what a template reads stays where groups can be made of it"


@pytest.mark.parametrize(("field", "answer"), [("question", "answer"), ("context", "right")])
@pytest.mark.parametrize("shown", ["{{passage}} {{{}}}", "{}"])
def test_a_question_that_would_show_its_answer_is_refused(field, answer, shown):
    fields = {field: shown.format(answer), "answer": answer}
    with pytest.raises(DataError, match=rf"fields.{field} = .*: it may not show '{answer}', which gives away the answer"):
        Layout("text", fields)


@pytest.mark.parametrize("ours", ["answer", "rationale"])
def test_a_question_that_shows_all_fields_of_a_template_of_its_answer_is_refused(ours):
    with pytest.raises(DataError, match="gives away the answer"):
        Layout("text", {"question": "{passage}\n{right} {unit}", ours: "{right} {unit}"})
    assert Layout("text", {"question": "{passage}\nHow many {unit}?", ours: "{right} {unit}"}).name(ours) == "{right} {unit}"


def test_a_template_of_empty_fields_is_empty():
    assert one(ROW, context="{none}").context == ""
    with pytest.raises(DataError, match=r"'{none}' .*not ''"):
        one(ROW, question="{none}")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{pasage} {question}", "line 1: the template .* needs a field 'pasage'; did you mean 'passage'"),
        ("{list}", "field 'list' = .* must be a text"),
        ("{passage.upper}", r"needs a field 'passage\.upper'"),
        ("{passage[0]}", r"needs a field 'passage\[0\]'"),
        ("{passage:>9}", r"\{passage:>9\}.*field name"),
        ("{passage!r}", "field name"),
        ("{}", "write only a field name in braces"),
        ("{passage", "write only a field name in braces"),
        ("passage}", "write only a field name in braces"),
    ],
)
def test_a_template_is_field_names_in_braces_and_nothing_else(template, says):
    with pytest.raises(DataError, match=says):
        one(ROW, question=template)


@given(st.dictionaries(st.text("ab c.", min_size=1), st.text("xyz{}"), max_size=4), st.text("x{} "))
def test_a_template_gives_back_what_it_was_made_of(row, between):
    template = "".join(between.replace("{", "{{").replace("}", "}}") + f"{{{name}}}" for name in row)
    assert find_fields(template) == list(row)
    assert fill_template(template, row, "") == "".join(between + value for value in row.values()).strip()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"qestion": "q"}, "unknown field 'qestion'; did you mean 'question'"),
        ({"choices": "{a}"}, "a template makes one text"),
        ({"question": ("a", "b")}, "only choices may name several fields"),
        ({"answer": "anwser"}, r"here, line 1: fields.answer: .*'anwser'; did you mean 'answer'"),
    ],
)
def test_fields_that_cannot_be_are_named(fields, says):
    with pytest.raises(DataError, match=says):
        one(ROW, **fields)


@pytest.mark.parametrize(
    ("kind", "answer", "golds"),
    [
        ("number", ["5", 5.5, "$1,000"], ("5", "5.5", "1000")),
        ("number", '["5", "6"]', ("5", "6")),
        ("date", ["2020-01-05", "January 6, 2020"], ("2020-01-05", "2020-01-06")),
        ("yes_no", [True], ("yes",)),
        ("text", ["Ada Lovelace", "Ada", "Ada"], ("Ada Lovelace", "Ada")),
        ("text", "[1, 2]", ("[1, 2]",)),
        ("option", ["moon", "A"], ("B", "A")),
        ("number", [], (None,)),
        ("number", None, (None,)),
        ("number", "", (None,)),
    ],
)
def test_the_first_of_several_answers_is_the_gold_one_and_the_others_are_accepted(kind, answer, golds):
    problem = one({"question": "Q?", "answer": answer, "choices": ["sun", "moon"] if kind == "option" else None}, kind)
    assert (problem.answer, *problem.accepted) == golds


def test_accepted_answers_are_canonical_once_and_an_answer_where_there_is_no_other():
    row = {"question": "Q?", "answer": "5", "accepted": ["5.0", "6 apples", "6"]}
    assert one(row, "number").accepted == ("6",)
    assert one({"question": "Q?", "accepted": ["5", "6"]}, "number").answer == "5"
    with pytest.raises(DataError, match="field 'accepted' = 'blue' is not an answer of kind 'number'"):
        one(row | {"accepted": ["blue"]}, "number")
    with pytest.raises(DataError, match="field 'accepted' must be a list"):
        one(row | {"accepted": "6"}, "number")


def test_dates_of_a_typed_table_are_answers(tmp_path):
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{"question": "When?", "answer": datetime.date(2020, 1, 5)}]), tmp_path / "q.parquet")
    assert read_problems(tmp_path / "q.parquet", Layout("date"))[0].answer == "2020-01-05"


def test_the_dates_of_all_rows_say_whether_the_day_comes_first_and_how_dates_are_written():
    rows = [(f"here, line {i}", {"question": "When?", "answer": answer}) for i, answer in enumerate(["03/04/2001", "14/05/1997"])]
    problems = make_problems(rows, Layout("date"))
    assert [(p.answer, p.form) for p in problems] == [("2001-04-03", "%d/%m/%Y"), ("1997-05-14", "%d/%m/%Y")]
    assert PromptFormat("messages").join_reply("", "2001-04-03", problems[0]) == "So the answer is: 03/04/2001"


def test_numbers_with_a_decimal_comma_are_read_where_the_task_says_so():
    layout = Layout("number", decimal="comma")
    rows = [("here, line 1", {"question": "Q?", "answer": ["1.234,5", 1.25], "accepted": ["7 kg"]})]
    (problem,) = make_problems(rows, layout)
    assert (problem.golds, problem.form) == (("1234.5", "1.25", "7"), COMMA)
    assert PromptFormat("messages").join_reply("", "1234.5", problem) == "So the answer is: 1234,5"
    with pytest.raises(DataError, match=r"'3,5 kg' is not .* if its comma is a decimal comma, set task.decimal = \"comma\""):
        one({"question": "Q?", "answer": "3,5 kg"}, "number")
    with pytest.raises(DataError, match=r"'5.5' is not an answer of kind 'number'; correct the row"):
        make_problems([("here, line 1", {"question": "Q?", "answer": "5.5"})], layout)


def test_an_empty_cell_is_an_empty_field_and_not_an_unknown_one(tmp_path):
    (tmp_path / "q.csv").write_text("id,hint,question\n1,,What?\n2,see,Why?\n")
    problems = read_problems(tmp_path / "q.csv", Layout("text", {"question": "{hint} {question}"}))
    assert [p.question for p in problems] == ["What?", "see Why?"]


@pytest.mark.parametrize(
    "text",
    [
        ",question,answer\n0,What is 2?,2\n1,What is 3?,3\n",  # as pandas writes it
        "question;answer\nWhat is 2?;2\nWhat is 3?;3\n",
        "\ufeffquestion\tanswer\nWhat is 2?\t2\nWhat is 3?\t3\n",
        '"question";answer\n"What is 2?";2\nWhat is 3?;3\n',
        '"question",answer\n"What is 2?",2\nWhat is 3?,3\n',
    ],
)
def test_a_table_may_have_an_index_without_a_name_and_any_usual_separator(tmp_path, text):
    (tmp_path / "q.csv").write_text(text, encoding="utf-8")
    problems = read_problems(tmp_path / "q.csv", Layout("number"))
    assert [(p.question, p.answer, p.meta) for p in problems] == [("What is 2?", "2", {}), ("What is 3?", "3", {})]


def test_a_field_without_a_name_is_never_lost(tmp_path):
    (tmp_path / "q.csv").write_text("question,answer,\nWhat is 2?,2,\nHow many, in all?,7\n")
    with pytest.raises(DataError, match=r"q\.csv, line 3: more fields than the first line has names"):
        read_problems(tmp_path / "q.csv", Layout("text"))
    (tmp_path / "q.tsv").write_text("question\tanswer (short, exact)\nWhat is 2?\t2\n")
    (problem,) = read_problems(tmp_path / "q.tsv", Layout("number", {"answer": "answer (short, exact)"}))
    assert problem.answer == "2"


def test_options_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match="answer_base = 1: only answers of kind 'option'"):
        Layout("number", answer_base=1)
    with pytest.raises(DataError, match='decimal = "comma": only answers of kind "number"'):
        Layout("text", decimal="comma")
    with pytest.raises(DataError, match='choices_in = "question": for kind = "option"'):
        Layout("number", choices_in="question")


def test_an_answer_of_thousands_of_digits_is_refused_in_one_short_line(tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "x", "answer": "7" * 6000}) + "\n")
    with pytest.raises(DataError, match=r"is not an answer of kind 'number'; correct the row or task\.kind") as raised:
        read_problems(tmp_path / "q.jsonl", Layout("number"))
    assert len(str(raised.value)) < 400


def test_a_bad_row_says_its_own_line(tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "x", "answer": ["1", {"a": 2}]}) + "\n")
    with pytest.raises(DataError, match=r"q\.jsonl, line 1: field 'answer' = .* is not an answer of kind 'number'"):
        read_problems(tmp_path / "q.jsonl", Layout("number"))
