"""The process that `test_drive` kills: runs the toy method over a ledger, slowly, and logs each reply once it is durable."""

import asyncio
import sys
import time
from pathlib import Path as FilePath

from toy import PLANNER, SOLVER, plan_reply, solve_reply, toy

from understudy.core.asks import Path
from understudy.engines.scripted import ScriptedEngine
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

    async def reply(self, request):
        await asyncio.sleep(0.01)
        return self.script(request)


def main(driver: str, ledger: str, log: str, out: str) -> None:
    folds = {"planner": [Slow(plan_reply(f), identity=n) for f, n in enumerate(PLANNER)]}
    roles = {"solver": Slow(solve_reply, identity=SOLVER)}
    flows = ((Path(f"p-{p}", i), toy(f"p-{p}", Path(f"p-{p}", i))) for p in range(20) for i in range(3))
    with Ledger(FilePath(ledger)) as opened, FilePath(log).open("a") as received:
        store = Kept(opened, received)
        if driver == "drive":
            done = list(drive(flows, roles, folds=folds, store=store))
        else:

            async def collect():
                return [d async for d in adrive(flows, roles, folds=folds, store=store, concurrency=4)]

            done = asyncio.run(collect())
    FilePath(out).write_text("".join(f"{d.path.problem} {d.path.index} {d.value.text}\n" for d in done))


if __name__ == "__main__":
    main(*sys.argv[1:])
