"""The process that `test_batches` kills: asks the endpoint at ``url`` for ``n`` flows in batches, over a ledger."""

import sys
from pathlib import Path

from asking import open_endpoint

from understudy.core.asks import Call, SamplePath
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.batches import BatchEngine
from understudy.sampling.budget import Budget, Price
from understudy.sampling.ledger import Ledger


def turns(index):
    """One or two requests, as the flow's number says."""
    said = ""
    for turn in range(1 + index % 2):
        said = (yield Call("teacher", f"flow {index} turn {turn} after {said}", max_tokens=20)).text
    return said


def sampled(ledger, url, flows, *, flow=turns, price=None, budget=None, batch=True, tell=lambda _: None, **options):
    """The values (or errors) of so many flows by number."""
    endpoint = {name: options.pop(name) for name in ("api", "retries", "logprobs", "n", "key_env", "poll") if name in options}
    with Ledger(Path(ledger), price=price, budget=budget) as store:
        engine = open_endpoint(url, "tiny", identity="e", batch=batch, **({"retries": 2, "poll": 0.01, "wait": 0.01} | endpoint))
        engine.report = tell
        batches = BatchEngine(engine, store, seed=0, **options)
        if not batch:
            batches.settle_earlier()
        asking = ((SamplePath(f"p-{i}", i), flow(i)) for i in range(flows))
        done = run_flows(asking, Cast({"teacher": batches if batch else engine}, store=store))
        return {d.path.index: d.value if d.error is None else d.error for d in done}


def main(ledger: str, url: str, n: str, tokens: str) -> None:
    print("begins", flush=True)
    budget = Budget(tokens=int(tokens)) if int(tokens) else None
    done = sampled(ledger, url, int(n), price=Price(1, 1), budget=budget, max_lines=40, tell=lambda line: print(line, flush=True))
    print(sum(value is not None for value in done.values()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
