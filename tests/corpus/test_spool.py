"""Chains that wait on disk come back in order, as they were, as often as wanted, and take no memory."""

import dataclasses
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.asks import GREEDY_PATH
from understudy.core.values import Chain, Problem, Step
from understudy.corpus.import_ import import_chains
from understudy.corpus.spool import Spool

ODD = Chain(
    "p", 2**53, "half \ud800 of a pair\x00", "", None, "", "t", steps=(Step("a", "b?"), Step("c")), sampling={"n": [1, {"x": None}]}
)


NUMBERS = st.sampled_from([GREEDY_PATH, 0, 1, 2**32 - 2])


@given(st.lists(st.tuples(st.integers(0, 2**30), NUMBERS), max_size=20, unique=True))
def test_chains_come_back_by_place_and_number(keys):
    spool = Spool()
    for place, number in keys:
        spool.put(place, number, Chain(str(place), number, "t", "r", "5", "marker", "t"))
    assert len(spool) == len(keys)
    for _ in range(2):
        assert [(int(chain.problem), chain.path) for chain in spool] == sorted(keys)


def test_a_chain_comes_back_as_it_was():
    spool = Spool()
    spool.put(0, 0, ODD)
    assert list(spool) == [ODD]


def test_an_import_holds_few_of_its_chains(tmp_path):
    problems = {f"q{i}": Problem(f"q{i}", f"What is 2 + {i}?", "number", "5") for i in range(50)}

    def peak(each):
        rows = ({"problem_id": name, "text": f"{n} " * 400 + "So the answer is: 5"} for n in range(each) for name in problems)
        (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tracemalloc.start()
        chains, report = import_chains([tmp_path / "c.jsonl"], problems=problems, fields={}, prefer="text")
        assert sum(1 for _ in chains) == 50 * each
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.rows == 50 * each
        return most

    held = peak(20) - peak(10)  # those of one question are held, 10 more of about 2 kB
    assert held < 500 * 500


def test_a_full_disk_is_told_with_the_way_out():
    spool = Spool()
    spool._file.execute("PRAGMA max_page_count = 20")
    with pytest.raises(OSError, match=r"the chains \([1-9] so far\) are in a temporary file: .* full; set TMPDIR"):
        for number in range(1_000):
            spool.put(0, number, dataclasses.replace(ODD, text="x" * 10_000))
