"""The process that `test_durability` kills: asks the endpoint at ``url`` for ``n`` flows over a ledger, and says which came."""

import resource
import sys
from pathlib import Path

from understudy.core.asks import Call, SamplePath
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.options import Endpoint
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.ledger import Ledger


def turns(index):
    """One or two requests, as the flow's number says."""
    said = ""
    for turn in range(1 + index % 2):
        reply = yield Call("teacher", f"flow {index} turn {turn} after {said}", max_tokens=20)
        said = reply.text
    return said


def main(ledger: str, url: str, n: str, concurrency: str, limit: str) -> None:
    """``limit``: bytes that a file may have at the most, 0 for no limit."""
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    flows = ((SamplePath(f"p-{i}"), turns(i)) for i in range(int(n)))
    print("begins", flush=True)
    with Ledger(Path(ledger)) as store:
        engine = EndpointEngine(Endpoint(url, "tiny", retries=0, identity="e", concurrency=int(concurrency), n=1))
        done = list(run_flows(flows, Cast({"teacher": engine}, store=store)))
    print(sum(d.value is not None for d in done), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
