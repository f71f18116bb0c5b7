"""What a training really saw, in tokens: the record that `understudy show-training` and the report show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from understudy.training.batches import Tokens

SHOWN = 5
"""Examples that are written down token by token."""
BINS = 12


def describe(kept: Sequence[Tokens], encoded: Sequence[Tokens], tokenizer: Any, *, context: int, end: int) -> dict[str, Any]:
    """JSON-able: counts of the ``encoded`` examples and of the ``kept`` ones (the others do not fit into ``context``), how long
    they are, how many each loss group has and how many are equal to an earlier one, the weights (a token's times its example's),
    the ``end`` token, and the first few as tokens."""
    lengths = [len(e) for e in encoded]
    return {
        "examples": len(kept),
        "problems": len({e.problem for e in kept}),
        "too_long": len(encoded) - len(kept),
        "groups": dict(Counter(e.group for e in kept)),
        "duplicates": len(kept) - len({(e.source, e.target, e.weights, e.weight, e.group) for e in kept}),
        "context": context,
        "longest": max(lengths),
        "lengths": _histogram(lengths),
        "weights": {f"{w:g}": n for w, n in sorted(Counter(w * e.weight for e in kept for w in e.weights).items())},
        "end_token": tokenizer.decode([end]),
        "ended": sum(e.target[-1] == end for e in kept),
        "shown": [_show(e, tokenizer) for e in kept[:SHOWN]],
    }


def _histogram(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(from, to, how many) in at most `BINS` equal steps."""
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // BINS))
    counts = Counter((n - low) // width for n in lengths)
    return [(low + i * width, low + (i + 1) * width - 1, counts[i]) for i in range(max(counts) + 1)]


def _show(example: Tokens, tokenizer: Any) -> dict[str, Any]:
    ids, weights = example.source + example.target, [0.0] * len(example.source) + [w * example.weight for w in example.weights]
    texts = (tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids)
    tokens = list(zip(texts, weights, strict=True))
    return {"problem": example.problem, "chain": example.chain, "group": example.group, "tokens": tokens}
