"""Export chains and training examples for other tools. What a format cannot hold goes into metadata or is counted as lost."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.values import Chain, Example, Problem, digest
from understudy.corpus.card import CorpusCard, write_corpus_card
from understudy.corpus.formats import FORMATS, UNDERSTUDY, map_names
from understudy.corpus.formats.flat import JSONL, make_row
from understudy.corpus.formats.record import Record, Row
from understudy.corpus.import_ import Report, make_chain
from understudy.corpus.match import Questions
from understudy.corpus.secrets import clean_text, remove_secrets
from understudy.corpus.store import write_rows, write_whole

EXACT = (UNDERSTUDY, JSONL.name)
"""The formats that hold every field of a chain and need no question."""


def export_chains(
    chains: Sequence[Chain], problems: Mapping[str, Problem], *, format: str, to: Path, card: CorpusCard, bare: bool = False
) -> dict[str, Any]:
    """Write ``chains`` to ``to`` in ``format`` with their ``card``, and return the counts of chains and of losses.

    Fields that the row alone would not give back (teacher, path, tokens, an answer that the text does not state, ...) go into the
    row's ``metadata``. ``bare`` rows have no metadata, and their losses are counted by field. Formats with a question drop and
    count the chains of problems that are not in ``problems``.
    """
    clean = [replace(c, sampling=remove_secrets(c.sampling), teacher=clean_text(c.teacher)) for c in chains]
    if format == UNDERSTUDY:
        write_rows(to, Chain, clean, card=asdict(card))
        return {"chains": len(clean), "lost": {}}
    lost: Counter[str] = Counter()
    rows: list[Row] = []
    if format == JSONL.name:
        rows = [make_row(chain) for chain in clean]
    else:
        answerable = [chain for chain in clean if chain.problem in problems]
        lost["chains without their question (--problems)"] = len(clean) - len(answerable)
        layout, questions = FORMATS[format], Questions(problems)
        for chain in answerable:
            problem = problems[chain.problem]
            row = layout.write(problem, chain)
            (record,) = layout.read(row, map_names(layout, {}), "the row")
            assert isinstance(record, Record)
            reread = make_chain(record, problem, "text", Report())
            unreadable = [f.name for f in fields(Chain) if getattr(reread, f.name) != getattr(chain, f.name)]
            if bare:
                lost.update(unreadable)
                lost["problem"] += questions.find(record) is not problem
            rows.append(row if bare else {**row, "metadata": _make_metadata(chain, record, unreadable)})
    if not rows:
        raise DataError(f"{to}: none of the {len(clean):,} chains has its question among the {len(problems):,} questions")
    return _write(to, rows, card, "chains", lost)


def _make_metadata(chain: Chain, record: Record, unreadable: Sequence[str]) -> Row:
    """Return what an import needs besides the row, from which it reads ``record``: the fields that the row would not give back."""
    cells = asdict(chain)
    values = {name: cells[name] for name in dict.fromkeys(["teacher", "path", *unreadable])}
    values |= {name: json.dumps(values[name], ensure_ascii=False) for name in ("steps", "sampling") if name in values}
    return {"problem_id": chain.problem, "understudy": digest(record.text), **values}


def export_examples(examples: Sequence[Example], *, format: str, to: Path, card: CorpusCard, bare: bool = False) -> dict[str, Any]:
    """Write training ``examples`` as pairs of prompt and completion, and count the fields that a pair cannot hold as lost.

    Raises DataError for a format without pairs.
    """
    pair = FORMATS[format].pair if format in FORMATS else None
    if format != JSONL.name and pair is None:
        suitable = ", ".join(name for name, f in FORMATS.items() if f.pair or name == JSONL.name)
        raise DataError(f"format = {format!r}: this format cannot hold training examples; use one of {suitable}")
    lost: Counter[str] = Counter()
    rows: list[Row] = []
    for example in examples:
        if pair is None:
            rows.append(asdict(example))
            continue
        row = pair(example.messages or example.source, "".join(segment.text for segment in example.target))
        lost["weights of parts of the target"] += any(segment.weight != 1 for segment in example.target)
        origin = {name: getattr(example, name) for name in ("chain", "role", "group", "weight")}
        if bare:
            lost.update(["problem", "chain", "role"])
            lost["weight"] += example.weight != 1
        rows.append(row if bare else {**row, "metadata": {"problem_id": example.problem, **origin}})
    return _write(to, rows, card, "examples", lost)


def _write(path: Path, rows: Sequence[Row], card: CorpusCard, unit: str, lost: Counter[str]) -> dict[str, Any]:
    """Write ``rows`` to ``path``, one per line, and their ``card`` next to it. Return how many (``unit``) and what is ``lost``."""
    with write_whole(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    write_corpus_card(path, card)
    return {unit: len(rows), "lost": dict((+lost).most_common())}
