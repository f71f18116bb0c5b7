"""Record what a training really saw, in tokens, and how it went, in files beside the student. `understudy show-training` and the
report read them. Imports no model library."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from understudy.core.errors import DataError
from understudy.corpus.store import ROWS, write_whole

if TYPE_CHECKING:
    from understudy.training.batches import EncodedExample

SHOWN = 5
"""How many examples are recorded token by token."""
BINS = 12
SEEN, CURVE, EXAMPLES = "seen.json", "curve.json", "examples.parquet"

T = TypeVar("T")


@dataclass(frozen=True)
class ShownExample:
    """One example as ``tokens``: (text, loss weight: the token's times its example's)."""

    problem: str
    chain: str | None
    group: str
    tokens: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TrainingRecord:
    """What a training saw: how many ``examples`` of how many ``problems``. ``too_long`` others did not fit into the ``context`` and
    were left out; ``duplicates`` are equal to an earlier one; ``ended`` have the ``end_token`` last.

    ``groups``: loss group -> its examples. ``lengths``: (from, to, how many), in tokens, including the ``longest`` and those left
    out. ``weights``: loss weight -> the tokens that have it. ``shown``: the first few examples. ``steps`` showed ``seen_tokens``;
    ``tokens`` of them bore loss.
    """

    examples: int
    problems: int
    too_long: int
    groups: Mapping[str, int]
    duplicates: int
    context: int
    longest: int
    lengths: tuple[tuple[int, int, int], ...]
    weights: Mapping[str, int]
    end_token: str
    ended: int
    shown: tuple[ShownExample, ...]
    steps: int = 0
    seen_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class LearningCurve:
    """How a student learned. ``losses``: (step, loss) of every step, steps from 1. ``dev``: (step, score) of every check; ``best``:
    the step whose checkpoint is kept."""

    losses: tuple[tuple[int, float], ...]
    dev: tuple[tuple[int, float], ...]
    best: int


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """What a manifest keeps of a training. ``steps``: all of them, as given or as ``training.tokens`` asks for; ``best``: the one
    whose checkpoint is kept. ``too_long`` examples were left out. ``trained``: how many of the ``parameters`` training changed.
    ``micro_batch``: examples that fit at once; more went through if they shared prompts. ``spelled``: different words of the
    examples that a tokenizer of words spells in letters, None for other tokenizers. ``seconds``: of all sessions together.
    ``notes``: what was done beyond the study's words."""

    examples: int
    steps: int
    best: int
    too_long: int
    parameters: int
    trained: int
    micro_batch: int
    vocabulary: int
    spelled: int | None
    seconds: float
    notes: tuple[str, ...]


def write_record(directory: Path, record: TrainingRecord, curve: LearningCurve) -> None:
    """Write both files; `read_seen` and `read_curve` read them."""
    (directory / SEEN).write_text(json.dumps(asdict(record), ensure_ascii=False), encoding="utf-8")
    (directory / CURVE).write_text(json.dumps(asdict(curve)), encoding="utf-8")


def read_seen(directory: Path) -> TrainingRecord:
    return _read(directory / SEEN, TrainingRecord)


def read_curve(directory: Path) -> LearningCurve:
    return _read(directory / CURVE, LearningCurve)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise DataError(f"{path}: is missing or damaged ({str(error).splitlines()[0]}); run the study again") from None


def write_examples(directory: Path, examples: Sequence[EncodedExample], tokenizer: Any) -> None:
    """Write every example that training draws from, so that each can be looked at; `read_examples` reads them."""
    text, texts, weights = pa.string(), pa.list_(pa.string()), pa.list_(pa.float32())
    schema = pa.schema({"problem": text, "chain": text, "group": text, "texts": texts, "weights": weights})
    show = lru_cache(None)(lambda token: tokenizer.decode([token], clean_up_tokenization_spaces=False))  # most occur often
    with write_whole(directory / EXAMPLES) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(examples), ROWS):
            part = examples[start : start + ROWS]
            rows = [(e.problem, e.chain, e.group, [*map(show, e.source + e.target)], _weigh_tokens(e)) for e in part]
            writer.write_table(pa.table(dict(zip(schema.names, zip(*rows, strict=True), strict=True)), schema))


def _weigh_tokens(example: EncodedExample) -> list[float]:
    """Return the loss weight of every token: the token's times its example's."""
    return [0.0] * len(example.source) + [weight * example.weight for weight in example.weights]


def read_examples(directory: Path, problem: str) -> list[ShownExample]:
    """Read what the student in the stage ``directory`` learned from ``problem``."""
    table = pq.read_table(directory / EXAMPLES, filters=[("problem", "=", problem)])
    if "texts" not in table.column_names:
        raise DataError(f"{directory / EXAMPLES}: an earlier version wrote it; run the study again")
    return [ShownExample(tokens=tuple(zip(row.pop("texts"), row.pop("weights"), strict=True)), **row) for row in table.to_pylist()]


def describe_training(
    fitting: Sequence[EncodedExample], encoded: Sequence[EncodedExample], tokenizer: Any, *, context: int, end: int
) -> TrainingRecord:
    """Describe what training will see. ``encoded``: all examples; ``fitting``: those that fit into ``context``; ``end``: the end
    token."""
    lengths = [len(e) for e in encoded]
    return TrainingRecord(
        examples=len(fitting),
        problems=len({e.problem for e in fitting}),
        too_long=len(encoded) - len(fitting),
        groups=dict(Counter(e.group for e in fitting)),
        duplicates=len(fitting) - len({(e.source, e.target, e.weights, e.weight, e.group) for e in fitting}),
        context=context,
        longest=max(lengths),
        lengths=_count_lengths(lengths),
        weights={f"{w:g}": n for w, n in sorted(Counter(w * e.weight for e in fitting for w in e.weights).items())},
        end_token=tokenizer.decode([end]),
        ended=sum(e.target[-1] == end for e in fitting),
        shown=tuple(_show(e, tokenizer) for e in fitting[:SHOWN]),
    )


def _count_lengths(lengths: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    """Count ``lengths`` as (from, to, how many), in at most `BINS` equal steps."""
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // BINS))
    counts = Counter((n - low) // width for n in lengths)
    return tuple((low + i * width, low + (i + 1) * width - 1, counts[i]) for i in range(max(counts) + 1))


def _show(example: EncodedExample, tokenizer: Any) -> ShownExample:
    texts = (tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in example.source + example.target)
    return ShownExample(example.problem, example.chain, example.group, tuple(zip(texts, _weigh_tokens(example), strict=True)))
