"""Data set directories: what the `datasets` library saves, and snapshots of hub repositories, read without it."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from saved import make_saved, save

from understudy.core.errors import DataError
from understudy.corpus.directories import find_splits, match_splits
from understudy.corpus.tables import read_objects

ROWS = [{"question": f"What is {i}?", "answer": str(i)} for i in range(5)]
LABEL = {"names": ["sun", "moon"], "_type": "ClassLabel"}


def rows_of(path):
    return [row for _, row in read_objects(path)]


def test_a_saved_data_set_is_read_from_all_its_files_and_rows_are_counted_through(tmp_path):
    found = list(read_objects(save(tmp_path / "one", ROWS, shards=2)))
    assert [row for _, row in found] == ROWS
    assert [where for where, _ in found] == [f"{tmp_path / 'one'}, row {i}" for i in range(1, 6)]


def test_a_saved_dictionary_has_splits_of_which_one_is_named(tmp_path):
    there = make_saved(tmp_path / "d", {"train": ROWS[:3], "validation": ROWS[3:]})
    assert list(find_splits(there)) == ["train", "validation"]
    assert rows_of(there / "validation") == ROWS[3:]
    with pytest.raises(DataError, match=r"several splits \(train, validation\); name one, as in .*train"):
        rows_of(there)
    with pytest.raises(DataError, match="no split 'validate'; did you mean 'validation'"):
        rows_of(there / "validate")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
            "test train",
        ),
        (["data/train-00000-of-00001-a09b74b3ef9c3b56.parquet", "README.md", "dataset_infos.json"], "train"),
        (["train.jsonl", "test.jsonl", "train_socratic.jsonl", ".hidden.jsonl"], "test train train_socratic"),
        (["train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"], "train validation"),
        (["tiny-train.arrow", "tiny-test.arrow", "dataset_info.json"], "tiny-test tiny-train"),
        (["train/data/a.jsonl", "test/data/a.jsonl"], "test train"),
    ],
)
def test_a_snapshot_names_its_splits_by_its_files(tmp_path, names, splits):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    found = find_splits(tmp_path)
    assert sorted(found) == splits.split()
    assert all(found.values()), "no split without its files"


def test_a_split_of_a_snapshot_is_all_its_files(tmp_path):
    for i in range(2):
        pq.write_table(pa.Table.from_pylist(ROWS[i::2]), tmp_path / f"train-0000{i}-of-00002.parquet")
    (tmp_path / "test.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert rows_of(tmp_path / "train") == ROWS[::2] + ROWS[1::2]
    assert rows_of(tmp_path / "test") == ROWS[:1]


def test_our_splits_are_known_by_name_and_else_by_a_word_of_the_name():
    assert match_splits(["train", "validation", "test"]) == {"train": "train", "dev": "validation", "test": "test"}
    assert match_splits(["train", "val", "chains-test", "train_socratic"]) == {"train": "train", "dev": "val"}
    assert match_splits(["gsm8k-train", "gsm8k-test"]) == {"train": "gsm8k-train", "test": "gsm8k-test"}
    assert match_splits(["all", "more"]) == {}
    with pytest.raises(DataError, match="dev and validation could both be the split dev"):
        match_splits(["train", "dev", "validation"])


FEATURES = {
    "topic": LABEL,
    "topics": {"feature": LABEL, "_type": "List"},
    "old": [LABEL],
    "deep": {"topic": LABEL},
    "sequence": {"feature": {"topic": LABEL}, "_type": "Sequence"},
}
LABELLED = {"topic": 1, "topics": [0, 1], "old": [1], "deep": {"topic": 0}, "sequence": {"topic": [1, 0]}}
NAMED = {
    "topic": "moon",
    "topics": ["sun", "moon"],
    "old": ["moon"],
    "deep": {"topic": "sun"},
    "sequence": {"topic": ["moon", "sun"]},
}


def test_class_labels_are_their_names_wherever_they_stand(tmp_path):
    assert rows_of(save(tmp_path / "s", [LABELLED, LABELLED | {"topic": -1}], FEATURES)) == [NAMED, NAMED | {"topic": None}]
    said = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    pq.write_table(pa.Table.from_pylist([LABELLED]).replace_schema_metadata(said), tmp_path / "s.parquet")
    assert rows_of(tmp_path / "s.parquet") == [NAMED]


def test_values_become_what_json_has(tmp_path):
    day = datetime.date(2020, 1, 5)
    row = {"day": day, "when": datetime.datetime(2020, 1, 5, 3), "price": Decimal("1.50"), "picture": b"x", "none": float("nan")}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    assert rows_of(tmp_path / "x.parquet") == [
        {"day": "2020-01-05", "when": "2020-01-05T03:00:00", "price": "1.50", "picture": None, "none": None}
    ]
    (tmp_path / "x.jsonl").write_text('{"a": NaN}\n')
    with pytest.raises(DataError, match=r"x.jsonl, line 1: not JSON \(NaN .*null"):
        rows_of(tmp_path / "x.jsonl")


def test_arrow_files_are_read_in_both_formats(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(tmp_path / "f.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(tmp_path / "s.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    assert rows_of(tmp_path / "f.arrow") == rows_of(tmp_path / "s.arrow") == ROWS


@pytest.mark.parametrize("kind", ["new_file", "new_stream"])
def test_a_torn_arrow_file_is_an_error_wherever_it_is_torn(tmp_path, kind):
    table = pa.Table.from_pylist(ROWS)
    with getattr(pa.ipc, kind)(tmp_path / "x.arrow", table.schema) as sink:
        sink.write_table(table, max_chunksize=2)
    whole = (tmp_path / "x.arrow").read_bytes()
    for n in range(0, len(whole), 7):
        (tmp_path / "x.arrow").write_bytes(whole[:n])
        with pytest.raises(DataError, match=r"x\.arrow: .*(no end|not an Arrow file)"):
            rows_of(tmp_path / "x.arrow")


def spoil(directory: Path, name: str, text: str | None) -> Path:
    save(directory, ROWS, shards=2)
    (directory / name).unlink() if text is None else (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("data-00001-of-00002.arrow", None, r"data-00001-of-00002\.arrow: missing, .*state\.json"),
        ("state.json", "{", r"state\.json: not JSON"),
        ("state.json", "[]", "JSON object"),
        ("state.json", "{}", "data files"),
        ("state.json", '{"_indices_data_files": [{"filename": "i.arrow"}]}', "indices"),
        ("dataset_info.json", '{"features"', r"dataset_info\.json: .*features"),
    ],
)
def test_a_damaged_saved_data_set_says_what_is_wrong(tmp_path, name, text, says):
    with pytest.raises(DataError, match=says):
        rows_of(spoil(tmp_path / "d", name, text))


def test_a_directory_that_holds_no_data_says_so_and_where_there_are_some(tmp_path):
    with pytest.raises(DataError, match="no data"):
        rows_of(tmp_path)
    for name in ("main", "socratic"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"main, .*socratic"):
        rows_of(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset_dict\.json: splits"):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train-00001-of-00002.parquet"], "only 1 of 2 files of 'train' exist"),
        (["train.csv", "train.jsonl"], r"train\.csv and train\.jsonl would both be 'train'"),
    ],
)
def test_a_snapshot_that_is_not_whole_says_so(tmp_path, names, says):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=says):
        rows_of(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_the_datasets_library_writes_the_layout_that_these_tests_write(tmp_path):
    datasets = pytest.importorskip("datasets", reason="only the library itself can say what it writes")
    datasets.disable_progress_bars()
    value = datasets.Value("string")
    label = datasets.ClassLabel(names=["sun", "moon"])
    features = datasets.Features({"question": value, "topic": label, "choices": datasets.Sequence({"text": value, "topic": label})})
    rows = [{"question": f"{i}?", "topic": i % 2, "choices": {"text": ["a", "b"], "topic": [0, 1]}} for i in range(7)]
    theirs = datasets.Dataset.from_list(rows, features=features)
    theirs.save_to_disk(tmp_path / "theirs", num_shards=2)
    described = json.loads((tmp_path / "theirs" / "dataset_info.json").read_text())["features"]
    ours = save(tmp_path / "ours", rows, described, shards=2)
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in (tmp_path / "theirs").iterdir())
    assert rows_of(ours) == rows_of(tmp_path / "theirs")
    assert rows_of(ours)[1] == {"question": "1?", "topic": "moon", "choices": {"text": ["a", "b"], "topic": ["sun", "moon"]}}
    datasets.DatasetDict(train=theirs, test=theirs.select([2])).save_to_disk(tmp_path / "both")
    assert {name: len(rows_of(tmp_path / "both" / name)) for name in find_splits(tmp_path / "both")} == {"train": 7, "test": 1}
    theirs.to_parquet(tmp_path / "train.parquet")
    assert rows_of(tmp_path / "train.parquet") == rows_of(ours)
