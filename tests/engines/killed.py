"""The process that `test_drive` kills: runs the toy method over a ledger, slowly, and logs each reply once it is durable."""

import sys
import time
from pathlib import Path as FilePath

from toy import PLANNER, SOLVER, TOOLS, plan_reply, solve_reply, toy

from understudy.core.asks import Path
from understudy.engines.drive import drive
from understudy.engines.scripted import ScriptedEngine
from understudy.sampling.ledger import Ledger


def main(ledger: str, log: str, out: str) -> None:
    with Ledger(FilePath(ledger)) as store, FilePath(log).open("a") as received:

        class Logged(ScriptedEngine):
            def serve(self, source):
                while waiting := source.take(1):
                    for ticket, request in waiting:
                        time.sleep(0.002)
                        source.give(ticket, self.script(request))
                        store.flush()
                        received.write(request.key(self.identity) + "\n")
                        received.flush()

        folds = {"planner": [Logged(plan_reply(f), identity=n) for f, n in enumerate(PLANNER)]}
        roles = {"solver": Logged(solve_reply, identity=SOLVER)}
        flows = ((Path(f"p-{p}", i), toy(f"p-{p}", Path(f"p-{p}", i))) for p in range(20) for i in range(3))
        done = list(drive(flows, roles, folds=folds, tools=TOOLS, store=store))
    FilePath(out).write_text("".join(f"{d.path.problem} {d.path.index} {d.value.text}\n" for d in done))


if __name__ == "__main__":
    main(*sys.argv[1:])
