"""The process that `test_ledger` kills: puts replies and says which it knows to be durable."""

import sys
from pathlib import Path

from understudy.core.asks import GREEDY, Call, Reply, Request
from understudy.sampling.ledger import Ledger


def main(path: str, start: str) -> None:
    with Ledger(Path(path)) as ledger:
        for i in range(int(start), int(start) + 100_000):
            request = Request(Call("teacher", f"prompt {i}"), GREEDY, 0)
            ledger.put(f"key-{i}", Reply(f"reply {i}", logprobs=(-0.5, -1.25)), engine="e", request=request, seed=0)
            if i % 7 == 6:
                ledger.flush()
                print(i, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
