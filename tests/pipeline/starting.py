"""The command that `test_processes` kills while its worker starts: the worker says that it works, and goes on for ever."""

import sys
import time

from understudy.pipeline.executor import LocalProcesses, Machine


def work():
    while True:
        print("works", flush=True)
        time.sleep(0.02)


def main() -> None:
    with LocalProcesses(Machine(1), lambda _: None, {}) as pool:
        pool.submit(work).result()


if __name__ == "__main__":
    sys.exit(main())
