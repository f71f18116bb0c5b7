"""Flows without end between a slow local engine and an endpoint: a process to be interrupted. Loads no model library."""

import time

from asking import open_endpoint
from loopback import Server, completion

from understudy.core.asks import Call, Reply, SamplePath
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows


class Slow:
    """A local engine that takes ``seconds`` for each reply."""

    identity = "slow"

    def __init__(self, seconds=0.02):
        self.seconds, self.answered = seconds, 0

    def serve(self, source):
        while waiting := source.take(64):
            for ticket, _ in waiting:
                time.sleep(self.seconds)
                self.answered += 1
                source.give(ticket, Reply("said"))


def endless(index):
    turn = 0
    while True:
        yield Call("local", f"{index}", attempt=turn)
        yield Call("remote", f"{index}", attempt=turn)
        print("turn", flush=True)
        turn += 1


if __name__ == "__main__":
    with Server(lambda *_: completion("said")) as server:
        engines = {"local": Slow(), "remote": open_endpoint(server.url, "tiny")}
        flows = ((SamplePath(f"p-{i}"), endless(i)) for i in range(50))
        list(run_flows(flows, Cast(engines), on_end=print))
