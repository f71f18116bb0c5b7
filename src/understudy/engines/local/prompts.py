"""Prompts that were read: each once for all paths that begin with it, also those that come a little later."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from understudy.engines.local.forward import Network
from understudy.engines.local.rows import Block

Tokens = tuple[int, ...]


class Prompts:
    """Remembers the blocks read last, up to ``limit`` bytes (and always the last one)."""

    def __init__(self, network: Network, *, limit: int) -> None:
        self.network, self.limit = network, limit
        self._held: deque[tuple[Block, list[Tokens]]] = deque()
        self._where: dict[Tokens, tuple[Block, int]] = {}

    def find(self, prompts: Sequence[Tokens]) -> list[tuple[Block, list[tuple[int, int]]]]:
        """Blocks that together hold ``prompts``, each with (place in ``prompts``, place in the block) of those it holds."""
        known = {prompt: self._where[prompt] for prompt in prompts if prompt in self._where}
        # By length, so that prompts read together need little padding.
        for block, read in self._read(sorted(set(prompts) - known.keys(), key=lambda p: (len(p), p))):
            known |= {prompt: (block, index) for index, prompt in enumerate(read)}
        groups: dict[int, tuple[Block, list[tuple[int, int]]]] = {}
        for place, prompt in enumerate(prompts):
            block, index = known[prompt]
            groups.setdefault(id(block), (block, []))[1].append((place, index))
        return list(groups.values())

    def _read(self, prompts: list[Tokens]) -> list[tuple[Block, list[Tokens]]]:
        new, at = [], 0
        for block in self.network.read(prompts):
            new.append((block, prompts[at : at + len(block.lengths)]))
            at += len(block.lengths)
        self._held.extend(new)
        self._where |= {prompt: (block, index) for block, read in new for index, prompt in enumerate(read)}
        while len(self._held) > 1 and sum(block.bytes for block, _ in self._held) > self.limit:
            for prompt in self._held.popleft()[1]:
                del self._where[prompt]
        return new
