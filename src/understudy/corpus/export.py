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
from understudy.corpus.formats import FORMATS, UNDERSTUDY, names_of
from understudy.corpus.formats.flat import JSONL, chain_row
from understudy.corpus.formats.record import Record, Row
from understudy.corpus.import_ import Report, chain_of
from understudy.corpus.match import Questions
from understudy.corpus.secrets import text_without_secrets, without_secrets
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
    clean = [replace(c, sampling=without_secrets(c.sampling), teacher=text_without_secrets(c.teacher)) for c in chains]
    if format == UNDERSTUDY:
        write_rows(to, Chain, clean, card=asdict(card))
        return {"chains": len(clean), "lost": {}}
    lost: Counter[str] = Counter()
    rows: list[Row] = []
    if format == JSONL.name:
        rows = [chain_row(chain) for chain in clean]
    else:
        known = [chain for chain in clean if chain.problem in problems]
        lost["chains without their question (--problems)"] = len(clean) - len(known)
        chosen, questions = FORMATS[format], Questions(problems)
        for chain in known:
            problem = problems[chain.problem]
            row = chosen.write(problem, chain)
            (record,) = chosen.read(row, names_of(chosen, {}), "the row")
            assert isinstance(record, Record)
            alone = chain_of(record, problem, "text", Report())
            differing = [f.name for f in fields(Chain) if getattr(alone, f.name) != getattr(chain, f.name)]
            if bare:
                lost.update(differing)
                lost["problem"] += questions.find(record) is not problem
            rows.append(row if bare else {**row, "metadata": _metadata(chain, record, differing)})
    if not rows:
        raise DataError(f"{to}: none of the {len(clean):,} chains has its question among the {len(problems):,} questions")
    return _write(to, rows, card, "chains", lost)


def _metadata(chain: Chain, record: Record, differing: Sequence[str]) -> Row:
    """Return what an import needs besides the row, from which it reads ``record``: the fields that the row would not give back."""
    cells = asdict(chain)
    kept = {name: cells[name] for name in dict.fromkeys(["teacher", "path", *differing])}
    kept |= {name: json.dumps(kept[name], ensure_ascii=False) for name in ("steps", "sampling") if name in kept}
    return {"problem_id": chain.problem, "understudy": digest(record.text), **kept}


def export_examples(examples: Sequence[Example], *, format: str, to: Path, card: CorpusCard, bare: bool = False) -> dict[str, Any]:
    """Write training ``examples`` as pairs of prompt and completion, and count the fields that a pair cannot hold as lost.

    Raises DataError for a format without pairs.
    """
    pair = FORMATS[format].pair if format in FORMATS else None
    if format != JSONL.name and pair is None:
        able = ", ".join(name for name, f in FORMATS.items() if f.pair or name == JSONL.name)
        raise DataError(f"format = {format!r}: this format cannot hold training examples; use one of {able}")
    lost: Counter[str] = Counter()
    rows: list[Row] = []
    for example in examples:
        if pair is None:
            rows.append(asdict(example))
            continue
        row = pair(example.messages or example.source, "".join(segment.text for segment in example.target))
        lost["weights of parts of the target"] += any(segment.weight != 1 for segment in example.target)
        about = {name: getattr(example, name) for name in ("chain", "role", "group", "weight")}
        if bare:
            lost.update(["problem", "chain", "role"])
            lost["weight"] += example.weight != 1
        rows.append(row if bare else {**row, "metadata": {"problem_id": example.problem, **about}})
    return _write(to, rows, card, "examples", lost)


def _write(path: Path, rows: Sequence[Row], card: CorpusCard, what: str, lost: Counter[str]) -> dict[str, Any]:
    """Write ``rows`` to ``path``, one per line, and their ``card`` next to it. Return how many (``what``) and what is ``lost``."""
    with write_whole(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    write_corpus_card(path, card)
    return {what: len(rows), "lost": dict((+lost).most_common())}
