"""How long the pages of `understudy view` take for a run of many chains: `python benchmarks/view.py`.

It writes a run of the embedded world up to its selection (20,000 questions with 5 chains each), opens it, and asks for each kind
of page over HTTP, `ROUNDS` times after one that does not count. The time to open is what `understudy view` takes before it answers.
"""

import argparse
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import uvicorn

from understudy.runs.questions import Filters, QuestionIndex
from understudy.runs.run import Run
from understudy.serving.view import View, make_link

ROUNDS = 9
STUDY = """
[study]
name = "many"
[task]
name = "diary"
train = {problems}
dev = 10
test = 10
[teacher]
engine = "procedural"
samples = {samples}
[student]
hidden = 32
layers = 1
heads = 2
tokenizer = "words"
[training]
steps = 1
[[arms]]
name = "all"
method = "scotd"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study, out = Path(folder) / "study.toml", Path(folder) / "run"
        study.write_text(STUDY.format(problems=options.problems, samples=options.samples))
        subprocess.run(
            [sys.executable, "-m", "understudy", "select", str(study), "--out", str(out)], check=True, stdout=subprocess.DEVNULL
        )
        before = time.perf_counter()
        questions = QuestionIndex(Run(out))
        print(f"{options.problems * options.samples:,} chains; opened in {time.perf_counter() - before:.1f} s")
        names = list(questions.entries)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(View(questions).app("127.0.0.1"), log_level="warning", lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                for name, path in {
                    "first page": "/",
                    "last page": make_link(Filters(), "/", page=10**9),
                    "chains that are wrong": make_link(Filters(verdict="wrong"), "/"),
                    "search": make_link(Filters(text="coins"), "/"),
                    "first question": make_link(Filters(), "/question", id=names[0]),
                    "last question": make_link(Filters(), "/question", id=names[-1]),
                }.items():
                    times = [fetch(url + path) for _ in range(ROUNDS + 1)][1:]
                    print(f"{name}: median {statistics.median(times):.0f} ms, longest {max(times):.0f} ms")
            finally:
                server.should_exit = True
                thread.join()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f} MiB")


def fetch(url: str) -> float:
    """Milliseconds until the whole page is there."""
    before = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - before)


if __name__ == "__main__":
    main()
