"""Define what a flow may ask, what it gets back, and what makes two requests the same.

A flow is a generator, written from the point of view of one problem on one sample path::

    reply = yield Call("student", prompt, stop=("\\n\\n",))          # one call, one Reply
    first, second = yield [Call("student", a), Call("student", b)]   # a list of calls, a list of Replies in that order

A flow does no I/O: a driver (`flows.drive`) runs thousands of flows together. A flow that repeats a call (a retry) must use the
next ``attempt``: equal requests on the same path and attempt share one reply, which is bought once.
"""

import hashlib
import json
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

T = TypeVar("T")
CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
"""Writes JSON of which there is only one text for a value."""


@dataclass(frozen=True)
class AtLeast:
    """The minimum of an option: pydantic's ``Ge`` for methods, which import only the core."""

    ge: int

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), "ge": self.ge}


Count = Annotated[int, AtLeast(1)]
"""An option of a method that counts tokens, turns and the like: at least one."""


@dataclass(frozen=True)
class Message:
    """One chat message; the engine's chat template renders it."""

    role: Literal["system", "user", "assistant"]
    content: str


def amend(value: T, **fields: Any) -> T:
    """Return a copy of a frozen ``value`` with other ``fields``. It is four times as fast as `dataclasses.replace`, because it
    calls neither ``__init__`` nor ``__post_init__``."""
    copy = object.__new__(type(value))
    copy.__dict__.update(vars(value), **fields)
    return copy


Prompt = str | tuple[Message, ...]
"""A string is a raw completion prompt. Messages go through the engine's chat template."""


def prompt_bytes(prompt: Prompt) -> int:
    """Return the length of a prompt in bytes of UTF-8."""
    texts = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    return sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)


@dataclass(frozen=True)
class Decoding:
    """How an engine chooses the tokens of a reply.

    ``temperature`` 0 is greedy. ``top_p`` 1 keeps the whole distribution (SCoTD's teacher call sets no top-p: models/gpt3_api.py
    of the authors' code). ``beams`` above 1 is beam search for the reply with the highest probability per token. It needs
    temperature 0 (SCoTD's NUM_BEAMS: arXiv 2306.14050, arguments.py of the authors' code). With ``calculator`` the engine writes
    the value and ``>>`` after each expression that the model marks as in GSM8K (``<<48/2=``, arXiv 2110.14168). It does not work
    with beams. ``seed`` seeds the draws; None means the local engine's seed.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    calculator: bool = False
    seed: int | None = None


GREEDY = Decoding()


@dataclass(frozen=True)
class Call:
    """A request for text from the engine that plays ``role``.

    ``stop`` strings end the reply and are cut from its text. With ``decoding`` None, the study's decoding for the role applies.
    ``step`` counts the steps of the problem that are done; it is never part of the request's identity. ``out_of_fold`` asks the
    role's fold model that was not trained on this problem. While a local engine writes the reply, it calls ``hear`` with the text
    so far, from the engine's thread; where equal calls run together, for only one of them.
    """

    role: str
    prompt: Prompt
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    decoding: Decoding | None = None
    attempt: int = 0
    step: int = field(default=0, compare=False)
    out_of_fold: bool = False
    hear: Callable[[str], None] | None = field(default=None, compare=False)


Finish = Literal["stop", "length", "refused"]
FINISHES: Mapping[str, Finish] = {
    **dict.fromkeys("stop eos eos_token end_turn stop_sequence completed tool_calls function_call".split(), "stop"),
    **dict.fromkeys("length max_length max_tokens model_length max_output_tokens model_context_window_exceeded".split(), "length"),
    **dict.fromkeys("refused content_filter content_filtered guardrail_intervened sensitive safety refusal".split(), "refused"),
    **dict.fromkeys("recitation prohibited_content blocklist spii".split(), "refused"),
}
"""Finish reasons that servers and corpora report (in any case) -> their meaning."""


@dataclass(frozen=True)
class Reply:
    """The reply to one call.

    ``text`` is the generated text without its stop string. ``finish`` is ``stop`` (an end token or a stop string came), ``length``
    (the reply was cut off at max_tokens) or ``refused``. ``tokens`` and ``prompt_tokens`` count the engine's tokens and are None
    where the engine does not count them; ``tokens`` includes the end token or stop string and excludes what a calculator wrote.
    ``logprobs`` has the natural log-probability of each of those ``tokens`` under the untempered model, () where the engine
    reports none. ``raw`` is the endpoint's whole answer as JSON text (a list where one reply took several requests). ``reasoning``
    is the thought that came in its own field, or in tags in a chat. ``finish_reason`` is the endpoint's own word for the finish.
    ``model`` is the model version that the endpoint names (``model``, and ``system_fingerprint`` in brackets). ``latency`` is the
    number of seconds from the last time the request was sent to the whole answer.
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


def add_counts(*counts: int | None) -> int | None:
    """Return the sum of ``counts``, None where one of them is unknown."""
    return None if None in counts else sum(filter(None, counts))


@dataclass(frozen=True)
class Usage:
    """The cost of one reply of an endpoint, or of one call that got no reply.

    ``requests`` is the number of requests sent. ``read`` and ``written`` count tokens, None where unknown. ``lost`` is the number
    of requests that got no answer but may have been charged.
    """

    requests: int = 1
    read: int | None = None
    written: int | None = None
    lost: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        read, written = add_counts(self.read, other.read), add_counts(self.written, other.written)
        return Usage(self.requests + other.requests, read, written, self.lost + other.lost)

    @property
    def for_siblings(self) -> "Usage":
        """The usage of another reply from the same answer, whose cost the first reply carries."""
        return Usage(0, 0, None if self.written is None else 0, self.lost)


@dataclass(frozen=True)
class Answer:
    """One answer to requests that differ only in their path. It has at least one of ``replies``."""

    replies: tuple[Reply, ...]
    usage: Usage


Flow = Generator[Call | Sequence[Call], Any, T]
"""A generator that yields one call or a list of calls, receives one Reply or a list of them, and returns a T."""


@dataclass(frozen=True)
class SamplePath:
    """One sample path of one problem: N chains, or N votes, are the paths 0 .. N-1 of the same flow.

    Every random choice of a method depends on (study seed, problem, path) and never on N, so draw it from `rng`.
    """

    problem: str
    index: int = 0
    seed: int = 0

    def rng(self, *names: str) -> random.Random:
        """Return the random generator for the purpose ``names``; each purpose has its own."""
        return random.Random("\x1f".join([str(self.seed), self.problem, str(self.index), *names]))


GREEDY_PATH = -1
"""The index of the path on which a teacher writes its one greedy chain, next to the sampled ones."""


@dataclass(frozen=True)
class Request:
    """A call with everything that decides its reply. Drivers pass requests to engines and stores.

    ``path`` and the call's ``attempt`` distinguish the replies to equal calls. ``decoding`` is final: nothing, not even the study's
    default, changes it any more. ``problem`` is the problem that the request belongs to; it is not part of the identity. Engines
    answer with one `Reply`. ``begun`` is the text that the reply must begin with; drivers and stores never see it, so it is not
    part of the identity either. ``cache`` is shared by all requests that differ only in their path (see `with_path`). It
    holds the canonical JSON under "", and the beginning of the key under the identity of each engine.
    """

    ask: Call
    decoding: Decoding
    path: int
    problem: str | None = field(default=None, compare=False)
    begun: str = field(default="", compare=False)
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def with_path(self, path: int) -> "Request":
        """Return the same request on another path."""
        return self if path == self.path else amend(self, path=path)

    def differs_in_path(self, other: "Request") -> bool:
        """Return whether both ask for draws from the same distribution, so that one answer may hold the replies to both."""
        return (self.ask, self.decoding) == (other.ask, other.decoding)

    @property
    def canonical(self) -> str:
        """The request as canonical JSON, without role, lineage, seed, n and everything else that does not decide the reply."""
        if "" not in self.cache:
            ask, how = self.ask, self.decoding
            prompt = ask.prompt if isinstance(ask.prompt, str) else [(message.role, message.content) for message in ask.prompt]
            body = {"stop": ask.stop, "max_tokens": ask.max_tokens, "temperature": how.temperature, "top_p": how.top_p}
            # Write only values other than the default, so that replies bought before beams existed keep their keys.
            rare = ({"beams": how.beams} if how.beams != 1 else {}) | ({"calculator": True} if how.calculator else {})
            self.cache[""] = CANONICAL.encode({**body, **rare, "prompt": prompt})
        return str(self.cache[""])

    def key(self, identity: str) -> str:
        """Return the ledger key: engine identity + canonical request + path + attempt (+ the request's own seed)."""
        if identity not in self.cache:
            self.cache[identity] = hashlib.blake2b(f"{identity}\x1f{self.canonical}\x1f".encode(), digest_size=16)
        key_hash: hashlib.blake2b = self.cache[identity].copy()
        seed = "" if self.decoding.seed is None else f"\x1f{self.decoding.seed}"
        key_hash.update(f"{self.path}\x1f{self.ask.attempt}{seed}".encode())
        return key_hash.hexdigest()

    def noise(self, seed: int) -> int:
        """Return 64 bits from which a local engine draws the noise of this request, position by position.

        They depend on (seed, request, path, attempt), not on the engine; the request's own seed takes precedence over ``seed``. So
        a reply does not depend on the other rows of its batch, and two students that answer the same problems get the same noise
        (common random numbers).
        """
        seed = seed if self.decoding.seed is None else self.decoding.seed
        text = "\x1f".join([str(seed), self.canonical, str(self.path), str(self.ask.attempt)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
