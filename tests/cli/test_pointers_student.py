"""A study whose arms write numbers as pointers: its student adds numbers that no training example has."""

import json

import pytest
from command import understudy

STUDY = """
[study]
name = "coins"

[task]
name = "files"
kind = "number"
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"

[teacher]
engine = "recorded"
chains = ["chains.jsonl"]

[student]
hidden = 32
layers = 1
heads = 2

[training]
steps = 120
batch_size = 16
checks = 1
precision = "float32"

[[arms]]
name = "chains"
method = "scotd"
options = { max_tokens = 24, format = { numbers = "pointers" } }
select = { keep = "all" }
"""


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    """A directory with the finished run runs/coins: 40 chains, of which one has no equation and one a false one."""
    where = tmp_path_factory.mktemp("coins")
    sums = [(i, 3 + 7 * i % 50, 2 + 11 * i % 40) for i in range(60)]
    rows = [{"id": str(i), "question": f"Bo has {a} coins and finds {b}. How many now?", "answer": a + b} for i, a, b in sums]
    chains = [{"problem_id": str(i), "text": f"He has {a} + {b} = {a + b} coins. The answer is {a + b}."} for i, a, b in sums[:40]]
    chains[3]["text"] = "Many. The answer is 4."
    chains[5]["text"] = "He has 38 + 17 = 56 coins. The answer is 56."
    for name, part in (("train", rows[:40]), ("dev", rows[40:50]), ("test", rows[50:]), ("chains", chains)):
        (where / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (where / "coins.toml").write_text(STUDY)
    ran = understudy("run", "coins.toml", cwd=where)
    assert ran.code == 0, ran.out + ran.err
    return where


def test_chains_that_cannot_be_written_are_dropped_with_their_reason_and_the_report_names_the_evaluator(coins):
    page = understudy("report", "runs/coins", "--markdown", cwd=coins).out
    assert "| chains | 38 of 40 | no equation 1, an equation does not hold 1 | 38 of 40 | 38 |" in page
    assert "Numbers are pointers in chains" in page


def test_the_student_is_asked_as_its_card_says_and_adds_numbers_it_has_never_seen(coins):
    ran = understudy(
        "answer", "runs/coins/students/chains", "Bo has 8351 coins and finds 1,017. How many now?", "--json", cwd=coins
    )
    said = json.loads(ran.out)
    assert said["solutions"][0]["text"] == "8351 + 1017 = 9368. So the answer is: 9368"
    assert said["answer"] == "9368"


def test_pointers_in_a_study_without_numbers_are_refused_before_anything_is_done(coins):
    ran = understudy("run", "coins.toml", "--set", "task.kind=text", cwd=coins)
    assert ran.code == 2
    assert "numbers" in ran.err
    assert "task.kind" in ran.err
