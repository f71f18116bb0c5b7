"""What a flow may ask, what it gets back, and the rule that makes a request's identity.

A flow is a generator written from the point of view of one problem on one sample path::

    reply = yield Call("student", prompt, stop=("\\n\\n",))          # one ask, one Reply
    first, second = yield [Call("student", a), Call("student", b)]   # a list of asks, a list of Replies in that order

It does no I/O; a driver (`flows.drive`) runs thousands of them together. A flow that asks the same thing twice (a retry)
must use the next ``attempt``: the same request on the same path and attempt is the same reply, bought once.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Channel = Literal["reasoning", "answer", "hidden"]


@dataclass(frozen=True)
class Message:
    """One chat message; the engine's chat template renders it."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""A string is a raw completion prompt; messages go through the engine's chat template."""


def prompt_bytes(prompt: Prompt) -> int:
    """How long a prompt is, in bytes."""
    texts = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    return sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)


@dataclass(frozen=True)
class Decoding:
    """How text is drawn: ``temperature`` 0 is greedy; ``top_p`` 1 keeps the whole distribution (SCoTD's teacher call sets
    no top-p: models/gpt3_api.py of the authors' code). ``beams`` above 1 is beam search, which draws nothing (temperature 0): the
    most probable reply that is found, per token (SCoTD's NUM_BEAMS: arXiv 2306.14050, arguments.py of the authors' code).
    ``calculator``: the value of each expression that the model marks as GSM8K does (``<<48/2=``) is written for it, and ``>>``
    (arXiv 2110.14168); not with beams."""

    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    calculator: bool = False


GREEDY = Decoding()


@dataclass(frozen=True)
class About:
    """Lineage of an ask: which problem, which step. Never part of the request's identity."""

    problem: str
    step: int | None = None


@dataclass(frozen=True)
class Call:
    """Wants text from the engine that plays ``role``.

    ``decoding`` None means what the study says for that role. ``stop`` strings end the reply and are cut from its text.
    ``out_of_fold`` asks the fold of the role that was not trained on this problem.
    """

    role: str
    prompt: Prompt
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    decoding: Decoding | None = None
    attempt: int = 0
    about: About | None = field(default=None, compare=False)
    channel: Channel = "reasoning"
    out_of_fold: bool = False


@dataclass(frozen=True)
class Score:
    """Wants the log-probability of ``text`` after ``prompt`` under the engine that plays ``role``."""

    role: str
    prompt: Prompt
    text: str
    about: About | None = field(default=None, compare=False)
    out_of_fold: bool = False


@dataclass(frozen=True)
class Run:
    """Wants the tool ``tool`` (a pure function of its argument, by registered name) run on ``argument``."""

    tool: str
    argument: str
    about: About | None = field(default=None, compare=False)


Ask = Call | Score | Run

Finish = Literal["stop", "length", "refused"]


@dataclass(frozen=True)
class Reply:
    """The answer to one ask.

    ``text``: the generated text without its stop string (tool output for `Run`, empty for `Score`). ``finish``: ``stop``
    (end token or stop string), ``length`` (cut off at max_tokens), ``refused``. ``tokens`` / ``prompt_tokens``: counts of
    the engine's tokens, None where it does not say; ``tokens`` counts the end token or stop string too, and not what a calculator
    wrote, though it is in ``text``. ``logprobs``: natural log-probability of each of those ``tokens`` (of each scored token)
    under the untempered model, () where the engine gives none. ``raw``: what an endpoint sent, whole, as JSON text (a list
    where it was asked several times for one reply; a stream in one piece). ``reasoning``: thinking that came in a field of its own,
    or in tags in a chat. ``finish_reason``: why it ends in the endpoint's own words. ``model``: the version that says to have
    answered (``model``, and ``system_fingerprint`` in brackets). ``latency``: seconds from the last sending to the whole answer.
    """

    text: str
    finish: Finish = "stop"
    tokens: int | None = None
    prompt_tokens: int | None = None
    logprobs: tuple[float, ...] = ()
    reasoning: str = ""
    raw: str | None = None
    finish_reason: str = ""
    model: str = ""
    latency: float | None = None

    @property
    def mean_logprob(self) -> float | None:
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


@dataclass(frozen=True)
class Usage:
    """What a reply of an endpoint took, or an ask that got none: ``requests`` that were sent for it, tokens ``read`` and
    ``written``, None where nobody says; ``lost``: how many of the requests got no answer and may have been paid for all the same.
    """

    requests: int = 1
    read: int | None = None
    written: int | None = None
    lost: int = 0

    def __add__(self, other: Usage) -> Usage:
        read = None if self.read is None or other.read is None else self.read + other.read
        written = None if self.written is None or other.written is None else self.written + other.written
        return Usage(self.requests + other.requests, read, written, self.lost + other.lost)

    @property
    def along(self) -> Usage:
        """Of a reply that came along with one of this usage, in the same answer."""
        return Usage(0, 0, 0, self.lost)


@dataclass(frozen=True)
class Answer:
    """``replies`` to requests that differ in their path only, in one answer: as many as came, at least one."""

    replies: tuple[Reply, ...]
    usage: Usage


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))

T = TypeVar("T")
Flow = Generator[Ask | Sequence[Ask], Any, T]
"""Yields one ask or a list; receives one Reply or a list; returns a T."""


@dataclass(frozen=True)
class Path:
    """One sample path of one problem: N chains, or k votes, are paths 0 .. N-1 of the same flow.

    Every choice a method makes by chance is a function of (study seed, problem, path), never of N: draw it from `rng`.
    """

    problem: str
    index: int = 0
    seed: int = 0

    def rng(self, *names: str) -> random.Random:
        """A generator of its own for each purpose ``names``."""
        return random.Random("\x1f".join([str(self.seed), self.problem, str(self.index), *names]))


@dataclass(frozen=True)
class Request:
    """An ask with everything that decides its reply: what drivers hand to engines and stores.

    ``path`` and ``attempt`` tell apart the replies to equal asks. ``decoding`` is settled. Engines answer with one `Reply`.
    ``known``: what was found out of all but the path, once for all requests that differ in nothing else (`on`): the canonical JSON
    under "", the key's beginning under the identity of its engine.
    """

    ask: Call | Score
    decoding: Decoding
    path: int
    attempt: int = 0
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def on(self, path: int) -> Request:
        """The same on another path."""
        return Request(self.ask, self.decoding, path, self.attempt, self.known)

    def differs_in_path(self, other: Request) -> bool:
        """Whether both want draws from the same distribution: replies to both may come in one answer."""
        return (self.ask, self.decoding, self.attempt) == (other.ask, other.decoding, other.attempt)

    @property
    def canonical(self) -> str:
        """Canonical JSON of the request, without role, lineage, seed, n and whatever else does not decide the reply."""
        found: str | None = self.known.get("")
        if found is None:
            found = self.known[""] = _CANONICAL.encode(self._body())
        return found

    def _body(self) -> dict[str, Any]:
        prompt = self.ask.prompt if isinstance(self.ask.prompt, str) else [[m.role, m.content] for m in self.ask.prompt]
        body: dict[str, Any] = {"prompt": prompt}
        if isinstance(self.ask, Score):
            body["score"] = self.ask.text
        else:
            body |= {
                "stop": list(self.ask.stop),
                "max_tokens": self.ask.max_tokens,
                "temperature": self.decoding.temperature,
                "top_p": self.decoding.top_p,
            }
            # Only where they are not the default: replies that were bought before there were beams keep their keys.
            if self.decoding.beams != 1:
                body["beams"] = self.decoding.beams
            if self.decoding.calculator:
                body["calculator"] = True
        return body

    def key(self, identity: str) -> str:
        """The ledger key: engine identity + canonical request + path + attempt (DESIGN section 3)."""
        begun = self.known.get(identity)
        if begun is None:
            text = "\x1f".join([identity, self.canonical, ""])
            begun = self.known[identity] = hashlib.blake2b(text.encode(), digest_size=16)
        whole: hashlib.blake2b = begun.copy()
        whole.update(f"{self.path}\x1f{self.attempt}".encode())
        return whole.hexdigest()

    def noise(self, seed: int) -> int:
        """64 bits from which a local engine draws this row's noise, position by position.

        A function of (seed, request, path, attempt) and not of the engine: rows do not depend on their batch, and two
        students compared on the same problems are given the same noise (common random numbers).
        """
        text = "\x1f".join([str(seed), self.canonical, str(self.path), str(self.attempt)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
