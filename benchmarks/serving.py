"""`understudy serve` under many clients at once against the offline engine on the same questions; equal answers checked first.

    python benchmarks/serving.py STUDENT [--questions 512] [--clients 64] [--votes 1] [--repeats 3]

STUDENT: a student of the diary world, e.g. runs/demo/students/N-chains-correct. The server is a process of its own on loopback, the
clients are this one. Each client asks one question after the other. The offline engine answers the same questions in one call, once
with its usual number of rows and once with as many as there are clients, which is all that so many clients can keep busy. One
round before is not counted; of the repeats the best counts. Beside the seconds stand those of the processor, of the engine's
process alone: they say more where the machine does other things too.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil

from understudy.core.values import Problem
from understudy.evaluation.run import answer
from understudy.runs.ask import change_decode, open_bundle
from understudy.tasks.worlds.diary import Diary

Texts = list[list[str]]
Measured = tuple[float, float]
"""(seconds, seconds of the processor)"""


def answer_offline(student: Path, problems: list[Problem], votes: int, rows: int | None, repeats: int) -> tuple[Measured, Texts]:
    """(the best round, the texts of each problem)"""
    bundle = open_bundle(student)
    for engine in bundle.engines.values():
        engine.batch_size = rows or engine.batch_size
    decode = change_decode(bundle.card.decode, votes=votes)
    rounds = []
    for _ in range(repeats + 1):
        started, used = time.perf_counter(), time.process_time()
        answers = answer(problems, bundle.method, bundle.engines, votes=votes, decoding=decode.decoding, seed=bundle.card.seed)
        rounds.append((time.perf_counter() - started, time.process_time() - used))
    assert not answers.errors, answers.errors[0]
    texts = [solution.text for solution in answers.solutions]
    return best(rounds), [texts[i : i + votes] for i in range(0, len(texts), votes)]


def best(rounds: list[Measured]) -> Measured:
    """The least of each, without the first round."""
    return min(seconds for seconds, _ in rounds[1:]), min(used for _, used in rounds[1:])


async def ask_server(url: str, model: str, problems: list[Problem], votes: int, clients: int) -> tuple[float, Texts]:
    """(seconds, the texts of each problem), by so many ``clients`` at once."""
    texts: Texts = [[] for _ in problems]
    waiting = iter(enumerate(problems))
    drawn = {"n": votes, "temperature": 0.7} if votes > 1 else {}

    async def client(session: aiohttp.ClientSession) -> None:
        for i, problem in waiting:
            body = {"model": model, "messages": [{"role": "user", "content": problem.question}], **drawn}
            async with session.post(f"{url}/chat/completions", json=body) as got:
                texts[i] = [choice["understudy"]["text"] for choice in (await got.json())["choices"]]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return time.perf_counter() - started, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--questions", type=int, default=512)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--votes", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    problems = Diary(train=0, dev=0, test=options.questions, longer_test=0).problems(seed=1)
    command = [sys.executable, "-m", "understudy", "serve", str(options.student), "--port", "0"]
    measured: dict[str, Measured] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"at (\S+),", server.stdout.readline())
        assert found, "the server did not start"
        process, rounds = psutil.Process(server.pid), []
        for _ in range(options.repeats + 1):
            used = sum(process.cpu_times()[:2])
            seconds, served = asyncio.run(ask_server(found[1], options.student.name, problems, options.votes, options.clients))
            rounds.append((seconds, sum(process.cpu_times()[:2]) - used))
        measured["served"] = best(rounds)
        server.terminate()
    rows = options.clients * options.votes
    for name, size in (("offline", None), (f"offline, {rows} rows", rows)):
        measured[name], texts = answer_offline(options.student, problems, options.votes, size, options.repeats)
        print(f"{sum(a == b for a, b in zip(texts, served, strict=True))} of {len(texts)} questions have the same texts ({name})")
    for name, (seconds, used) in measured.items():
        ratios = f"{seconds / measured['served'][0]:.2f} of its throughput, {used / measured['served'][1]:.2f} by processor time"
        print(
            f"{name:20} {seconds:6.2f} s, {used:6.2f} s of processor, {len(problems) / seconds:6.1f} questions/s; served: {ratios}"
        )


if __name__ == "__main__":
    main()
