"""How fast a teacher is sampled: Understudy with every request and reply durable, a bare loop (the ceiling), and other tools.

    make bench-sampling                                       # all but --memory and --ledger, in about a quarter of an hour
    python benchmarks/sampling.py [throughput cpu tail ...]    # some of it; the other rows of the results stay
    python benchmarks/sampling.py throughput --subjects bare understudy --concurrency 128 --repeats 1 --seconds 3 --dry
    python benchmarks/sampling.py --memory --ledger           # minutes each: 200,000 replies, a ledger of a million

A server on loopback answers after 50 ms (`sampling_server.py`), pinned to core 0; each subject runs on core 1, in an environment
of its own, which is made under build/ where it is not there (`peers/NAME.txt`). Subjects take turns and all is done `--repeats`
times; values are medians. Every reply is checked to be the one to its prompt. Writes benchmarks/results/sampling.json and, from
that, docs/sampling-speed.md; ``--dry`` prints only, ``--page`` writes the page only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))
from sampling_page import write_page  # noqa: E402
from workload import Spec, hashed, prompt  # noqa: E402

OURS = str(HERE.parent / "src")
PEERS, BUILD = HERE / "peers", HERE.parent / "build" / "bench-sampling"
RESULTS, PAGE = HERE / "results" / "sampling.json", HERE.parent / "docs" / "sampling-speed.md"
CONCURRENCY, CPU_AT, TAIL_AT, TAIL_CALLS = (16, 128, 512), 128, 64, 1000
RATES = {
    "bare": 5000,
    "bare uvloop": 5000,
    "understudy": 5000,
    "understudy chains": 3500,
    "understudy command": 2500,
    "openai": 1000,
    "curator": 1100,
    "distilabel": 300,
    "inspect": 110,
}
"""Replies a second, about: it only decides how many calls a subject is given."""
BRIEF = 0.6
"""Part of the seconds that slower subjects are given."""
SHOWN = ("bare uvloop", "understudy chains", "understudy command")
"""Beside the subjects that are compared; not at the lowest concurrency."""
Row = dict[str, Any]


@dataclass
class Run:
    """One run of a subject: ``rate`` and ``seconds`` from the first request that the server saw to the last reply in hand, ``cpu``
    seconds of the whole process and its children, ``server``: what it says of it."""

    calls: int
    seconds: float
    cpu: float
    server: dict[str, Any] = field(repr=False)

    @property
    def rate(self) -> float:
        return self.calls / self.seconds


def environment(name: str) -> Path:
    """The Python of the environment in which a subject runs."""
    if name == "understudy":
        return Path(sys.executable)
    wanted, place = (PEERS / f"{name}.txt").read_text(), BUILD / "environments" / name
    done = place / "installed.txt"
    if not done.is_file() or done.read_text() != wanted:
        print(f"making the environment of {name}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        install = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", PEERS / f"{name}.txt"], check=True)
        done.write_text(wanted)
    return place / "bin" / "python"


@contextmanager
def served() -> Iterator[str]:
    """The server's address."""
    command = [environment("bare"), HERE / "sampling_server.py", "0", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.replace("/v1", "/stats")) as answer:
        return dict(json.load(answer))


def prompts(n: int) -> Path:
    """A file of at least ``n`` prompts, beside one of their hashes."""
    path = BUILD / f"prompts-{n}.txt"
    if not path.is_file():
        texts = [prompt(i) for i in range(n)]
        path.with_suffix(".hashes").write_text("".join(hashed(text) + "\n" for text in texts))
        path.write_text("".join(text + "\n" for text in texts))
    return path


def run(subject: str, url: str, calls: int, concurrency: int, model: str = "loopback") -> Run:
    """Have a subject ask. Raises RuntimeError where it fails, or got a wrong reply."""
    name, *options = subject.split()
    file = prompts(calls if calls > 60_000 else 60_000)
    with tempfile.TemporaryDirectory(dir=BUILD) as work:
        spec = Spec(url, str(file), calls, concurrency, model, work)
        command = [
            "taskset",
            "-c",
            "1",
            environment(name),
            "-W",
            "ignore",
            PEERS / f"run_{name}.py",
            json.dumps(asdict(spec)),
            *options,
        ]
        shown = {**os.environ, "PYTHONPATH": OURS if name == "understudy" else "", "HOME": work}
        stats(url)
        with (BUILD / "said.txt").open("w+") as said:
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=work, env=shown)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            lines = said.read().strip().splitlines()
    if process.returncode:
        raise RuntimeError(f"{subject}: {process.returncode}\n" + "\n".join(lines[-30:]))
    found, server = json.loads(next(line for line in reversed(lines) if line.startswith('{"began"'))), stats(url)
    return Run(calls, found["ended"] - server["first"], used.ru_utime + used.ru_stime, server)


class Results:
    """Rows, those of a file but for the benchmarks that are measured anew."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(
        self, benchmark: str, subject: str, concurrency: int | None, value: float, *, unit: str, ratio: float | None = None
    ) -> None:
        row = {"benchmark": benchmark, "subject": subject, "concurrency": concurrency, "value": float(f"{value:.4g}"), "unit": unit}
        self.rows.append(row | {"ratio": None if ratio is None else round(ratio, 3)})
        print(*(f"{v}" for v in self.rows[-1].values() if v is not None), sep="  ", flush=True)

    def add_all(self, benchmark: str, subject: str, concurrency: int, values: list[float], *, unit: str, bare: list[float]) -> None:
        """The median and the range; the ratio is the median of those to the bare loop of the same round."""
        ratio = median(v / b for v, b in zip(values, bare, strict=True)) if bare else None
        self.add(benchmark, subject, concurrency, median(values), unit=unit, ratio=ratio)
        self.add(f"{benchmark}, lowest", subject, concurrency, min(values), unit=unit)
        self.add(f"{benchmark}, highest", subject, concurrency, max(values), unit=unit)


class Bench:
    def __init__(self, arguments: argparse.Namespace, url: str, results: Results) -> None:
        self.given, self.url, self.results = arguments, url, results
        self.subjects: list[str] = arguments.subjects or list(RATES)

    def rounds(self, subjects: list[str], *of: tuple[Any, ...]) -> dict[tuple[str, ...], list[Run]]:
        """Subject after subject, all of it several times: runs by (subject, what of it)."""
        found: dict[Any, list[Run]] = {}
        for turn in range(self.given.repeats):
            for name, calls_of, *how in of:
                for subject in subjects:
                    runs = found.setdefault((subject, name), [])
                    runs.append(run(subject, self.url, calls_of(subject), *how))
                    print(f"  {turn + 1}: {subject} {name}: {runs[-1]} load {os.getloadavg()[0]:.1f}", flush=True)
        return found

    def calls(self, subject: str, concurrency: int) -> int:
        fast = RATES[subject] > 2000
        most = min(RATES[subject], concurrency * 20)
        return max(int(most * self.given.seconds * (1 if fast else BRIEF)), 2 * concurrency)

    def throughput(self) -> None:
        for c in self.given.concurrency:
            subjects = [s for s in self.subjects if s not in SHOWN or c != min(CONCURRENCY)]
            found = self.rounds(subjects, (f"throughput at {c}", lambda s, c=c: self.calls(s, c), c))
            by_subject = {subject: [r.rate for r in runs] for (subject, _), runs in found.items()}
            for subject in subjects:
                self.results.add_all(
                    "throughput", subject, c, by_subject[subject], unit="replies/s", bare=by_subject.get("bare", [])
                )
                asked = found[subject, f"throughput at {c}"][-1]
                if asked.server["calls"] != asked.calls or asked.server["most"] > c:
                    raise RuntimeError(f"{subject}: {asked.calls} calls at {c} were {asked.server}")
            delays = [r.server["took"] for runs in found.values() for r in runs]
            for at, which in enumerate(("lowest", "median", "99 %", "highest")):
                self.results.add("answered after", which, c, 1000 * median(d[at] for d in delays), unit="ms")

    def cpu(self) -> None:
        """From two sizes: start, imports and whatever is done once are in both."""
        few = max(CPU_AT, 200)
        found = self.rounds(
            self.subjects,
            ("few", lambda _: few, CPU_AT),
            ("many", lambda s: self.calls(s, CPU_AT) // (2 if RATES[s] > 2000 else 1) + few, CPU_AT),
        )
        each = {
            subject: [
                1000 * (many.cpu - once.cpu) / (many.calls - once.calls)
                for once, many in zip(found[subject, "few"], found[subject, "many"], strict=True)
            ]
            for subject in self.subjects
        }
        for subject in self.subjects:
            self.results.add_all("client CPU", subject, CPU_AT, each[subject], unit="ms/reply", bare=each.get("bare", []))

    def tail(self) -> None:
        found = self.rounds(self.subjects, ("tail", lambda _: TAIL_CALLS, TAIL_AT, "tail"))
        took = {subject: [r.seconds for r in runs] for (subject, _), runs in found.items()}
        for subject in self.subjects:
            self.results.add_all("tail", subject, TAIL_AT, took[subject], unit="s", bare=took.get("bare", []))

    def server(self) -> None:
        """What the server sustains, and that by far more than the bare loop asks for: a run of it in between."""
        driven: dict[int, list[float]] = {}
        bare: list[float] = []
        for _ in range(self.given.repeats):
            for c in (512, 1024):
                command = [environment("bare"), HERE / "sampling_server.py", "--drive", self.url, str(c), "3", "1"]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                driven.setdefault(c, []).append(json.loads(said)["rate"])
            bare.append(run("bare", self.url, self.calls("bare", 512) // 3, 512).rate)
        for c, rates in driven.items():
            self.results.add_all("server", "raw sockets", c, rates, unit="replies/s", bare=bare)


def busy() -> float:
    """Seconds of all cores that were not idle since the machine started."""
    numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def used() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def separate(results: Results, what: str) -> None:
    """A measurement of `sampling_ledger.py`, in a process of its own."""
    with served() as url:
        command = [sys.executable, HERE / "sampling_ledger.py", what, url, BUILD]
        shown = {**os.environ, "PYTHONPATH": OURS}
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=shown).stdout
    for line in said.splitlines():
        results.add(**json.loads(line))


def main() -> None:
    parts = ("server", "throughput", "cpu", "tail")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(parts)}; all of them without")
    parser.add_argument("--subjects", nargs="+", choices=list(RATES))
    parser.add_argument("--concurrency", nargs="+", type=int, default=CONCURRENCY)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a fast subject's run")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--ledger", action="store_true")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if wrong := set(given.parts) - set(parts):
        parser.error(f"{', '.join(wrong)}: any of {', '.join(parts)}")
    if given.page:
        write_page(json.loads(RESULTS.read_text()), PAGE)
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})  # and so every process that is begun here, but for the server, which goes to the other core
    extra = [name for name in ("memory", "ledger") if getattr(given, name)]
    chosen = given.parts or ([] if extra else list(parts))
    for subject in given.subjects or RATES if chosen else ():
        environment(subject.split()[0])
    results, began, others = Results(), time.monotonic(), busy() - used()
    if chosen:
        with served() as url:
            bench = Bench(given, url, results)
            for part in chosen:
                getattr(bench, part)()
    for what in extra:
        separate(results, what)
    wall = time.monotonic() - began
    for part in (*chosen, *extra):
        results.add("work of others", part, None, (busy() - used() - others) / wall, unit="cores")
    print(f"{wall:.0f} s")
    if not given.dry:
        fresh = {(row["benchmark"], row["subject"], row["concurrency"]) for row in results.rows}
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
        rows = [row for row in kept if (row["benchmark"], row["subject"], row["concurrency"]) not in fresh] + results.rows
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
        write_page(rows, PAGE)


if __name__ == "__main__":
    main()
