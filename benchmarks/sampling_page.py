"""docs/sampling-speed.md, from the rows that `sampling.py` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workload import hashed, prompt

Row = dict[str, Any]
PEERS = Path(__file__).resolve().parent / "peers"

NAMES = {
    "bare": "bare loop: aiohttp, workers, JSON, nothing kept",
    "understudy": "**Understudy**: driver, endpoint, ledger",
    "understudy chains": "Understudy: the chains stage, replies made into chains",
    "understudy command": "Understudy: `understudy sample`, from a file of questions to a file of chains",
    "understudy command cores": "Understudy: the same, where it may use both cores",
    "bare uvloop": "bare loop on uvloop",
    "openai": "openai SDK",
    "curator": "curator",
    "distilabel": "distilabel",
    "inspect": "inspect_ai",
}
PACKAGES = {
    "bare": "aiohttp",
    "openai": "openai",
    "curator": "bespokelabs-curator",
    "distilabel": "distilabel",
    "inspect": "inspect_ai",
}

OUT_OF_DATE = "out of date"
"""The benchmark of a row that says why the others are no longer true; measuring throughput removes it."""

TEMPLATE = """# How fast a teacher is sampled

Written by `make bench-sampling` (and `make bench-sampling-large`) from
[benchmarks/results/sampling.json](../benchmarks/results/sampling.json); do not edit.
{note}
A server on loopback answers each chat completion 50 ms after it arrived, with about 100 tokens (400 characters) and its
usage. Prompts are about 300 tokens, all of them different. The server is pinned to core 0 of a machine with two. Each
subject runs alone on core 1, in an environment of its own with pinned versions (`benchmarks/peers/`), set up for
throughput as its documentation says.

Subjects take turns. Values are medians of the rounds, with the lowest and the highest in brackets. Bold is the ratio to
the bare loop: the median of the ratios of each round. The benchmark checks that each reply is the one to its prompt.
Time runs from the first request that the server sees to the last reply received, so it leaves out start and imports.
CPU time leaves them out too: a run of few calls is subtracted.

Understudy does what a study does. Each request is on the disk before it is sent, and each reply is kept whole, safe
from kill -9 and power loss ([sampling.md](sampling.md)). The bare loop keeps nothing. Understudy's client is aiohttp
too, on uvloop if that is installed. The bare loop runs on asyncio, and on uvloop in a row of its own. One row of
Understudy may also use the server's core, as it may on a user's machine: its commits run in a thread, and a process
beside the command's own makes the chains.

{aims}

## Replies a second

The most possible is concurrency / 50 ms: 320, 2,560, 10,240.

{throughput}

## CPU and tail

CPU is that of the client, in ms a reply, at concurrency 128. Tail is the seconds for 1,000 calls at concurrency 64, of which {slow}
take 3 s. A hash of the prompt decides which calls are slow; the last of them is number {last}.

{more}

## Memory, and a large ledger

{large}

The ledger has 40,000 questions with 25 paths each, and is in the page cache. "Planned" means that each chain's request is made and
looked up, and its flow ended, as when a study is run again and nothing is missing.

## The server, and the machine

Here the server alone is measured, asked over raw sockets, with requests made beforehand and no JSON. Ratios are to the bare loop at
concurrency 512. At 512 the server's latency is the limit, at 1,024 its core:

{server}

Time from a request to its answer leaving the server, in ms, over all runs:

{delays}

Other work on the machine meanwhile, in cores: {others}.

## The others

{versions}.

- openai: AsyncOpenAI and a semaphore, with its aiohttp client (about twice as fast as its default here). It keeps nothing.
- curator: its OpenAI backend, with limits that are never reached. It counts tokens with tables that it fetches at run
  time, and ends without internet, so the benchmark gives it a counter that costs nothing. It appends replies to a file
  and does not sync them.
- distilabel: one `TextGeneration` over `OpenAILLM`, in batches of the concurrency. A batch waits for its slowest call.
- inspect_ai: `generate` without a scorer, log of samples on, live view off.

Slower subjects get fewer calls, enough for some seconds each.
"""


class Rows:
    def __init__(self, rows: Sequence[Row]) -> None:
        self.by = {(row["benchmark"], row["subject"], row["concurrency"]): row for row in rows}

    def get(self, benchmark: str, subject: str, concurrency: int | None = None) -> Row | None:
        return self.by.get((benchmark, subject, concurrency))

    def shown(self, benchmark: str, subject: str, concurrency: int | None, digits: Callable[[float], str]) -> str:
        """Median, range and ratio; "–" where it was not measured."""
        row = self.get(benchmark, subject, concurrency)
        if row is None:
            return "–"
        ends = [self.get(f"{benchmark}, {which}", subject, concurrency) for which in ("lowest", "highest")]
        text = digits(row["value"])
        if ends[0] and ends[1]:
            text += f" ({digits(ends[0]['value'])}–{digits(ends[1]['value'])})"
        return text + (f", **{row['ratio']:.2f}**" if row["ratio"] is not None and subject != "bare" else "")


def whole(value: float) -> str:
    return f"{value:,.0f}"


def two(value: float) -> str:
    return f"{value:.2f}"


def three(value: float) -> str:
    return f"{value:.3f}"


def targets(rows: Rows) -> list[str]:
    """Whether each aim is met."""
    lines = ["| aim | measured | |", "|---|---|---|"]

    def add(aim: str, row: Row | None, at: str, limit: float, *, least: bool = False, digits: Callable[[float], str] = two) -> None:
        value = None if row is None else row[at]
        met = "" if value is None else "met" if (value >= limit if least else value <= limit) else "**missed**"
        lines.append(f"| {aim} | {'not measured' if value is None else digits(value)} | {met} |")

    add(
        "the server sustains at least 1.5 times the bare loop's rate at 512 (asked at 1,024, where its core is the limit)",
        rows.get("server", "raw sockets", 1024),
        "ratio",
        1.5,
        least=True,
    )
    for c, aim in ((128, 0.8), (512, 0.6)):
        row = rows.get("throughput", "understudy command", c)
        add(
            f"`understudy sample`: at least {aim:.2f} of the bare loop's replies a second, concurrency {c}",
            row,
            "ratio",
            aim,
            least=True,
        )
    row = rows.get("client CPU", "understudy", 128)
    add("client CPU at most 0.30 ms a reply", row, "value", 0.30, digits=three)
    add("tail: at most 1.05 times the bare loop's time", rows.get("tail", "understudy", 64), "ratio", 1.05)
    row = rows.get("memory growth", "understudy", 512)
    add("memory flat: at most 5 MB more after 200,000 replies than after 20,000", row, "value", 5.0, digits=whole)
    row = rows.get("ledger", "opened and planned")
    add("a ledger of a million replies opened and planned against in under 10 s", row, "value", 10.0)
    return lines


def table(rows: Rows, head: Sequence[str], columns: Sequence[tuple[str, int, Callable[[float], str]]]) -> list[str]:
    lines = [f"| | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for subject, name in NAMES.items():
        cells = [rows.shown(benchmark, subject, c, digits) for benchmark, c, digits in columns]
        if set(cells) != {"–"}:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def versions() -> str:
    found = []
    for name, package in PACKAGES.items():
        pinned = dict(line.split("==") for line in (PEERS / f"{name}.txt").read_text().split())
        found.append(f"{package} {pinned[package]}")
    return ", ".join(found)


def delays(rows: Rows) -> list[str]:
    names = ("lowest", "median", "99 %", "highest")
    lines = [f"| concurrency | {' | '.join(names)} |", "|---|---|---|---|---|"]
    return lines + [f"| {c} | {' | '.join(rows.shown('answered after', name, c, two) for name in names)} |" for c in (16, 128, 512)]


def write_page(given: Sequence[Row], path: Path) -> None:
    """Write the page."""
    rows = Rows(given)
    slow = [i for i in range(1000) if int(hashed(prompt(i))[:8], 16) % 50 == 0]
    large = [row for row in given if row["benchmark"] in ("memory", "memory growth", "ledger")]
    parts = {
        "note": [f"\n**Out of date:** {row['subject']}\n" for row in given if row["benchmark"] == OUT_OF_DATE],
        "aims": targets(rows),
        "throughput": table(rows, ["concurrency 16", "128", "512"], [("throughput", c, whole) for c in (16, 128, 512)]),
        "slow": [str(len(slow))],
        "last": [str(slow[-1] + 1)],
        "more": table(rows, ["CPU, ms a reply", "tail, s"], [("client CPU", 128, three), ("tail", 64, two)]),
        "large": [f"- {row['benchmark']}, {row['subject']}: {row['value']:,} {row['unit']}" for row in large] or ["Not measured."],
        "server": [f"- concurrency {c}: {rows.shown('server', 'raw sockets', c, whole)} replies a second" for c in (512, 1024)],
        "delays": delays(rows),
        "others": [", ".join(f"{row['subject']} {row['value']:.2f}" for row in given if row["benchmark"] == "work of others")],
        "versions": [versions()],
    }
    path.write_text(TEMPLATE.format(**{name: "\n".join(lines) for name, lines in parts.items()}), encoding="utf-8")
