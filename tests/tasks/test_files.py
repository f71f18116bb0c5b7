"""Problems from files, splits, and questions on both sides of one."""

import json

import pytest

from understudy.core.errors import DataError
from understudy.core.values import Problem
from understudy.tasks.files import Files, read_problems
from understudy.tasks.splits import check_overlap

ROWS = [{"id": f"q{i}", "question": f"What is {i} + 1?", "answer": str(i + 1), "level": i % 3} for i in range(10)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_one_file_is_split_by_seeded_sizes(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    task = Files("number", root=str(tmp_path), path="q.jsonl", sizes={"train": 5, "dev": 2, "test": 2})
    problems = task.problems(seed=0)
    assert [p.split for p in problems] == ["train"] * 5 + ["dev"] * 2 + ["test"] * 2
    assert task.problems(seed=0) == problems
    assert [p.id for p in task.problems(seed=1)] != [p.id for p in problems]
    assert problems[0].meta == {"level": int(problems[0].id[1:]) % 3}
    with pytest.raises(DataError, match="there are 10"):
        Files("number", root=str(tmp_path), path="q.jsonl", sizes={"train": 11}).problems(seed=0)


def test_fields_are_mapped_and_answers_made_canonical(tmp_path):
    rows = [{"n": 1, "q": "Which?", "gold": "(b)", "opts": ["x", "y"], "also": ["x"]}]
    path = write(tmp_path / "q.jsonl", rows)
    fields = {"id": "n", "question": "q", "answer": "gold", "choices": "opts", "accepted": "also"}
    (problem,) = read_problems(path, kind="option", fields=fields)
    assert (problem.id, problem.answer, problem.accepted, problem.choices) == ("1", "B", ("A",), ("x", "y"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: '[1]' is not a JSON object"),
        ('{"qestion": "x"}', "line 2: field 'question' must be a text that is not empty; did you mean 'qestion'?"),
        ('{"question": ""}', "line 2: field 'question' must be a text that is not empty, not ''"),
        ('{"question": "x", "answer": "blue"}', "line 2: field 'answer' = 'blue' is no answer of kind 'number'"),
        ('{"question": "x", "choices": "ab"}', "line 2: field 'choices' must be a list of texts"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, line, says):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(DataError) as error:
        list(read_problems(path, kind="number", fields={}))
    assert str(path) in str(error.value)
    assert says in str(error.value)


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_problems(tmp_path / "none.jsonl", kind="number", fields={}))
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_problems(tmp_path / "latin.jsonl", kind="number", fields={}))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no problem in it"):
        list(read_problems(tmp_path / "empty.jsonl", kind="number", fields={}))


def test_two_problems_with_one_id_are_an_error(tmp_path):
    write(tmp_path / "q.jsonl", [ROWS[0], ROWS[0]])
    with pytest.raises(DataError, match="'q0'"):
        Files("number", root=str(tmp_path), train="q.jsonl").problems(seed=0)


def problem(name, question, split, choices=()):
    return Problem(name, question, "option", choices=choices, split=split)


def test_a_question_identical_with_its_choices_in_train_and_test_stops_or_leaves_train():
    problems = [
        problem("a", "Which  one?", "train", ("x", "y")),
        problem("b", "Which one?", "test", ("y", "x")),
        problem("c", "Which one?", "train", ("x", "z")),
        problem("d", "What of 3?", "train"),
        problem("e", "what of 4", "test"),
        problem("f", "Which one?", "dev", ("x", "y")),
    ]
    with pytest.raises(DataError, match="a = b, f = b"):
        check_overlap(problems, held_out=["test"], rule="error")
    kept, report = check_overlap(problems, held_out=["test"], rule="drop")
    assert [p.id for p in kept] == ["b", "c", "d", "e"]
    assert report.to_json() == {"dropped": ["a", "f"], "near-duplicates": 1}
