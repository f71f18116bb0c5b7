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
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))
from sampling_page import OUT_OF_DATE, write_page  # noqa: E402
from workload import Spec, hashed, prompt  # noqa: E402

OURS = str(HERE.parent / "src")
PEERS, BUILD = HERE / "peers", HERE.parent / "build" / "bench-sampling"
RESULTS, PAGE = HERE / "results" / "sampling.json", HERE.parent / "docs" / "sampling-speed.md"
CONCURRENCY, CPU_AT, FEW, TAIL_AT, TAIL_CALLS = (16, 128, 512), 128, 200, 64, 1000
RATES = {
    "bare": 5000,
    "bare uvloop": 5000,
    "understudy": 5000,
    "understudy chains": 4000,
    "understudy command": 5000,
    "understudy command cores": 5000,
    "openai": 1000,
    "curator": 1100,
    "distilabel": 300,
    "inspect": 110,
}
"""Replies a second, about: it only decides how many calls a subject is given."""
BRIEF = 0.4
"""Part of the seconds that slower subjects are given."""
HUNG = 300.0
"""Seconds after which a run is given up."""
ASIDE = dict.fromkeys(("bare uvloop", "understudy chains", "understudy command", "understudy command cores"), (128, 512))
"""Beside the subjects that are compared: their throughput at these concurrencies only, and no tail."""
PROBING = ("understudy chains", "understudy command", "understudy command cores")
"""They first find out what the server does with a request, by five or six of their own; the time for that is in theirs."""
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
            "0,1" if "cores" in options else "1",
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
            hung = threading.Timer(HUNG, process.kill)
            hung.start()
            _, status, used = os.wait4(process.pid, 0)
            hung.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            lines = said.read().strip().splitlines()
    if process.returncode:
        raise RuntimeError(f"{subject}: {process.returncode}\n" + "\n".join(lines[-30:]))
    found, server = json.loads(next(line for line in reversed(lines) if line.startswith('{"began"'))), stats(url)
    probe = server["calls"] - calls if subject in PROBING else 0
    if server["calls"] != calls + probe or not 0 <= probe <= 6 or server["most"] > concurrency:
        raise RuntimeError(f"{subject}: {calls} calls, {concurrency} at once, were {server}")
    return Run(calls, found["ended"] - server["first"], used.ru_utime + used.ru_stime, server)


class Results:
    """The rows that were measured, told as they come."""

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
        self.many: dict[str, list[Run]] = {}

    def rounds(
        self, subjects: list[str], calls: Callable[[str], int], concurrency: int, model: str = "loopback"
    ) -> dict[str, list[Run]]:
        """Subject after subject, all of it several times."""
        found: dict[str, list[Run]] = {subject: [] for subject in subjects}
        for turn in range(self.given.repeats):
            for subject, runs in found.items():
                runs.append(run(subject, self.url, calls(subject), concurrency, model))
                print(f"  {turn + 1}: {subject} at {concurrency}: {runs[-1]}, load {os.getloadavg()[0]:.1f}", flush=True)
        return found

    def calls(self, concurrency: int, subject: str) -> int:
        fast = RATES[subject] > 2000
        most = min(RATES[subject], concurrency * 20)
        return max(int(most * self.given.seconds * (1 if fast else BRIEF)), 2 * concurrency)

    def throughput(self) -> None:
        for c in self.given.concurrency:
            subjects = [s for s in self.subjects if c in ASIDE.get(s, (c,))]
            found = self.rounds(subjects, partial(self.calls, c), c)
            if c == CPU_AT:
                self.many = found
            rates = {subject: [r.rate for r in runs] for subject, runs in found.items()}
            for subject in subjects:
                self.results.add_all("throughput", subject, c, rates[subject], unit="replies/s", bare=rates.get("bare", []))
            delays = [r.server["took"] for runs in found.values() for r in runs]
            for at, which in enumerate(("lowest", "median", "99 %", "highest")):
                self.results.add("answered after", which, c, 1000 * median(d[at] for d in delays), unit="ms")

    def cpu(self) -> None:
        """From two sizes: start, imports and whatever is done once are in both. The runs for throughput are the larger one."""
        subjects = [s for s in self.subjects if CPU_AT in ASIDE.get(s, (CPU_AT,))]
        if not self.many:
            self.many = self.rounds(subjects, partial(self.calls, CPU_AT), CPU_AT)
        few = self.rounds(subjects, lambda _: FEW, CPU_AT)
        each = {
            subject: [
                1000 * (many.cpu - once.cpu) / (many.calls - once.calls)
                for once, many in zip(few[subject], self.many[subject], strict=True)
            ]
            for subject in subjects
        }
        for subject in subjects:
            self.results.add_all("client CPU", subject, CPU_AT, each[subject], unit="ms/reply", bare=each.get("bare", []))

    def tail(self) -> None:
        subjects = [s for s in self.subjects if s not in ASIDE]
        found = self.rounds(subjects, lambda _: TAIL_CALLS, TAIL_AT, "tail")
        took = {subject: [r.seconds for r in runs] for subject, runs in found.items()}
        for subject in subjects:
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
            bare.append(run("bare", self.url, self.calls(512, "bare") // 3, 512).rate)
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
    results, began = Results(), time.monotonic()

    def measure(part: str, what: Callable[[], None]) -> None:
        since, others = time.monotonic(), busy() - used()
        what()
        results.add("work of others", part, None, (busy() - used() - others) / (time.monotonic() - since), unit="cores")
        if not given.dry:
            save(results.rows)

    if chosen:
        with served() as url:
            bench = Bench(given, url, results)
            for part in chosen:
                measure(part, getattr(bench, part))
    for part in extra:
        measure(part, partial(separate, results, part))
    print(f"{time.monotonic() - began:.0f} s")


def save(rows: list[Row]) -> None:
    """Put ``rows`` in the place of earlier ones of the same things, and write the page."""
    kept = {(row["benchmark"], row["subject"], row["concurrency"]): row for row in rows}
    measured = any(row["benchmark"] == "throughput" for row in rows)
    for row in json.loads(RESULTS.read_text()) if RESULTS.is_file() else []:
        if measured and row["benchmark"] == OUT_OF_DATE:
            continue
        kept.setdefault((row["benchmark"], row["subject"], row["concurrency"]), row)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, kept.values())) + "\n]\n")
    write_page(list(kept.values()), PAGE)


if __name__ == "__main__":
    main()
