"""Options in every layout, and which of them an answer names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.errors import DataError
from understudy.tasks.files import Files
from understudy.tasks.rows import Layout, read_problems

TWO = ["sun", "moon"]


def read(tmp_path, rows, **options):
    """(choices, answer) of each row."""
    rows = rows if isinstance(rows, list) else [rows]
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"id": f"q{i}", "question": "Q?", **row}) + "\n" for i, row in enumerate(rows))
    )
    task = Files("option", root=str(tmp_path), train="q.jsonl", **options)
    return [(list(p.choices), p.answer) for p in task.problems(seed=0)]


@pytest.mark.parametrize(
    "choices",
    [
        TWO,
        ["A) sun", "B) moon"],
        ["(a) sun", "(b) moon"],
        {"A": "sun", "B": "moon"},
        {"A": "sun", "B": "moon", "C": None},
        {"label": ["A", "B"], "text": TWO},
        [{"label": "A", "text": "sun"}, {"label": "B", "text": "moon"}],
        [{"text": "sun"}, {"text": "moon"}],
        json.dumps(TWO),
        json.dumps({"A": "sun", "B": "moon"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("answer", ["B", "b", "(B)", "(b)", "B.", "moon", "Moon", "B) moon"])
def test_a_letter_or_the_text_names_an_option_in_every_layout(tmp_path, choices, answer):
    assert read(tmp_path, {"choices": choices, "answer": answer}) == [(TWO, "B")]


@pytest.mark.parametrize("choices", [["1.5", "2.5"], ["1:30", "2:30"], ["A) sun", "C) moon"], ["a.m.", "b.m."]])
def test_a_text_that_only_looks_labelled_is_whole(tmp_path, choices):
    assert read(tmp_path, {"choices": choices, "answer": choices[1]}) == [(choices, "B")]


def test_the_data_sets_own_labels_come_first(tmp_path):
    arc = {"label": ["1", "2", "3"], "text": ["x", "y", "z"]}
    assert read(tmp_path, [{"choices": arc, "answer": "3"}, {"choices": arc, "answer": 1}]) == [
        (["x", "y", "z"], "C"),
        (["x", "y", "z"], "A"),
    ]
    assert read(tmp_path, {"choices": {"p": "q", "q": "p"}, "answer": "q"}) == [(["q", "p"], "B")]
    assert read(tmp_path, {"choices": {"label": ["1", "2"], "text": ["2", "1"]}, "answer": "2"}) == [(["2", "1"], "B")]


@pytest.mark.parametrize(("base", "letters"), [(0, "BC"), (1, "AB")])
def test_a_declared_base_says_what_a_number_is(tmp_path, base, letters):
    rows = [{"choices": ["x", "y", "z"], "answer": n} for n in (1, "2")]
    assert "".join(answer for _, answer in read(tmp_path, rows, answer_base=base)) == letters
    assert read(tmp_path, {"choices": ["1", "2", "0"], "answer": 2.0}, answer_base=base)[0][1] == letters[1]


@pytest.mark.parametrize(("shows", "letter"), [(0, "B"), (3, "A"), ("(3)", "A")])
def test_a_base_that_some_answer_shows_need_not_be_declared(tmp_path, shows, letter):
    rows = [{"choices": ["x", "y", "z"], "answer": n} for n in (1, shows)]
    assert read(tmp_path, rows)[0][1] == letter


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [{"choices": TWO, "answer": 1}],
            "line 1: field 'answer' = 1 .*task.answer_base",
        ),
        (
            [{"choices": TWO, "answer": 0}, {"choices": TWO, "answer": 2}],
            "line 1: .*from 0.* line 2 from 1",
        ),
        (
            [{"choices": TWO, "answer": 0}, {"choices": ["1", "0"], "answer": 1}],
            "line 2: field 'answer' = 1 is the text of option A and the number of option B",
        ),
        ([{"choices": ["b", "a"], "answer": "b"}], "'b' is the text of option A and the letter of option B"),
        ([{"choices": TWO, "answer": "star"}], r"'star' is not an answer of kind 'option' \(choices: sun, moon\)"),
        ([{"choices": TWO, "answer": "C"}], "'C' is not an answer of kind 'option'"),
        ([{"choices": "sun", "answer": "A"}], "field 'choices' .*list of .*texts"),
        ([{"choices": ["sun", ""], "answer": "A"}], "field 'choices' .*''"),
        ([{"choices": {"label": ["A", "A"], "text": TWO}, "answer": "A"}], "label twice .A, A."),
        ([{"choices": [str(i) for i in range(30)], "answer": "A"}], "30 options.* 26"),
        ([{"choices": {"label": ["A"], "text": TWO}, "answer": "A"}], "list of .*texts"),
    ],
)
def test_what_is_not_certain_is_an_error_that_names_the_row(tmp_path, rows, says):
    with pytest.raises(DataError, match=says):
        read(tmp_path, rows)


FOUR = {"option_a": "w", "option_b": "x", "option_c": "y", "option_d": None}


@pytest.mark.parametrize("answer", ["option_c", "c", "C", "y"])
def test_options_may_be_a_field_each_and_empty_ones_at_the_end_are_left_out(tmp_path, answer):
    assert read(tmp_path, FOUR | {"answer": answer}, fields={"choices": tuple(FOUR)}) == [(["w", "x", "y"], "C")]


def test_an_empty_option_before_another_and_an_unknown_field_are_errors(tmp_path):
    with pytest.raises(DataError, match="field 'option_b' is empty"):
        read(tmp_path, FOUR | {"option_b": "", "answer": "a"}, fields={"choices": tuple(FOUR)})
    with pytest.raises(DataError, match=r"fields.choices: .*'optiona'; did you mean 'option_a'"):
        read(tmp_path, FOUR | {"answer": "a"}, fields={"choices": ("optiona", "option_b")})


def test_the_right_one_is_not_always_the_same_option_where_its_field_is_among_them(tmp_path):
    rows = [{"right": "a", "wrong": "b"}, {"right": "d", "wrong": "c"}]
    fields = {"answer": "right", "choices": ("right", "wrong")}
    assert read(tmp_path, rows, fields=fields) == [(["a", "b"], "A"), (["c", "d"], "B")]


@pytest.mark.parametrize(
    ("text", "question", "choices"),
    [
        ("Which is hot? (A) sun (B) moon", "Which is hot?", TWO),
        ("Which is hot?\n(a) sun\n(b) moon", "Which is hot?", TWO),
        ("Which is hot? A) sun B) moon", "Which is hot?", TWO),
        ("Which is hot?\nA. sun\nB. moon\nAnswer:", "Which is hot?", TWO),
        ("Which is hot?\nOptions:\nA: sun\nB: moon", "Which is hot?", TWO),
        ("Which is hot? A. sun B. moon", "Which is hot?", TWO),
        ("Which is hot?\n1. sun\n2. moon", "Which is hot?", TWO),
        ("Is it (a) sun, or (b) moon", "Is it", TWO),
        ("f(x) at (i)? (A) sun; (B) moon", "f(x) at (i)?", TWO),
        ("What did Dr. B. see? (A) the A. team (B) vitamin C.", "What did Dr. B. see?", ["the A. team", "vitamin C."]),
    ],
)
def test_options_are_taken_out_of_the_question(tmp_path, text, question, choices):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": text, "answer": "B" if "1." not in text else "2"}))
    (problem,) = Files("option", root=str(tmp_path), train="q.jsonl", choices_in="question").problems(seed=0)
    assert (problem.question, list(problem.choices), problem.answer) == (question, choices, "B")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Which is hot?", "line 1: no options"),
        ("Which? (A) sun", "no options such as"),
        ("Which? (A) sun (C) moon", "no options such as"),
        ("Which (A) or (B)? (A) sun (B) moon", "no options such as"),
        ("Which of (1) heat (2) light? (A) 1 only (B) both", "more than one list of options"),
        ("(A) sun (B) moon", "the question or an option of .* is empty"),
        ("Which? (A) (B) moon", "the question or an option of .* is empty"),
    ],
)
def test_options_in_the_question_that_cannot_be_told_are_an_error(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read(tmp_path, {"question": text, "answer": "A"}, choices_in="question")


WORD = st.text("bcdfg", min_size=2, max_size=5)


@given(st.lists(WORD, min_size=2, max_size=6, unique=True), st.data())
def test_every_layout_of_the_same_question_is_the_same_problem(tmp_path_factory, texts, data):
    tmp_path, right = tmp_path_factory.mktemp("q"), data.draw(st.integers(0, len(texts) - 1))
    letters = "ABCDEF"[: len(texts)]
    rows = [
        {"choices": texts, "answer": texts[right]},
        {"choices": dict(zip(letters, texts, strict=True)), "answer": letters[right]},
        {"choices": {"label": [str(i) for i in range(7, 7 + len(texts))], "text": texts}, "answer": 7 + right},
        {
            "choices": [f"{letter}) {text}" for letter, text in zip(letters, texts, strict=True)],
            "answer": f"({letters[right].lower()})",
        },
    ]
    assert read(tmp_path, rows) == [(texts, letters[right])] * 4
    told = "What? " + " ".join(f"({letter}) {text}" for letter, text in zip(letters, texts, strict=True))
    assert read(tmp_path, {"question": told, "answer": texts[right]}, choices_in="question") == [(texts, letters[right])]


def test_options_may_be_read_without_a_study(tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Q?", "choices": TWO, "answer": "moon"}))
    assert read_problems(tmp_path / "q.jsonl", Layout("option"))[0].answer == "B"
