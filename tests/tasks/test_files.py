"""Problems from files and directories, their splits, and questions on both sides of one."""

import json

import pytest
from saved import make_saved, save

from understudy.core.errors import DataError
from understudy.core.subquestions import list_subquestions, make_gold_chain
from understudy.core.values import Problem, Step
from understudy.studies.schema import build
from understudy.tasks.files import Files
from understudy.tasks.overlap import find_near
from understudy.tasks.rows import Layout, read_problems

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
    (problem,) = read_problems(path, Layout("option", fields))
    assert (problem.id, problem.answer, problem.accepted, problem.choices) == ("1", "B", ("A",), ("x", "y"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: '[1]' is not a JSON object"),
        ('{"qestion": "x"}', "line 2: field 'question' must be a non-empty text; did you mean 'qestion'?"),
        ('{"question": ""}', "line 2: field 'question' must be a non-empty text, not ''"),
        ('{"question": "x", "answer": "blue"}', "line 2: field 'answer' = 'blue' is not an answer of kind 'number'"),
        ('{"question": "x", "choices": "ab"}', "line 2: field 'choices' must be a list of texts"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, line, says):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(DataError) as error:
        list(read_problems(path, Layout("number")))
    assert str(path) in str(error.value)
    assert says in str(error.value)


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_problems(tmp_path / "none.jsonl", Layout("number")))
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_problems(tmp_path / "latin.jsonl", Layout("number")))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="has no problems"):
        list(read_problems(tmp_path / "empty.jsonl", Layout("number")))


def test_two_problems_with_one_id_are_an_error(tmp_path):
    write(tmp_path / "q.jsonl", [ROWS[0], ROWS[0]])
    with pytest.raises(DataError, match="'q0'"):
        Files("number", root=str(tmp_path), train="q.jsonl").problems(seed=0)


def files(root, **options):
    return Files("number", root=str(root), **options)


def counts(task, seed=0):
    found = {}
    for p in task.problems(seed=seed):
        found.setdefault(p.split, []).append(p.id)
    return {name: len(ids) for name, ids in found.items()}


def test_what_sizes_leave_is_train_and_shares_are_of_all(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    assert counts(files(tmp_path, path="q.jsonl", sizes={"dev": 0.2, "test": 3})) == {"train": 5, "dev": 2, "test": 3}
    assert counts(files(tmp_path, path="q.jsonl", sizes={"train": 0.5, "dev": 0.3})) == {"train": 5, "dev": 3}


def test_a_data_set_directory_has_its_own_splits(tmp_path):
    make_saved(tmp_path / "d", {"train": ROWS[:6], "validation": ROWS[6:8], "test": ROWS[8:]})
    task = files(tmp_path, path="d")
    assert counts(task) == {"train": 6, "dev": 2, "test": 2}
    assert sorted(path.name for path in task.files()) == ["data-00000-of-00001.arrow"] * 3 + ["dataset_info.json"] * 3


def test_a_split_of_a_directory_stands_wherever_a_file_may(tmp_path):
    make_saved(tmp_path / "d", {"train": ROWS[:6], "validation": ROWS[6:8]})
    write(tmp_path / "d-test.jsonl", ROWS[8:])
    assert counts(files(tmp_path, train="d/train", dev="d/validation", test="d-test.jsonl")) == {"train": 6, "dev": 2, "test": 2}
    assert counts(files(tmp_path, path="d/train", sizes={"test": 2})) == {"train": 4, "test": 2}


def test_splits_that_the_data_lack_are_drawn_from_train(tmp_path):
    make_saved(tmp_path / "d", {"train": ROWS[:8], "test": ROWS[8:]})
    task = files(tmp_path, path="d", sizes={"dev": 0.25})
    assert counts(task) == {"train": 6, "dev": 2, "test": 2}
    assert {p.id for p in task.problems(seed=0) if p.split == "test"} == {"q8", "q9"}
    with pytest.raises(DataError, match="sizes: test"):
        files(tmp_path, path="d", sizes={"test": 2}).problems(seed=0)


def test_rows_without_ids_are_named_by_split_and_row(tmp_path):
    bare = [{"question": f"What is {i}?", "answer": str(i)} for i in range(3)]
    make_saved(tmp_path / "d", {"train": bare[:2], "test": bare[2:]})
    assert [p.id for p in files(tmp_path, path="d").problems(seed=0)] == ["train, row 1", "train, row 2", "test, row 1"]


def test_rows_without_ids_in_files_of_one_name_are_named_by_their_directories(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write(tmp_path / split / "data.jsonl", [{"question": f"What is {split}?", "answer": "1"}])
    made = files(tmp_path, train="train/data.jsonl", test="test/data.jsonl").problems(seed=0)
    assert [p.id for p in made] == ["train/data.jsonl, line 1", "test/data.jsonl, line 1"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("whole", "train, dev, test; .*sizes"),
        ("odd", "has no splits train, dev, test; .*one, two; .*sizes"),
        ("empty", "no data"),
        ("d/train", "train, dev, test; .*sizes"),
        ("d/tset", "d has no split 'tset'; did you mean 'test'"),
        ("none", "none: no such file or directory"),
    ],
)
def test_a_directory_that_is_not_split_says_so_before_anything_runs(tmp_path, path, says):
    save(tmp_path / "whole", ROWS)
    make_saved(tmp_path / "odd", {"one": ROWS[:2], "two": ROWS[2:]})
    make_saved(tmp_path / "d", {"train": ROWS[:2], "test": ROWS[2:]})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=says):
        files(tmp_path, path=path).files()


def test_a_missing_split_is_named_before_anything_runs(tmp_path):
    make_saved(tmp_path / "d", {"train": ROWS[:2], "test": ROWS[2:]})
    with pytest.raises(DataError, match=r"d has no split 'tset'; did you mean 'test'\? \(its splits: train, test\)"):
        files(tmp_path, train="d/train", test="d/tset").files()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "q.jsonl"}, "path .*sizes"),
        ({"path": "q.jsonl", "train": "t.jsonl"}, "path, train, dev, test"),
        ({}, "path, train, dev, test"),
        ({"path": "q.jsonl", "sizes": {"dev": 0}}, r"sizes\.dev = 0"),
        ({"path": "q.jsonl", "sizes": {"dev": 1.5}}, r"sizes\.dev = 1\.5"),
        ({"path": "q.jsonl", "sizes": {"dev": 0.5, "test": 0.6}}, "the shares add up to more than 1"),
        ({"path": "q.jsonl", "sizes": {"dev": 1}, "splits": "s.json"}, "splits, sizes"),
        ({"path": "q.jsonl", "sizes": {"dev": 1}, "group": "a", "stratify": "b"}, "group: set only one of them"),
        ({"train": "q.jsonl", "group": "a"}, "stratify, group: set sizes too"),
        ({"train": "q.jsonl", "fraction": 0.0}, r"task\.fraction = 0\.0: "),
        ({"train": "q.jsonl", "fields": {"qestion": "q"}}, "unknown field 'qestion'; did you mean 'question'"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        build(Files, {"kind": "number", "root": str(tmp_path), **options}, "task")


def test_groups_and_strata_may_be_called_as_the_file_calls_them(tmp_path):
    rows = [row | {"passage": f"p{i // 5}", "gold": i % 2} for i, row in enumerate(ROWS * 2)]
    write(tmp_path / "q.jsonl", [row | {"id": str(i)} for i, row in enumerate(rows)])
    fields = {"answer": "gold", "context": "passage"}
    grouped = files(tmp_path, path="q.jsonl", fields=fields, sizes={"test": 5}, group="passage").problems(seed=0)
    assert len({p.context for p in grouped if p.split == "test"}) == 1
    even = files(tmp_path, path="q.jsonl", fields=fields, sizes={"test": 6}, stratify="gold").problems(seed=0)
    assert sorted(p.answer for p in even if p.split == "test") == ["0"] * 3 + ["1"] * 3


def test_near_duplicates_are_on_one_side(tmp_path):
    rows = [
        {"id": f"{name}{i}", "question": f"{name} has {i} {name}s. How many?", "answer": i}
        for name in "ABCDEFGHIJ"
        for i in range(4)
    ]
    write(tmp_path / "q.jsonl", rows)
    problems = files(tmp_path, path="q.jsonl", sizes={"dev": 8, "test": 8}, group="near-duplicates").problems(seed=0)
    assert len({(p.id[0], p.split) for p in problems}) == 10
    assert find_near(problems, held_out=["dev", "test"]) == ([], set())


def test_a_fraction_leaves_held_out_splits_whole(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    some, more = (files(tmp_path, path="q.jsonl", sizes={"test": 2}, fraction=f) for f in (0.25, 0.5))
    assert (counts(some), counts(more)) == ({"train": 2, "test": 2}, {"train": 4, "test": 2})
    assert {p.id for p in some.problems(seed=0)} < {p.id for p in more.problems(seed=0)}


def test_a_list_of_ids_says_the_splits_whatever_the_seed(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    (tmp_path / "splits.json").write_text('{"train": ["q3", "q1"], "test": ["q2"]}')
    task = files(tmp_path, path="q.jsonl", splits="splits.json")
    assert [(p.id, p.split) for p in task.problems(seed=5)] == [("q3", "train"), ("q1", "train"), ("q2", "test")]
    assert tmp_path / "splits.json" in task.files()


def test_rows_that_cannot_be_read_are_left_out_and_told_where_that_is_asked_for(tmp_path):
    rows = [{"id": float(i), "question": f"{i}?", "choices": ["x", "y"], "answer": "A"} for i in range(6)]
    rows[2] |= {"answer": "Z"}
    rows[4] |= {"question": ""}
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"kind": "option", "root": str(tmp_path), "path": "q.jsonl", "sizes": {"dev": 1, "test": 1}}
    with pytest.raises(
        DataError, match=r"line 5: field 'question' must be a non-empty text, not ''.*task\.skip_bad = true leaves out"
    ):
        Files(**task).problems(seed=0)
    lenient = Files(**task, skip_bad=True)
    assert sorted(problem.id for problem in lenient.problems(seed=0)) == ["0", "1", "3", "5"]
    assert [message.partition(": ")[0].rpartition(", ")[2] for message in lenient.bad_rows()] == ["line 5", "line 3"]
    assert Files(**task).bad_rows() == []


def test_further_splits_may_be_of_another_kind_with_fields_of_their_own(tmp_path):
    write(tmp_path / "q.jsonl", ROWS)
    write(tmp_path / "moods.jsonl", [{"id": "m", "text": "Is 'fine' good?", "label": "yes"}])
    other = {"file": "moods.jsonl", "kind": "yes_no", "fields": {"question": "text", "answer": "label"}}
    options = {"kind": "number", "root": str(tmp_path), "path": "q.jsonl", "sizes": {"dev": 2, "test": 2}}
    task = build(Files, options | {"others": {"moods": other, "again": {"file": "q.jsonl"}}}, "task")
    with pytest.raises(DataError, match="10 ids given more than once"):
        task.problems(seed=0)
    task = build(Files, options | {"others": {"moods": other}}, "task")
    (mood,) = [p for p in task.problems(seed=0) if p.split == "moods"]
    assert (mood.kind, mood.question, mood.answer) == ("yes_no", "Is 'fine' good?", "yes")
    assert sum(p.split == "train" for p in task.problems(seed=0)) == 6
    assert tmp_path / "moods.jsonl" in task.files()
    with pytest.raises(ValueError, match="others: test is already a split of the task"):
        build(Files, options | {"others": {"test": other}}, "task")


def test_a_further_split_counts_and_finds_options_as_the_main_file_does(tmp_path):
    rows = [{"id": f"{i}", "question": f"{i}?", "choices": ["a", "b", "c"], "answer": i % 3} for i in range(6)]
    write(tmp_path / "q.jsonl", rows)
    write(tmp_path / "more.jsonl", [rows[1] | {"id": "more"}])
    options = {"kind": "option", "root": str(tmp_path), "path": "q.jsonl", "sizes": {"dev": 1, "test": 1}, "answer_base": 0}
    task = build(Files, options | {"others": {"more": {"file": "more.jsonl"}}}, "task")
    assert {p.id: p.answer for p in task.problems(seed=0)} == dict(zip("012345", "ABCABC", strict=True)) | {"more": "B"}
    write(tmp_path / "q.jsonl", [{"id": f"{i}", "question": f"{i}? (A) sun (B) moon", "answer": "B"} for i in range(6)])
    write(tmp_path / "more.jsonl", [{"id": "more", "question": "More? (A) sun (B) moon", "answer": "A"}])
    options |= {"answer_base": None, "choices_in": "question"}
    task = build(Files, options | {"others": {"more": {"file": "more.jsonl"}}}, "task")
    assert {p.choices for p in task.problems(seed=0)} == {("sun", "moon")}


def test_nulls_among_answers_are_none_and_what_no_field_should_be_is_refused(tmp_path):
    def read(kind="text", **row):
        (problem,) = read_problems(write(tmp_path / "q.jsonl", [{"question": "Which?", **row}]), Layout(kind))
        return problem

    assert read(answer=[None]).golds == ()
    assert read(answer=["Paris", None], accepted=["Lutetia", None]).golds == ("Paris", "Lutetia")
    with pytest.raises(DataError, match=r"line 1: field 'answer' marks every option with 0 or 1"):
        read("option", choices=["red", "green", "blue"], answer=[0, 1, 0])
    assert "rationale" not in read(answer="Paris", rationale=["So", "it is"]).meta
    write(tmp_path / "q.jsonl", [{"question": "Which?", "answer": "Paris", "steps": ["So", "it is"]}])
    with pytest.raises(DataError, match=r"line 1: field 'steps' must be a non-empty text, not \['So', 'it is'\]"):
        list(read_problems(tmp_path / "q.jsonl", Layout("text", {"rationale": "steps"})))


@pytest.mark.parametrize("value", ["How many?", ["How many?"], [{"question": "How many?", "answer": 3}, {}], {"question": "a"}])
def test_sub_questions_in_another_shape_are_none(value):
    problem = Problem("q", "?", "number", "3", meta={"subquestions": value, "rationale": "It is 3."})
    assert (list_subquestions(problem), make_gold_chain(problem).steps) == ([], ())


def test_the_answers_of_sub_questions_may_be_numbers():
    problem = Problem("q", "?", "number", "3", meta={"subquestions": [{"question": "How many?", "answer": 3}]})
    assert make_gold_chain(problem).steps == (Step("3", "How many?"),)


def test_a_damaged_line_is_left_out_and_told_with_its_number_where_that_is_asked_for(tmp_path):
    lines = [json.dumps({"id": str(i), "question": f"{i}?", "answer": i}) for i in range(6)]
    lines[0] = lines[0][:-4]
    lines[3] = "[3]"
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    task = {"kind": "number", "root": str(tmp_path), "path": "q.jsonl", "sizes": {"dev": 1, "test": 1}}
    with pytest.raises(DataError, match=r"line 1: not JSON.*skip_bad"):
        Files(**task).problems(seed=0)
    lenient = Files(**task, skip_bad=True)
    assert sorted(problem.id for problem in lenient.problems(seed=0)) == ["1", "2", "4", "5"]
    assert [message.rpartition("q.jsonl, ")[2][:16] for message in lenient.bad_rows()] == ["line 1: not JSON", "line 4: '[3]' is"]
    (tmp_path / "q.jsonl").write_text("{}}")
    with pytest.raises(DataError, match=r"no problems that can be read; .*line 1: not JSON"):
        lenient.problems(seed=0)
    (tmp_path / "q.json").write_text(f"[{', '.join(lines)}]")
    with pytest.raises(DataError, match=r"q\.json: not JSON"):
        Files(**task | {"path": "q.json"}, skip_bad=True).problems(seed=0)
