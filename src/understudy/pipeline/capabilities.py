"""What an endpoint does with what it is sent is found out once, before its first request, and recorded in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from understudy.core.protocols import AsyncEngine, Engine
from understudy.sampling.ledger import Ledger

if TYPE_CHECKING:
    from understudy.engines.remote.endpoint import EndpointEngine

TOLD = {
    "temperature": "{url} seems to draw nothing: at temperature 1 it answered three times word for word alike, so the {paths} "
    "replies to a prompt may be copies of one (transformers serve draws only where the model's generation_config.json has "
    "do_sample = true)",
    "stop": "{url} ignores stop strings: its replies are cut here, and all that it writes up to max_tokens is paid for",
}
"""What is said where one of these is ignored."""


def probed(engine: Engine, ledger: Ledger, *, paths: int, tell: Callable[[str], None]) -> Mapping[str, Mapping[str, str]]:
    """What each address of an endpoint does, as `engines.remote.probe` says it; {} of other engines, and of one asked in batches.
    Those that ``ledger`` has no record of are probed, and those that do not answer now are left out, for the next time.

    ``engine`` knows it from then on. ``tell`` hears what ``paths`` draws to a prompt (1: a single one, or greedy) suffer from.
    Raises AccountError, and StudyError where the endpoint does not give what the study needs.
    """
    if not isinstance(engine, AsyncEngine):
        return {}
    from understudy.engines.remote.endpoint import EndpointEngine
    from understudy.engines.remote.probe import full_url, probe

    if not isinstance(engine, EndpointEngine):
        return {}
    known = ledger.capabilities(engine.identity)
    new = [address for address in engine.addresses if full_url(engine, address) not in known]
    for url, facts in probe(engine, new, ledger).items() if new else ():
        ledger.note_capabilities(engine.identity, url, facts)
        known[url] = facts
    found = {}
    remember(engine, known)
    for address in engine.addresses:
        url = full_url(engine, address)
        facts = found[url] = known.get(url, {})
        for name, says in TOLD.items():
            if facts.get(name) == "ignored" and (paths > 1 or name != "temperature"):
                tell(says.format(url=address.url, paths=paths))
    return {url: facts for url, facts in found.items() if facts}


def remember(engine: EndpointEngine, known: Mapping[str, Mapping[str, str]]) -> None:
    """Let ``engine`` know which of its addresses take ``n``: ``known`` is what was found of each."""
    from understudy.engines.remote.probe import TAKES_N, full_url

    for address in engine.addresses:
        address.takes_n = TAKES_N.get(known.get(full_url(engine, address), {}).get("n", ""))
