"""What is guessed of a file: every real set in every format, and the layouts of choices."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from saved import make_saved

from understudy.core.errors import DataError
from understudy.studies.guess import guess, write_study
from understudy.studies.load import load_study

SETS = """addsub arc-easy asdiv bbh coin-flip commonsenseqa game24 gsm8k imdb-contrast last-letters openbookqa quarel scienceqa-text
singleeq strategyqa svamp thoughtsource worldtree""".split()
OPTIONS = "arc-easy commonsenseqa openbookqa quarel scienceqa-text thoughtsource worldtree".split()
FORMATS = [".jsonl", ".json", ".csv", ".tsv", ".parquet"]


def write(path, rows):
    flat = [{k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            path.write_text(json.dumps(rows))
        case ".csv" | ".tsv":
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
                table.writeheader()
                table.writerows(flat)
        case ".parquet":
            nested = {"choices": pa.list_(pa.string())}
            columns = {n: [row.get(n) if n in nested else flat[i].get(n) for i, row in enumerate(rows)] for n in names}
            pq.write_table(pa.table({n: pa.array(column, nested.get(n)) for n, column in columns.items()}), path)
    return path


def begin(path):
    """What `understudy init` guesses of ``path``, and the problems of the study that it writes."""
    found, to = guess(path), path.with_name("s.toml")
    to.write_text(write_study(path, found, target=to, relative=path.name), encoding="utf-8")
    return found, load_study(to).make_task().problems(seed=0)


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_is_guessed_alike_in_every_format(real_data, tmp_path, name):
    file = next(f for n in ("train", "all", "problems", "test") if (f := real_data / name / f"{n}.jsonl").is_file())
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:200]]
    rows = [row for row in rows if name not in OPTIONS or row["choices"]]  # thoughtsource has some yes/no questions too
    seen = []
    for suffix in FORMATS:
        found, problems = begin(write(tmp_path / f"q{suffix}", rows))
        assert len(problems) == len(rows)
        assert found.fit > 0.95
        by_id = {p.id: (p.kind, p.question, p.choices, p.answer, p.split) for p in problems}
        assert [by_id[row["id"]][1].strip() for row in rows] == [row["question"].strip() for row in rows]
        seen.append(by_id)
    assert all(one == seen[0] for one in seen)
    if name in OPTIONS:
        assert {(kind, answer) for kind, _, _, answer, _ in seen[0].values()} <= {("option", letter) for letter in "ABCDE"}
        assert all(seen[0][row["id"]][3] == row["answer"] for row in rows)


def numbered(**row):
    return [{"id": f"q{i}", "question": f"Which is {i}?", **row} for i in range(12)]


TOLD = [row | {"question": row["question"] + " (A) sun (B) moon"} for row in numbered(answer="B")]
APART = [{"ID": f"q{i}", "Body": f"Ann has {i}.", "Question": "How many?", "Answer": 3.0} for i in range(12)]
ENDINGS = [
    *numbered(ending0="sun", ending1="moon", label="1"),
    {**numbered()[0], "id": "z", "ending0": "a", "ending1": "b", "label": "0"},
]


@pytest.mark.parametrize(
    ("rows", "line", "answer"),
    [
        (numbered(choices=["sun", "moon"], answer="moon"), 'kind = "option"', "B"),
        (numbered(options={"A": "sun", "B": "moon"}, label="B"), 'choices = "options"', "B"),
        (numbered(choices={"label": ["1", "2"], "text": ["sun", "moon"]}, answerKey="2"), 'answer = "answerKey"', "B"),
        (numbered(option_a="sun", option_b="moon", answer="b"), 'choices = ["option_a", "option_b"]', "B"),
        (numbered(A="sun", B="moon", C="star", answer="C"), 'choices = ["A", "B", "C"]', "C"),
        (ENDINGS, 'choices = ["ending0", "ending1"]', "B"),
        (TOLD, 'choices_in = "question"', "B"),
        (APART, 'question = "{Body} {Question}"', "3"),
        (numbered(answer=["4", "5"]), 'kind = "number"', "4"),
        (numbered(answer="3,5 kg"), 'decimal = "comma"', "3.5"),
    ],
    ids=["texts", "map", "labels", "fields", "letters", "endings", "question", "svamp", "several", "decimal comma"],
)
def test_layouts_of_questions_and_choices_are_guessed_and_read(tmp_path, rows, line, answer):
    _, problems = begin(write(tmp_path / "q.jsonl", rows))
    assert line in (tmp_path / "s.toml").read_text()
    assert {p.answer for p in problems if p.id != "z"} == {answer}


LATEX = {"1,\\!500": "1500", "90^\\circ": "90", "\\frac{3}{4}": "0.75", "\\$18.90": "18.9", "1.5\\times10^3": "1500", "50\\%": "50"}


def test_answers_in_latex_are_numbers_where_all_read_as_numbers_and_else_texts(tmp_path):
    rows = [{"question": f"{i}?", "answer": latex} for i, latex in enumerate(LATEX)]
    found, problems = begin(write(tmp_path / "q.jsonl", rows))
    assert (found.layout.kind, found.fit) == ("number", 1.0)
    assert sorted(p.answer for p in problems) == sorted(LATEX.values())
    other = [{"question": "area?", "answer": "16\\pi"}]
    assert guess(write(tmp_path / "p.jsonl", rows + other)).layout.kind == "text"


def test_a_data_set_directory_keeps_its_splits_and_lacks_are_drawn_from_train(tmp_path):
    make_saved(tmp_path / "hf", {"train": numbered(answer="1"), "test": [{"id": "t", "question": "Which?", "answer": "2"}]})
    found, problems = begin(tmp_path / "hf")
    assert found.rows == {"train": 12, "test": 1}
    assert sorted(p.split for p in problems) == ["dev"] + ["test"] + ["train"] * 11
    assert [p.id for p in problems if p.split == "test"] == ["t"]


@pytest.mark.parametrize(("passages", "context"), [(["", "A text."], "A text."), ([["a"], ["b"]], "")])
def test_a_passage_may_be_missing_in_the_first_row_and_a_list_is_none(tmp_path, passages, context):
    rows = [row | {"passage": passage} for row, passage in zip(numbered(), passages * 10, strict=False)]
    _, problems = begin(write(tmp_path / "q.jsonl", rows))
    assert {p.context for p in problems} == {"", context}


def test_an_id_that_repeats_is_the_id_that_the_study_will_read(tmp_path):
    path = write(tmp_path / "q.jsonl", [row | {"id": "a", "number": "b"} for row in numbered()])
    assert guess(path).fields["id"] == "id"
    with pytest.raises(DataError, match="id given more than once, first 'a'"):
        begin(path)


def test_a_file_without_answers_is_guessed_as_one(tmp_path):
    found, problems = begin(write(tmp_path / "q.jsonl", numbered()))
    assert found.fit is None
    assert {p.answer for p in problems} == {None}
    assert "nothing can be scored" in (tmp_path / "s.toml").read_text()
