"""One stored chain feeds every method, over real chains: whoever says what a chain taught gives the chain's answer."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from roundtrip import METHODS, everything, jobs, run


@pytest.fixture(scope="module")
def real_files(real_data):
    return list(jobs(real_data, "", 12, "raw"))


@pytest.mark.parametrize("style", ["raw", "messages"])
def test_a_part_of_every_real_file_feeds_every_method_and_comes_back(real_files, style):
    found = dict(run((*job, style)) for *job, _ in real_files)
    assert len(found) >= 50
    for file, tallies in found.items():
        assert {method: +tally.lost for method, tally in tallies.items()} == {method: {} for method in METHODS}, file
    for method in METHODS:
        assert sum(tallies[method].fed for tallies in found.values()) >= (60 if method.startswith("socratic") else 500)


@pytest.mark.slow
def test_every_real_chain_feeds_every_method_and_comes_back_but_one_whose_answer_has_73_digits(real_data):
    lost = {
        (file, kind): n
        for file, tallies in everything(real_data).items()
        for tally in tallies.values()
        for kind, n in tally.lost.items()
    }
    assert lost == {("gsm8k-fewshot/chains-cot-6models", "number, marker"): 1}
