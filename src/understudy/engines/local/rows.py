"""Ragged decoding rows over preallocated key-value buffers, as a `transformers` cache.

Rows are right-aligned: all rows write their next token into the same column ``hi``. A row that began later, or with a shorter
prompt, has its first token further to the right. Columns outside a row are masked. Columns that no row needs lie to the left of
``lo``, outside every view::

                 lo                    hi          capacity
    row 0        q q q q q q c c c c c .           .
    row 1            . q q q q c c c c .           .
    row 2                      q q q q .           .   <- joined when another row ended

The model writes in place, so a step copies one column and not the whole cache. (`DynamicCache` concatenates: at 256 rows of 120
columns that costs as much as the attention itself.) When a row ends, the last row takes its place; new rows are copied to the end.
Legend: R rows, H heads, C columns, D head size, S source columns, T new tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import proxy

import torch
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

from understudy.engines.local.memory import trim_memory

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(eq=False)
class Block:
    """Prompts that the model read together, each once. The rows of their paths start from it.

    ``layers``: keys and values per layer, [prompts, H, C, D], right-aligned. ``lengths``: columns of each prompt (1, the
    start token, for a decoder with an encoder). ``logits``: [prompts, V] after the last token. ``cross``: keys and values
    of the sources, left-aligned, and ``sources`` their lengths; empty without an encoder.
    """

    lengths: list[int]
    logits: torch.Tensor
    layers: list[Pair]
    sources: list[int]
    cross: list[Pair]

    @property
    def bytes(self) -> int:
        return self.logits.nbytes + sum(t.nbytes for pair in [*self.layers, *self.cross] for t in pair)


class Start(NamedTuple):
    """The beginning that a prompt shares with one that was read: the first ``columns`` of the one at ``place`` in ``block``."""

    block: Block
    place: int
    columns: int


class _Layer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values. The `Rows` in ``window`` know where to write."""

    def __init__(self, window: "Rows") -> None:
        super().__init__()
        self.window: Rows = proxy(window)  # else the buffers would stay until the collector looks for cycles
        self.pair: tuple[torch.Tensor, ...] = ()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Pair:
        keys, values = self.pair
        n, lo, hi, end = self.window.n, self.window.lo, self.window.hi, self.window.hi + key_states.shape[2]
        keys[:n, :, hi:end] = key_states
        values[:n, :, hi:end] = value_states
        return keys[:n, :, lo:end], values[:n, :, lo:end]

    def get_seq_length(self) -> int:
        return self.window.hi - self.window.lo


class Rows:
    """The rows that are being decoded, about ``size`` at most. The model takes ``cache`` as its keys and values."""

    def __init__(self, *, size: int, seq2seq: bool, dtype: torch.dtype, device: torch.device) -> None:
        self.size, self.dtype, self.device = size, dtype, device
        self.n = self.lo = self.hi = self.capacity = 0
        self.starts = torch.zeros(0, dtype=torch.long)  # the first column of each row
        self.next = torch.zeros(0, dtype=torch.long)  # the position of the token that each row takes next
        self.sources = torch.zeros(0, dtype=torch.long)  # the source columns of each row, with an encoder
        self.layers: list[_Layer] = []  # as many as the first block has
        self.cross: list[_Layer] = []
        self.cache: Any = Cache(layers=self.layers)
        if seq2seq:
            self.cache = EncoderDecoderCache(self.cache, Cache(layers=self.cross))

    def add(self, block: Block, indices: Sequence[int]) -> None:
        """Append one row for each index into ``block``. An index may occur many times."""
        lengths = torch.tensor([block.lengths[i] for i in indices])
        width, n = int(lengths.max()), self.n + len(indices)
        pick = torch.tensor(indices, device=self.device)
        if not self.layers:
            self.layers += [_Layer(self) for _ in block.layers]
            self.cross += [_Layer(self) for _ in block.cross]
            if block.cross:
                self.cache.is_updated = dict.fromkeys(range(len(block.cross)), True)
        self._make_room(left=width, right=1, rows=n, template=block.layers)
        for layer, pair in zip(self.layers, block.layers, strict=True):
            for buffer, states in zip(layer.pair, pair, strict=True):
                buffer[self.n : n, :, self.hi - width : self.hi] = states[:, :, -width:].index_select(0, pick)
        self.starts = torch.cat([self.starts, self.hi - lengths])
        self.next = torch.cat([self.next, lengths])
        if block.cross:
            self.sources = torch.cat([self.sources, torch.tensor([block.sources[i] for i in indices])])
            for layer, pair in zip(self.cross, block.cross, strict=True):
                layer.keys, layer.values = (
                    _stack(old, states.index_select(0, pick), width=int(self.sources.max()))
                    for old, states in zip((layer.keys, layer.values), pair, strict=True)
                )
        self.n, self.lo = n, int(self.starts.min())

    def keep(self, order: Sequence[int]) -> None:
        """Keep the rows ``order``, in that order. A row that keeps its place is not copied."""
        index = torch.tensor(order, dtype=torch.long)
        self.n, self.starts, self.next = len(order), self.starts[index], self.next[index]
        moved = (index != torch.arange(self.n)).nonzero()[:, 0]
        targets, rows = moved.to(self.device), index[moved].to(self.device)
        for buffer in (b for layer in self.layers for b in layer.pair):
            buffer[targets, :, self.lo : self.hi] = buffer[rows, :, self.lo : self.hi]
        if self.cross:
            self.sources = self.sources[index]
            width = int(self.sources.max()) if self.n else 0
            for layer in self.cross:
                for buffer in (layer.keys, layer.values):
                    buffer[targets] = buffer[rows]
                layer.keys, layer.values = layer.keys[: self.n, :, :width], layer.values[: self.n, :, :width]
        if self.n:
            self.lo = int(self.starts.min())

    def reserve(self, columns: int) -> torch.Tensor:
        """Make room for ``columns`` new tokens of every row. Returns their additive mask [R, 1, T, C] of padding and causality."""
        self._make_room(left=0, right=columns, rows=self.n, template=())
        column = torch.arange(self.lo, self.hi + columns)
        later = column > torch.arange(self.hi, self.hi + columns)[:, None]
        return build_mask(((column < self.starts[:, None])[:, None, None, :] | later).to(self.device), self.dtype)

    def advance(self, columns: int) -> None:
        """Count the columns that the model has just written."""
        self.hi += columns
        self.next += columns

    def source_mask(self) -> torch.Tensor:
        """Return the additive mask of the sources, [R, 1, 1, S]."""
        hidden = torch.arange(int(self.sources.max())) >= self.sources[:, None]
        return build_mask(hidden[:, None, None, :].to(self.device), self.dtype)

    def _make_room(self, *, left: int, right: int, rows: int, template: Sequence[Pair]) -> None:
        """Make room for ``left`` columns before ``hi``, ``right`` columns after it, and ``rows`` rows. All rows shift if they
        must. New buffers have places for at most twice the live rows, because the last rows are long and few."""
        live = self.hi - self.lo if self.n else 0
        if not self.n:
            self.lo = self.hi = left
        present = len(self.layers[0].pair[0]) if self.layers[0].pair else 0
        if left <= self.hi and self.hi + right <= self.capacity and rows <= present:
            return
        hi = max(live, left)
        # At least a quarter of the columns are spare, so that shifting is rare.
        capacity = self.capacity if self.capacity >= 1.25 * (hi + right) else int(1.5 * (hi + right)) + 8
        rows = max(rows, min(self.size, 2 * self.n))
        for index, layer in enumerate(self.layers):
            old = layer.pair or template[index]
            # Beware: a masked column weighs exactly 0, but 0 times uninitialised memory may be NaN, so the buffer starts as zeros.
            new = tuple(t.new_zeros(rows, t.shape[1], capacity, t.shape[3]) for t in old)
            for target, source in zip(new, old, strict=True):
                target[: self.n, :, hi - live : hi] = source[: self.n, :, self.lo : self.hi]
            layer.pair = new
        trim_memory(2**30)  # the new buffers do not fit into the pieces that the old ones leave
        self.starts += hi - self.hi
        self.lo, self.hi, self.capacity = hi - live, hi, capacity


def build_mask(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Make a mask to add to attention scores: 0 where a token is seen, the lowest number where it is hidden. (Boolean masks are
    silently wrong with eager attention, and -inf gives NaN in rows that see nothing.)"""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, torch.finfo(dtype).min)


def _stack(old: torch.Tensor | None, new: torch.Tensor, *, width: int) -> torch.Tensor:
    """Stack the rows ``old`` and then ``new``, [R, H, S, D], all ``width`` columns wide."""
    tensors = [new] if old is None else [old, new]
    return torch.cat([torch.nn.functional.pad(p, (0, 0, 0, max(0, width - p.shape[2])))[:, :, :width] for p in tensors])
