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
        self._limit = KEPT_BYTES
        self._index: dict[Tokens, tuple[Block, int]] = {}

    def find(self, prompts: Sequence[Tokens]) -> list[tuple[Block, list[tuple[int, int]]]]:
        """Return the blocks that together hold ``prompts``, each with a (place in ``prompts``, place in the block) for every prompt
        in it."""
        locations = {prompt: self._index[prompt] for prompt in prompts if prompt in self._index}
        locations |= self._read(set(prompts) - locations.keys())
        entries = ((position, *locations[prompt]) for position, prompt in enumerate(prompts))
        return list(grouped((block, (position, index)) for position, block, index in entries).items())

    def _read(self, waiting: set[Tokens]) -> Iterator[tuple[Tokens, tuple[Block, int]]]:
        while waiting:
            earlier = sorted(self._index)  # for each group anew, because its prompts may begin as those of the group before do
            matches = {prompt: self._find_match(prompt, earlier) for prompt in waiting}
            remaining = {prompt: len(prompt) - shared for prompt, (shared, _) in matches.items()}
            # Sorted by what is left to read, and by length, so that prompts read together need little padding.
            order = sorted(waiting, key=lambda prompt: (remaining[prompt], len(prompt), prompt))
            # The columns that are read are limited, and those that are kept: a short prompt has as many as the longest beside it.
            columns = map(max, (WIDER * remaining[prompt] for prompt in order), accumulate(map(len, order), max))
            cuts = (n for n, width in enumerate(columns) if n and width * (n + 1) > WIDER * self.network.read_limit)
            group = order[: next(cuts, len(order))]
            starts = [matches[prompt] for prompt in group]
            block = self.network.read(group, [Start(*self._index[match], shared) if match else None for shared, match in starts])
            for shared, match in starts:
                self._limit = SHARED_BYTES if match else self._limit
                if len(match) - shared < SHORTEST:  # the prompt that continues it serves as well
                    self._index.pop(match, None)
            added = {prompt: (block, index) for index, prompt in enumerate(group)}
            self._index |= added
            blocks = list(dict.fromkeys(block for block, _ in self._index.values()))
            while len(blocks) > 1 and sum(block.bytes for block in blocks) > self._limit:
                blocks.pop(0)
            self._index = {prompt: location for prompt, location in self._index.items() if location[0] in blocks}
            yield from added.items()
            waiting -= added.keys()

    def _find_match(self, prompt: Tokens, earlier: list[Tokens]) -> tuple[int, Tokens]:
        """Find which of the sorted ``earlier`` prompts begins as ``prompt`` does, for how many tokens."""
        index = bisect(earlier, prompt)
        neighbours = earlier[max(0, index - 1) : index + 1] if self.network.can_share else ()
        shared, best = max(((sum(takewhile(bool, map(eq, tokens, prompt))), tokens) for tokens in neighbours), default=(0, ()))
        # The last token is always read, because it gives the logits.
        return (min(shared, len(prompt) - 1), best) if shared >= SHORTEST else (0, ())
