"""What the replies of an endpoint show besides their texts: another version of the model, ends that nobody knows, empty answers,
and prompts that were cut without a word."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from understudy.core.asks import FINISHES, Prompt, Reply, prompt_bytes

LONG = 4096
"""Bytes of a prompt that can be cut."""
ROUND = 256
"""A server's limit is a multiple of it."""
ENOUGH = 3
"""So many different prompts with the same number of tokens prove a limit. This and `ROUND` were chosen by this project."""
EVERY = 0.5
"""Seconds between two recordings while replies come, at least."""


class Findings:
    """Looks at every reply. ``versions`` counts those of each version of the model, ``finishes`` those that end for a reason that
    is not known here: they were taken for ``stop``. ``empty`` have no text though they were not cut off. ``record`` is called now
    and then, so that what was found can be seen while replies come."""

    def __init__(self, record: Callable[[], object] = lambda: None) -> None:
        self.versions: Counter[str] = Counter()
        self.finishes: Counter[str] = Counter()
        self.empty = 0
        self._record, self._recorded = record, time.monotonic()
        self._most = 0
        self._prompts: dict[int, int] = {}

    def note(self, replies: Sequence[Reply], prompt: Prompt) -> None:
        """One answer to ``prompt`` has come."""
        for reply in replies:
            self.versions[reply.model] += 1
            if reply.finish_reason and reply.finish_reason.lower() not in FINISHES and reply.finish == "stop":
                self.finishes[reply.finish_reason] += 1
            self.empty += reply.finish == "stop" and not reply.text.strip()
        read = replies[0].prompt_tokens or 0
        if read > self._most:
            self._most = read
            self._prompts.clear()
        if read == self._most and len(self._prompts) < ENOUGH:
            self._prompts[hash(prompt)] = prompt_bytes(prompt)
        if (now := time.monotonic()) - self._recorded > EVERY:
            self._recorded = now
            self._record()

    def facts(self) -> dict[str, str]:
        """name -> value, of what was found."""
        lengths = self._prompts.values()
        # Several long prompts that differ have so many tokens, and none has more.
        cut = len(lengths) >= ENOUGH and len(set(lengths)) > 1 and min(lengths) >= LONG and self._most % ROUND == 0
        found = {
            "versions": _count(self.versions) if len(self.versions) > 1 else "",
            "unknown ends": _count(self.finishes),
            "empty answers": f"{self.empty:,} of {self.versions.total():,}" if self.empty else "",
            "prompts cut at": f"{self._most:,} tokens" if cut else "",
        }
        return {name: value for name, value in found.items() if value}


def _count(names: Counter[str]) -> str:
    return ", ".join(f"{name or 'none'} ({count:,})" for name, count in names.most_common(5))
