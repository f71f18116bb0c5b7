"""The demo as a user runs it, whole: the papers' claims come out by themselves. Minutes of CPU."""

import json

import pytest
from command import understudy


@pytest.mark.slow
def test_chains_beat_answer_only_and_many_chains_beat_one(tmp_path):
    ran = understudy("demo", cwd=tmp_path, timeout=1800)
    assert ran.code == 0, ran.out + ran.err
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tmp_path).out)
    test = {row["arm"]: row for row in rows if row["split"] == "test" and not row["decoding"].startswith("weighted")}
    assert all(row["n"] == 1000 for row in test.values())
    assert test["1 chain, correct"]["low"] > test["answer-only"]["high"]
    assert test["N chains, correct"]["low"] > test["1 chain, correct"]["high"]
