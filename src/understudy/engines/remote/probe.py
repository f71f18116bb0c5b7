"""Finds out with five or six tiny requests what an endpoint does with the fields of a request: a 200 does not mean that they count.

The answers show what became of ``n``, log-probabilities, stop strings, temperature, seed and usage. A value is ``unknown`` if they
do not decide: a model may say nothing, or always the same.
"""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from understudy.core.asks import GREEDY, Call, Decoding, Reply, Request, Usage
from understudy.core.errors import AccountError, BudgetError, EngineError, UnpaidError
from understudy.core.protocols import ReplyStore
from understudy.engines.remote.choices import gives_logprobs, read_choices
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.pace import Address
from understudy.engines.remote.wire import RetryError

PROMPT = "Go on with these random digits, and write nothing else: 7 1 4 0 9 2 8 5 3 6 1 8"
"""The prompt of every request of a probe: two draws hardly ever continue it alike."""
ROLE = "probe"
"""The role of its requests in the ledger."""
TOKENS = 24
"""``max_tokens`` of a request: enough random digits to tell draws apart."""
PATIENCE = 60.0
"""Seconds to wait for an answer; a server that needs longer for so little may be loading its model."""
LONG = 6
"""Characters from which on two equal texts prove something: three digits and blanks."""
CHANCE = 0.01
"""A text with a higher probability than this, if log-probabilities come, may well be drawn twice."""


_SAMPLED = Decoding(1.0)


class ProbeReplies(NamedTuple):
    """The reply to each request, None if it was refused. ``first`` and ``repeated`` have the same seed. ``reseeded`` has another
    one, and n = 2 if ``accepts_n``. ``greedy`` is decoded greedily, and so is ``stopped``, with the stop string ``stop`` in it."""

    first: Reply
    repeated: Reply | None
    reseeded: Reply | None
    accepts_n: bool
    greedy: Reply | None
    stopped: Reply | None = None
    stop: str = ""


def probe(engine: EndpointEngine, addresses: Sequence[Address], store: ReplyStore) -> dict[str, dict[str, str]]:
    """Probe each of ``addresses``. Returns url -> name -> value: ``n`` (honoured, one, copies, refused), ``logprobs`` and ``usage``
    (given, none), ``stop`` (removed, kept, ignored), ``temperature`` (draws, ignored), ``seed`` (honoured, ignored), each perhaps
    unknown, and the ``model`` that answers. An address that cannot be asked now (no answer, no room in the budget) is left out.

    Requests are reserved in ``store``, and not sent again if it has their replies. Raises AccountError, and StudyError if the
    endpoint does not give what the study needs.
    """

    async def probe_all() -> list[dict[str, str]]:
        async with engine:
            return await asyncio.gather(*(_probe(engine, address, store) for address in addresses))

    return {engine.build_url(address): facts for address, facts in zip(addresses, asyncio.run(probe_all()), strict=True) if facts}


async def _probe(engine: EndpointEngine, address: Address, store: ReplyStore) -> dict[str, str]:
    """Find the facts about one address of the opened ``engine``; {} if it cannot be asked now."""

    async def ask(attempt: int, decoding: Decoding, stop: tuple[str, ...] = (), **more: Any) -> Reply | None:
        return await _ask(engine, address, store, Request(Call(ROLE, PROMPT, stop, TOKENS, decoding, attempt), decoding, 0), more)

    try:
        if (first := await ask(0, _SAMPLED, seed=1)) is None:
            return {}
        reseeded = both = await ask(1, _SAMPLED, seed=2, n=2)
        if both is None:
            reseeded = await ask(2, _SAMPLED, seed=2)
        repeated = await ask(3, _SAMPLED, seed=1)
        greedy, stop, stopped = await ask(4, GREEDY, seed=1), "", None
        if greedy is not None and (stop := _choose_stop(_read_texts(greedy, chat=engine.chat)[0])):
            stopped = await ask(5, GREEDY, (stop,), seed=1)
    except (TimeoutError, RetryError, BudgetError):
        return {}
    return read_facts(ProbeReplies(first, repeated, reseeded, both is not None, greedy, stopped, stop), chat=engine.chat)


async def _ask(engine: EndpointEngine, address: Address, store: ReplyStore, request: Request, more: dict[str, Any]) -> Reply | None:
    """Get the reply to ``request`` with the fields ``more``; None if the server refuses it. Raises TimeoutError, RetryError or
    BudgetError if it cannot be asked now."""
    key = request.key(f"{engine.identity} at {engine.build_url(address)}")
    if (stored := store.get(key)) is not None:
        return stored
    worst_case = replace(request, ask=replace(request.ask, max_tokens=TOKENS * more.get("n", 1)))
    if not store.reserve(key, engine=engine.identity, request=worst_case):
        raise BudgetError("the budget has no room for it")
    store.flush()
    expected = len(PROMPT) // 4 + TOKENS
    await address.pace.enter(expected)
    try:
        answer = await asyncio.wait_for(engine.ask_once(address, request, more), PATIENCE)
    except (TimeoutError, RetryError) as error:
        paid, sent = (error.paid, error.sent) if isinstance(error, RetryError) else (True, True)
        kind, reason = EngineError if paid else UnpaidError, str(error) or f"no answer within {PATIENCE:g} s"
        store.fail(key, kind(reason), None if paid else Usage(int(sent), 0, 0))
        raise
    except (AccountError, EngineError) as error:
        store.fail(key, UnpaidError(str(error)) if isinstance(error, AccountError) else error, error.usage)
        if isinstance(error, AccountError):
            raise
        return None
    finally:
        address.pace.leave(expected, expected)
    store.put(key, answer.replies[0], engine=engine.identity, request=request, seed=0, usage=answer.usage)
    store.flush()
    return answer.replies[0]


def read_facts(answers: ProbeReplies, *, chat: bool) -> dict[str, str]:
    """Read from ``answers`` the facts about the endpoint; see `probe`."""
    first, *_ = _read_texts(answers.first, chat=chat)
    repeated = _read_texts(answers.repeated, chat=chat)[0] if answers.repeated else None
    reseeded = _read_texts(answers.reseeded, chat=chat) if answers.reseeded else []
    draws = [first, *([] if repeated is None else [repeated]), *reseeded]
    likely = bool(answers.first.logprobs) and sum(answers.first.logprobs) > math.log(CHANCE)  # it may well be drawn twice

    temperature = seed = "unknown"
    if len(set(draws)) > 1:
        temperature = "draws"
        if repeated is not None and (first != repeated or len(first.strip()) >= LONG):
            seed = "honoured" if first == repeated else "ignored"
    elif len(draws) > 2 and len(first.strip()) >= LONG and not likely:
        temperature = "ignored"

    n_support = "unknown"
    if answers.reseeded and not answers.accepts_n:
        n_support = "refused"
    elif len(reseeded) == 1:
        n_support = "one"
    elif len(reseeded) == 2:
        is_equal = reseeded[0] == reseeded[1] and len(reseeded[0].strip()) >= LONG
        n_support = "copies" if is_equal and temperature == "draws" else "honoured"

    return {
        "logprobs": "given" if gives_logprobs(json.loads(answers.first.raw or "")) else "none",
        "model": answers.first.model or "unknown",
        "n": n_support,
        "seed": seed,
        "stop": _judge_stop(answers, chat=chat),
        "temperature": temperature,
        "usage": "none" if None in (answers.first.tokens, answers.first.prompt_tokens) else "given",
    }


def _judge_stop(answers: ProbeReplies, *, chat: bool) -> str:
    if answers.greedy is None or answers.stopped is None:
        return "unknown"
    (full_text, *_), (text, *_) = _read_texts(answers.greedy, chat=chat), _read_texts(answers.stopped, chat=chat)
    prefix, _, _ = full_text.partition(answers.stop)
    if text == full_text:
        return "ignored"
    if text.strip() == prefix.strip():
        return "removed"
    # The token that completes the stop string may hold more text.
    return "kept" if text.lstrip().startswith((prefix + answers.stop).lstrip()) and len(text) < len(full_text) else "unknown"


def _choose_stop(text: str) -> str:
    """Choose the first letter or digit in the first half of ``text`` that differs from its beginning; "" if there is none. It is a
    single character: if a server drops broken characters, two neighbours in its text may have had something between them."""
    half = text.strip()[: len(text.strip()) // 2]
    return next((c for c in half[1:] if c.isascii() and c.isalnum() and c != half[0]), "")


def _read_texts(reply: Reply, *, chat: bool) -> list[str]:
    """Read the whole text of each choice that has one, by index, thoughts first."""
    answer = json.loads(reply.raw or "")
    return [choice.reasoning + choice.text for choice in read_choices(answer, "", (), chat=chat, n=len(answer["choices"]))]
