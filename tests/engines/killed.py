"""The process that `test_drive` kills: runs the toy method over a ledger, slowly, and logs each reply once it is durable."""

import asyncio
import sys
import time
from pathlib import Path

from toy import PLANNER, SOLVER, plan_reply, solve_reply, toy

from understudy.core.asks import Answer, SamplePath, Usage
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import adrive, drive
from understudy.sampling.ledger import Ledger


class Kept:
    """A `ReplyStore` over the ledger that writes down every key once its reply is durable."""

    def __init__(self, ledger, log):
        self.ledger, self.log, self.get, self.flush = ledger, log, ledger.get, ledger.flush
        self.reserve, self.fail = ledger.reserve, ledger.fail

    def put(self, key, reply, **about):
        self.ledger.put(key, reply, **about)
        self.ledger.flush()
        self.log.write(key + "\n")
        self.log.flush()


class Slow(ScriptedEngine):
    def serve(self, source):
        while waiting := source.take(1):
            for ticket, request in waiting:
                time.sleep(0.002)
                source.give(ticket, self.script(request))

    concurrency = 4

    async def replies(self, requests):
        await asyncio.sleep(0.01)
        return Answer((self.script(requests[0]),), Usage())


def main(driver: str, ledger: str, log: str, out: str) -> None:
    folds = {"planner": [Slow(plan_reply(f), identity=n) for f, n in enumerate(PLANNER)]}
    roles = {"solver": Slow(solve_reply, identity=SOLVER)}
    flows = ((SamplePath(f"p-{p}", i), toy(f"p-{p}", SamplePath(f"p-{p}", i))) for p in range(20) for i in range(3))
    with Ledger(Path(ledger)) as opened, Path(log).open("a") as received:
        cast = Cast(roles, folds=folds, store=Kept(opened, received))
        if driver == "drive":
            done = list(drive(flows, cast))
        else:

            async def collect():
                return [d async for d in adrive(flows, cast)]

            done = asyncio.run(collect())
    Path(out).write_text("".join(f"{d.path.problem} {d.path.index} {d.value.text}\n" for d in done))


if __name__ == "__main__":
    main(*sys.argv[1:])
