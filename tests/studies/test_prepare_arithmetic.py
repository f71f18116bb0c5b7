"""The split of the studies of word problems: each question once, near-duplicates on one side."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "studies"))

from prepare_arithmetic import groups, keys, main, read


def test_questions_that_share_a_long_sentence_but_for_numbers_and_names_are_one_group():
    asked = [
        "Every day of the week Ann bakes 3 loaves of bread. How many in 5 days?",
        "Every day of the week Bob bakes 17 loaves of bread. Is that enough for 60 people, and how many are left?",
        "Bo has 2 cats. How many cats has he?",
        "Bo has 7 cats. How many cats has he?",
        "Bo has 2 dogs. How many dogs has he?",
    ]
    made = groups([{"question": question} for question in asked])
    assert [[asked.index(row["question"]) for row in group] for group in made] == [[0, 1], [2, 3], [4]]


@pytest.fixture(scope="module")
def splits(real_data, tmp_path_factory):
    to = tmp_path_factory.mktemp("arithmetic")
    main([str(real_data), str(to)])
    return {path.stem: list(read(path)) for path in to.glob("*.jsonl")}


def test_no_question_of_the_real_sets_has_a_near_duplicate_on_another_side(splits):
    seen = {name: {key for row in rows for key in keys(row["question"])} for name, rows in splits.items()}
    assert not seen["train"] & (seen["dev"] | seen["test"])
    assert not seen["dev"] & seen["test"]


def test_the_split_of_the_real_sets_is_the_one_that_was_published(splits):
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 2175, "dev": 310, "test": 621}
    assert sum(row["set"] == "asdiv" for row in splits["test"]) == 429
