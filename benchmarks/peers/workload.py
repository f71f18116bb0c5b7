"""What every subject of `sampling.py` is given and what it must give back.

    python run_NAME.py '{"url": ..., "prompts": FILE, "calls": N, "concurrency": C, "model": ..., "work": DIR}'

The standard library only: each subject runs in an environment of its own.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

WORDS = (
    "the a train leaves station with speed of miles an hour and another one follows after minutes later at rate how many red boxes "
    "are there if each holds seven apples or nine pears while three friends share what is left over equally among them on monday "
    "then buys twice as much for half price before selling some to neighbour who pays in coins worth five ten twenty cents total"
).split()
MAX_TOKENS = 256
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Spec:
    """``prompts``: a file with one on each line, of which the first ``calls`` are asked, in that order. ``work``: an empty
    directory of this run. ``model`` ``tail``: the server takes 3 s for some."""

    url: str
    prompts: str
    calls: int
    concurrency: int
    model: str
    work: str


def prompt(i: int) -> str:
    """About 300 tokens, another text for each ``i``."""
    rng = random.Random(i)
    return f"Question {i}: " + " ".join(rng.choices(WORDS, k=250)) + "?"


def hashed(text: str) -> str:
    """What the reply to ``text`` begins with."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def asked(spec: Spec) -> Iterator[str]:
    """The prompts, one after the other."""
    with Path(spec.prompts).open(encoding="utf-8") as lines:
        for _, line in zip(range(spec.calls), lines, strict=False):
            yield line.rstrip("\n")


def main(run: Callable[[Spec, list[str]], list[str]]) -> None:
    """Have ``run`` ask all prompts; check that each has its own reply; print when all were there, on the system's clock."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    spec = Spec(**json.loads(sys.argv[1]))
    prompts = list(asked(spec))
    began = time.monotonic()
    replies = run(spec, prompts)
    ended = time.monotonic()
    with Path(spec.prompts).with_suffix(".hashes").open(encoding="utf-8") as lines:
        wrong = sum(not reply.startswith(line.rstrip("\n")) for reply, line in zip(replies, lines, strict=False))
    if len(replies) != spec.calls or wrong:
        sys.exit(f"{len(replies)} replies to {spec.calls} prompts, {wrong} of them to another prompt")
    print(json.dumps({"began": began, "ended": ended, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
