"""Make a teacher's engine ready to be asked: find out once what its endpoint can do, and continue batches of an earlier run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from understudy.core.errors import StudyError
from understudy.core.protocols import AsyncEngine, Engine, LocalEngine, Progress
from understudy.sampling.ledger import Ledger

if TYPE_CHECKING:
    from understudy.engines.remote.endpoint import EndpointEngine

Capabilities = Mapping[str, Mapping[str, str]]
"""address -> the capabilities that were found there (`engines.remote.probe`)"""
TAKES_N = {"honoured": True, "one": False, "refused": False, "copies": False}
"""What an endpoint does with ``n`` -> whether one request may ask for several choices."""
MESSAGES: Mapping[str, Mapping[str, str]] = tomllib.loads((files("understudy.pipeline") / "connect.toml").read_text("utf-8"))
"""What a person is told about an endpoint that ignores fields (``ignored``), and about what its replies showed (``found``)."""


def connect(engine: Engine, ledger: Ledger, *, seed: int, paths: int, report: Progress) -> tuple[Engine, Capabilities]:
    """Make ``engine`` ready to be asked through ``ledger``; return it and the capabilities of its endpoint.

    ``report`` receives warnings. ``paths``: replies drawn from one prompt (1: a single one, or greedy). Raises AccountError, and
    StudyError if an endpoint does not give what the study needs.
    """
    if not isinstance(engine, AsyncEngine | LocalEngine):
        raise StudyError(f"teacher.engine: {type(engine).__name__} must have identity, and serve or replies (docs/extending.md)")
    if not isinstance(engine, AsyncEngine):
        return engine, {}  # before aiohttp is imported
    from understudy.engines.remote.endpoint import EndpointEngine
    from understudy.engines.remote.findings import Findings
    from understudy.sampling.batches import BatchEngine

    if not isinstance(engine, EndpointEngine):
        return engine, {}
    options = engine.options
    engine.report = lambda line: report("teacher", 0, 0, line)
    if engine.concurrency < options.concurrency:
        reason = "this process may not open more files (`ulimit -n`)"
        engine.report(f"teacher.concurrency = {options.concurrency}: only {engine.concurrency} requests at once, because {reason}")
    batches = BatchEngine(engine, ledger, seed=seed)
    capabilities: Capabilities = {}
    if not options.batch:
        batches.settle_earlier()
        capabilities = probe_endpoint(engine, ledger, paths=paths, report=report)
    engine.findings = Findings(partial(record_findings, engine, ledger))  # the replies of the probe are not among them
    ledger.at_end.callback(note_findings, engine, ledger, report)
    return batches if options.batch else engine, capabilities


def probe_endpoint(engine: EndpointEngine, ledger: Ledger, *, paths: int, report: Progress) -> Capabilities:
    """Return the capabilities of each address of ``engine``, which remembers them. Addresses that ``ledger`` does not know are
    probed; those that do not answer now are left out until the next time."""
    from understudy.engines.remote.probe import probe

    capabilities = ledger.capabilities(engine.identity)
    unprobed = [address for address in engine.addresses if "n" not in capabilities.get(engine.build_url(address), {})]
    for url, facts in probe(engine, unprobed, ledger).items() if unprobed else ():
        ledger.note_capabilities(engine.identity, url, facts)
        capabilities[url] = capabilities.get(url, {}) | facts
    remember(engine, capabilities)
    for address in engine.addresses:
        facts = capabilities.get(engine.build_url(address), {})
        for name, warning in MESSAGES["ignored"].items():
            if facts.get(name) == "ignored" and (paths > 1 or name != "temperature"):
                report("teacher", 0, 0, warning.format(url=address.url, paths=paths))
    return {url: facts for address in engine.addresses if (facts := capabilities.get(url := engine.build_url(address), {}))}


def record_findings(engine: EndpointEngine, ledger: Ledger) -> Mapping[str, str]:
    """Record what ``engine``'s replies have shown so far (``found`` in `MESSAGES`), under its first address."""
    facts = engine.findings.summarise() | ({"left out": engine.changed} if engine.changed else {})
    if facts:
        ledger.note_capabilities(engine.identity, engine.build_url(engine.addresses[0]), facts)
    return facts


def note_findings(engine: EndpointEngine, ledger: Ledger, report: Progress) -> None:
    """Record and report what the replies of ``engine`` showed."""
    for name, value in record_findings(engine, ledger).items():
        report("teacher", 0, 0, MESSAGES["found"][name].format(url=engine.build_url(engine.addresses[0]), value=value))


def remember(engine: EndpointEngine, capabilities: Capabilities) -> None:
    """Tell ``engine`` which of its addresses take ``n`` and which have answered; ``capabilities``: the capabilities of each."""
    for address in engine.addresses:
        facts = capabilities.get(engine.build_url(address), {})
        address.takes_n, address.has_answered = TAKES_N.get(facts.get("n", "")), address.has_answered or "n" in facts
