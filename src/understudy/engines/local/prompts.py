"""Prompts that the model has read: it reads each once for all its paths, and the beginning that prompts share only once.

The next prompt of a dialogue begins with its last one, and few-shot prompts begin with the same exemplars.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from operator import eq

from understudy.core.values import grouped
from understudy.engines.local.forward import Network
from understudy.engines.local.rows import Block, Start

Tokens = tuple[int, ...]

KEPT_BYTES = 2**26
SHARED_BYTES = 2**30
"""Kept once a prompt has begun as an earlier one did."""
SHORTEST = 16
"""A beginning of fewer tokens is read again."""
WIDER = 4
"""The keys and values of prompts that are read together may have so many times the columns that are read at once."""


class Prompts:
    """Keeps the prompts of the most recent blocks, up to `KEPT_BYTES` or `SHARED_BYTES`, and always those of the last one."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._most = KEPT_BYTES
        self._where: dict[Tokens, tuple[Block, int]] = {}

    def find(self, prompts: Sequence[Tokens]) -> list[tuple[Block, list[tuple[int, int]]]]:
        """Return the blocks that together hold ``prompts``, each with a (place in ``prompts``, place in the block) for every prompt
        in it."""
        known = {prompt: self._where[prompt] for prompt in prompts if prompt in self._where}
        known |= self._read(set(prompts) - known.keys())
        found = ((place, *known[prompt]) for place, prompt in enumerate(prompts))
        return list(grouped((block, (place, index)) for place, block, index in found).items())

    def _read(self, waiting: set[Tokens]) -> Iterator[tuple[Tokens, tuple[Block, int]]]:
        while waiting:
            kept = sorted(self._where)  # for each group anew, because its prompts may begin as those of the group before do
            likest = {prompt: self._find_likest(prompt, kept) for prompt in waiting}
            left = {prompt: len(prompt) - shared for prompt, (shared, _) in likest.items()}
            # Sorted by what is left to read, and by length, so that prompts read together need little padding.
            order = sorted(waiting, key=lambda prompt: (left[prompt], len(prompt), prompt))
            # The columns that are read are limited, and those that are kept: a short prompt has as many as the longest beside it.
            columns = map(max, (WIDER * left[prompt] for prompt in order), accumulate(map(len, order), max))
            full = (n for n, each in enumerate(columns) if n and each * (n + 1) > WIDER * self.network.read_limit)
            group = order[: next(full, len(order))]
            begun = [likest[prompt] for prompt in group]
            block = self.network.read(group, [Start(*self._where[near], shared) if near else None for shared, near in begun])
            for shared, near in begun:
                self._most = SHARED_BYTES if near else self._most
                if len(near) - shared < SHORTEST:  # the prompt that continues it serves as well
                    self._where.pop(near, None)
            new = {prompt: (block, index) for index, prompt in enumerate(group)}
            self._where |= new
            blocks = list(dict.fromkeys(block for block, _ in self._where.values()))
            while len(blocks) > 1 and sum(block.bytes for block in blocks) > self._most:
                blocks.pop(0)
            self._where = {prompt: place for prompt, place in self._where.items() if place[0] in blocks}
            yield from new.items()
            waiting -= new.keys()

    def _find_likest(self, prompt: Tokens, kept: list[Tokens]) -> tuple[int, Tokens]:
        """Find which of the sorted ``kept`` prompts begins as ``prompt`` does, for how many tokens."""
        at = bisect(kept, prompt)
        near = kept[max(0, at - 1) : at + 1] if self.network.shares else ()
        shared, likest = max(((sum(takewhile(bool, map(eq, one, prompt))), one) for one in near), default=(0, ()))
        # The last token is always read, because it gives the logits.
        return (min(shared, len(prompt) - 1), likest) if shared >= SHORTEST else (0, ())
