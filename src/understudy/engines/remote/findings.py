"""What the replies of an endpoint show besides their texts: another version of the model, unknown finish reasons, empty answers,
and prompts that were cut silently."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from understudy.core.asks import FINISHES, Prompt, Reply, prompt_bytes

LONG = 4096
"""Bytes from which on a prompt may have been cut."""
ROUND = 256
"""A server's limit is a multiple of this."""
ENOUGH = 3
"""Different prompts with the same number of tokens that prove a limit. This and `ROUND` were chosen by this project."""
RECORD_INTERVAL = 0.5
"""Least number of seconds between two recordings while replies arrive."""


class Findings:
    """Looks at every reply. ``versions`` counts the replies of each version of the model, ``finishes`` those with each unknown
    finish reason, which is taken for ``stop``. ``empty`` counts those without text that were not cut off. ``record`` is called now
    and then, so that the findings can be seen while replies arrive."""

    def __init__(self, record: Callable[[], object] = lambda: None) -> None:
        self.versions: Counter[str] = Counter()
        self.finishes: Counter[str] = Counter()
        self.empty = 0
        self._record, self._recorded = record, time.monotonic()
        self._longest = 0
        self._prompts: dict[int, int] = {}

    def note(self, replies: Sequence[Reply], prompt: Prompt) -> None:
        """Note one answer to ``prompt``."""
        for reply in replies:
            self.versions[reply.model] += 1
            if reply.finish_reason and reply.finish_reason.lower() not in FINISHES and reply.finish == "stop":
                self.finishes[reply.finish_reason] += 1
            self.empty += reply.finish == "stop" and not reply.text.strip()
        tokens = replies[0].prompt_tokens or 0
        if tokens > self._longest:
            self._longest = tokens
            self._prompts.clear()
        if tokens == self._longest and len(self._prompts) < ENOUGH:
            self._prompts[hash(prompt)] = prompt_bytes(prompt)
        if (now := time.monotonic()) - self._recorded > RECORD_INTERVAL:
            self._recorded = now
            self._record()

    def summarise(self) -> dict[str, str]:
        """Return what was found, name -> value."""
        lengths = self._prompts.values()
        # Several long prompts of different lengths have the same number of tokens, and none has more.
        cut = len(lengths) >= ENOUGH and len(set(lengths)) > 1 and min(lengths) >= LONG and self._longest % ROUND == 0
        facts = {
            "versions": _describe_counts(self.versions) if len(self.versions) > 1 else "",
            "unknown ends": _describe_counts(self.finishes),
            "empty answers": f"{self.empty:,} of {self.versions.total():,}" if self.empty else "",
            "prompts cut at": f"{self._longest:,} tokens" if cut else "",
        }
        return {name: value for name, value in facts.items() if value}


def _describe_counts(names: Counter[str]) -> str:
    return ", ".join(f"{name or 'none'} ({count:,})" for name, count in names.most_common(5))
