"""From a file of questions to a study that loads and runs, for every format."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import understudy
from loopback import Server
from saved import make_saved, save

ROWS = [{"Body": f"What is {i} plus 1?", "gold": f"{i + 1}", "Explanation": f"{i} + 1 = {i + 1}."} for i in range(40)]


def write(path):
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        case ".json":
            path.write_text(json.dumps({"version": 1, "data": ROWS}))
        case ".csv" | ".tsv":
            with path.open("w", newline="") as file:
                table = csv.DictWriter(file, ROWS[0], delimiter="\t" if path.suffix == ".tsv" else ",")
                table.writeheader()
                table.writerows(ROWS)
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_init_guesses_fields_and_kind_and_writes_a_study_that_samples(tmp_path, suffix):
    write(tmp_path / f"mine{suffix}")
    ran = understudy("init", f"mine{suffix}", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "40 rows; answers of kind number (100% fit)" in ran.out
    text = (tmp_path / "mine.toml").read_text()
    for line in ('question = "Body"', 'answer = "gold"', 'rationale = "Explanation"', "sizes = { train = 32, dev = 4, test = 4 }"):
        assert line in text, line
    if suffix in (".jsonl", ".csv"):
        said = {"choices": [{"message": {"content": "One is 1. The answer is 1."}, "finish_reason": "stop"}]}
        with Server(lambda *_: said) as server:
            command = ("sample", "mine.toml", "--set", f"teacher.url={server.url}", "--set", "teacher.samples=1")
            sampled = understudy(*command, cwd=tmp_path)
        assert "29 chains for 29 problems" in sampled.out, sampled.out + sampled.err
        turns = [m["role"] for m in server.got[0][1]["messages"]]
        assert turns == ["system", *["user", "assistant"] * 3, "user"], "exemplars come from the file's rationales"
    again = understudy("init", f"mine{suffix}", cwd=tmp_path)
    assert (again.code, "already exists" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"question": "Which?", "choices": ["x", "y"], "answer": "B"}] * 10, "option"),
        ([{"question": "Is it?", "choices": None, "answer": True}] * 10, "yes_no"),
        ([{"question": "When?", "answer": "2020-01-05"}] * 10, "date"),
        ([{"question": "Who?", "answer": "Ada Lovelace"}] * 10, "text"),
    ],
)
def test_the_kind_of_answers_is_guessed_from_them(tmp_path, rows, kind):
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = understudy("init", "q.jsonl", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert f'kind = "{kind}"' in (tmp_path / "q.toml").read_text()


def test_init_of_a_data_set_directory_says_its_splits_and_draws_what_they_lack(tmp_path):
    make_saved(tmp_path / "hub", {"train": ROWS[:30], "validation": ROWS[30:]})
    ran = understudy("init", "hub", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "40 rows (train 30, dev 10); answers of kind number (100% fit)" in ran.out
    text = (tmp_path / "hub.toml").read_text()
    for line in ('path = "hub"', "# its own splits: train 30, dev 10", "sizes = { test = 3 }  # taken from train"):
        assert line in text, line
    ran = understudy("init", "hub/train", "--to", "one.toml", cwd=tmp_path)
    assert "sizes = { train = 24, dev = 3, test = 3 }" in (tmp_path / "one.toml").read_text()


def test_init_says_what_can_not_be_scored_or_read_yet(tmp_path):
    rows = [{"question": f"Which is {i}?", "choices": ["x", "y", "z"], "answer": 1} for i in range(10)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = understudy("init", "q.jsonl", cwd=tmp_path)
    assert (ran.code, "set task.answer_base to 0 or 1" in " ".join(ran.out.split())) == (0, True), ran.out
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps({"question": row["question"]}) + "\n" for row in rows))
    ran = understudy("init", "bare.jsonl", cwd=tmp_path)
    assert (ran.code, "no answers: nothing can be scored" in ran.out) == (0, True), ran.out


@pytest.mark.parametrize(("spoilt", "says"), [("empty", "no data"), ("torn", "has no end"), ("test", "has no train split")])
def test_a_directory_that_cannot_be_read_says_why(tmp_path, spoilt, says):
    (tmp_path / "empty").mkdir()
    torn = save(tmp_path / "torn", ROWS) / "data-00000-of-00001.arrow"
    torn.write_bytes(torn.read_bytes()[:-8])
    make_saved(tmp_path / "test", {"test": ROWS, "more": ROWS})
    ran = understudy("init", spoilt, cwd=tmp_path)
    assert (ran.code, says in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "cannot be read"),
        ("empty.csv", "", "no row"),
        ("odd.jsonl", '{"a": 1}\n', "no field looks like a question"),
        ("few.jsonl", '{"question": "x", "answer": "1"}\n', "has 1 row;"),
        ("broken.json", "[{]", "not JSON"),
        ("two.json", '{"a": [{"x": 1}], "b": [{"x": 1}]}', "an object with 2 lists (a, b)"),
        ("wide.csv", "question,answer\na,b,c\n", "line 2: more fields"),
        ("quote.csv", 'question,answer\n"a,b\n', "not a table"),
        ("bytes.parquet", "PAR", "not a Parquet file"),
    ],
)
def test_a_file_that_is_no_table_of_questions_says_why(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    ran = understudy("init", name, cwd=tmp_path)
    assert (ran.code, says in ran.err, "Traceback" in ran.err) == (2, True, False), ran.err
    assert not list(tmp_path.glob("*.toml"))
