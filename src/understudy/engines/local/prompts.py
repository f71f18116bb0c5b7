"""Prompts that the model has read: it reads each once for all its paths, even for a path that comes a little later."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from understudy.core.values import grouped
from understudy.engines.local.forward import Network
from understudy.engines.local.rows import Block

Tokens = tuple[int, ...]

KEPT_BYTES = 2**26


class Prompts:
    """Keeps the most recent blocks, up to `KEPT_BYTES`, and always the last one."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._held: deque[tuple[Block, list[Tokens]]] = deque()
        self._where: dict[Tokens, tuple[Block, int]] = {}

    def find(self, prompts: Sequence[Tokens]) -> list[tuple[Block, list[tuple[int, int]]]]:
        """Return the blocks that together hold ``prompts``, each with a (place in ``prompts``, place in the block) for every prompt
        in it."""
        known = {prompt: self._where[prompt] for prompt in prompts if prompt in self._where}
        # Sorted by length, so that prompts read together need little padding.
        known |= self._read(sorted(set(prompts) - known.keys(), key=lambda p: (len(p), p)))
        found = ((place, *known[prompt]) for place, prompt in enumerate(prompts))
        return list(grouped((block, (place, index)) for place, block, index in found).items())

    def _read(self, prompts: list[Tokens]) -> dict[Tokens, tuple[Block, int]]:
        rest = iter(prompts)
        new = [(block, list(islice(rest, len(block.lengths)))) for block in self.network.read(prompts)]
        where = {prompt: (block, index) for block, read in new for index, prompt in enumerate(read)}
        self._held.extend(new)
        self._where |= where
        while len(self._held) > 1 and sum(block.bytes for block, _ in self._held) > KEPT_BYTES:
            for prompt in self._held.popleft()[1]:
                del self._where[prompt]
        return where
