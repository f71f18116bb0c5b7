"""Real corpora through every format and back: the same problem, answer and text, and everything else of the chain."""

import itertools
import sys
from pathlib import Path

import pytest

from understudy.corpus.card import CorpusCard
from understudy.corpus.export import export_chains
from understudy.corpus.formats import NAMES
from understudy.corpus.import_ import import_chains

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from answers import sets


def first_lines(file, most, folder):
    with file.open(encoding="utf-8") as lines:
        (folder / file.name).write_text("".join(itertools.islice(lines, most)), encoding="utf-8")
    return folder / file.name


def through_every_format(data, folder, *, most=None):
    """Rows, chains and what was left out of each set, whose chains came back the same from every format; ``most`` rows of a
    file."""
    counts = {}
    for name, whole, problems in sets(data):
        files = whole if most is None else [first_lines(file, most, folder) for file in whole]
        found, report = import_chains(files, problems=problems, fields={}, prefer="text")
        chains = list(found)
        left_out = sum(report.lost.values())
        assert report.rows == len(chains) + left_out, "every row is a chain or counted"
        asked = {chain.problem: problems[chain.problem] for chain in chains}
        for form in NAMES:
            to = folder / ("c.parquet" if form == "understudy" else "c.jsonl")
            says = export_chains(chains, asked, format=form, to=to, card=CorpusCard())
            again, _ = import_chains([to], problems=asked, fields={}, prefer="text")
            assert says == {"chains": len(chains), "lost": {}}
            assert [(c.problem, c.answer, c.text) for c in again] == [(c.problem, c.answer, c.text) for c in chains], (name, form)
            assert list(again) == chains, (name, form)
        counts[name] = (report.rows, len(chains), dict(+report.lost))
    return counts


def test_a_part_of_every_real_corpus_comes_back_from_every_format(tmp_path, real_data):
    assert len(through_every_format(real_data, tmp_path, most=20)) >= 19


@pytest.mark.slow
def test_every_real_chain_comes_back_from_every_format(tmp_path, real_data):
    counts = through_every_format(real_data, tmp_path)
    for name, (rows_read, chains, lost) in counts.items():
        print(f"{name}: {rows_read:,} rows, {chains:,} chains, the same from {len(NAMES)} formats; left out: {lost or 'none'}")
    print(f"{sum(chains for _, chains, _ in counts.values()):,} chains of {len(counts)} sets")
