"""What a flow may ask, what it gets back, and the rule that makes a request's identity.

A flow is a generator that is written from the point of view of one problem on one sample path::

    reply = yield Call("student", prompt, stop=("\\n\\n",))          # one call, one Reply
    first, second = yield [Call("student", a), Call("student", b)]   # a list of calls, a list of Replies in that order

A flow does no I/O: a driver (`flows.drive`) runs thousands of flows together. A flow that makes the same call again (a retry)
must use the next ``attempt``, because an equal request on the same path and attempt gets the same reply, which is bought once.
"""

import hashlib
import json
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Annotated, Any, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class AtLeast:
    """The least value of an option: pydantic's ``Ge`` for methods, which import the core alone."""

    ge: int

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), "ge": self.ge}


Count = Annotated[int, AtLeast(1)]
"""The option of a method that is a number of tokens, of turns, ...: at least one."""


@dataclass(frozen=True)
class Message:
    """One chat message; the engine's chat template renders it."""

    role: Literal["system", "user", "assistant"]
    content: str


def amend(value: T, **fields: Any) -> T:
    """A copy of a frozen ``value`` with other ``fields``: `dataclasses.replace` four times as fast, since it asks neither
    ``__init__`` nor ``__post_init__``."""
    copy = object.__new__(type(value))
    copy.__dict__.update(vars(value), **fields)
    return copy


Prompt = str | tuple[Message, ...]
"""A string is a raw completion prompt. Messages go through the engine's chat template."""


def prompt_bytes(prompt: Prompt) -> int:
    """The length of a prompt in bytes of UTF-8."""
    texts = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    return sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)


@dataclass(frozen=True)
class Decoding:
    """How an engine chooses the tokens of a reply.

    ``temperature`` 0 is greedy. ``top_p`` 1 keeps the whole distribution (SCoTD's teacher call sets no top-p: models/gpt3_api.py of
    the authors' code). ``beams`` above 1 is beam search for the reply with the highest probability per token; it needs temperature
    0 (SCoTD's NUM_BEAMS: arXiv 2306.14050, arguments.py of the authors' code). With ``calculator`` the engine writes the value and
    ``>>`` after each expression that the model marks as in GSM8K (``<<48/2=``, arXiv 2110.14168); it does not work with beams.
    ``seed`` is that of the draws; None means the seed of the local engine.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    calculator: bool = False
    seed: int | None = None


GREEDY = Decoding()


@dataclass(frozen=True)
class Call:
    """Asks the engine that plays ``role`` for text.

    ``stop`` strings end the reply and are cut from its text. ``decoding`` None means the decoding that the study sets for the role.
    ``step`` says how many steps of the problem are done, and is never part of the request's identity.
    ``out_of_fold`` asks the fold model of the role that was not trained on this problem. ``hear`` is called with the text so far
    while a local engine writes it, from the engine's thread; where equal calls are under way together, for one of them only.
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
"""The reasons for an end that servers and corpora give, in any case -> what they mean."""


@dataclass(frozen=True)
class Reply:
    """The reply to one call.

    ``text`` is the generated text without its stop string. ``finish`` is ``stop`` (an end token or a stop string came), ``length``
    (the reply was cut off at max_tokens) or ``refused``. ``tokens`` and ``prompt_tokens`` count the engine's tokens and are None
    where the engine does not count them; ``tokens`` includes the end token or stop string and excludes what a calculator wrote.
    ``logprobs`` has the natural log-probability of each of those ``tokens`` under the untempered model, () where the engine gives
    none. ``raw`` is the endpoint's whole answer as JSON text (a list where one reply took several requests). ``reasoning`` is the
    thought that came in a field of its own, or in tags in a chat. ``finish_reason`` is the endpoint's own word for the finish.
    ``model`` is the model version that the endpoint names (``model``, and ``system_fingerprint`` in brackets). ``latency`` is the
    number of seconds from the last sending to the whole answer.
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


def add_counts(*counts: int | None) -> int | None:
    """The sum of ``counts``, None where one of them is not known."""
    return None if None in counts else sum(filter(None, counts))


@dataclass(frozen=True)
class Usage:
    """What one reply of an endpoint cost, or one call that got no reply.

    ``requests`` is the number of requests that were sent. ``read`` and ``written`` count tokens, None where they are not known.
    ``lost`` is the number of requests that got no answer and may have been charged all the same.
    """

    requests: int = 1
    read: int | None = None
    written: int | None = None
    lost: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        read, written = add_counts(self.read, other.read), add_counts(self.written, other.written)
        return Usage(self.requests + other.requests, read, written, self.lost + other.lost)

    @property
    def along(self) -> "Usage":
        """The usage of another reply that came in the same answer: the first reply has paid for it."""
        return Usage(0, 0, 0, self.lost)


@dataclass(frozen=True)
class Answer:
    """One answer with ``replies``, at least one, to requests that differ only in their path."""

    replies: tuple[Reply, ...]
    usage: Usage


@lru_cache(typed=True)
def _frame(
    stop: tuple[str, ...], max_tokens: int, temperature: float, top_p: float, *, beams: int, counts: bool
) -> tuple[str, str]:
    """The canonical JSON of a request before and after its prompt. Most requests differ in their prompt only."""
    body: dict[str, Any] = {"stop": stop, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "prompt": None}
    # Only values other than the default are written: replies that were bought before beams existed keep their keys.
    if beams != 1:
        body["beams"] = beams
    if counts:
        body["calculator"] = True
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    before, _, after = text.partition("null")  # numbers and names come first, so this is the prompt's
    return before, after


Flow = Generator[Call | Sequence[Call], Any, T]
"""Yields one call or a list of calls, receives one Reply or a list of them, and returns a T."""


@dataclass(frozen=True)
class SamplePath:
    """One sample path of one problem: N chains, or N votes, are the paths 0 .. N-1 of the same flow.

    Every random choice of a method is a function of (study seed, problem, path) and never of N, so draw it from `rng`.
    """

    problem: str
    index: int = 0
    seed: int = 0

    def rng(self, *names: str) -> random.Random:
        """The random generator for the purpose ``names``; each purpose has its own."""
        return random.Random("\x1f".join([str(self.seed), self.problem, str(self.index), *names]))


GREEDY_PATH = -1
"""The index of the path on which a teacher writes its one greedy chain, beside those that it samples."""


@dataclass(frozen=True)
class Request:
    """A call with everything that decides its reply. Drivers hand requests to engines and stores.

    ``path`` and ``attempt`` tell the replies to equal calls apart. ``decoding`` is final: neither it nor the study's default can
    change any more. ``problem``: the one that it belongs to, which is no part of its identity. Engines answer with one `Reply`.
    ``begun``: the text with which the reply must begin; drivers and stores never see it, so it is no part of the identity either.
    ``known`` is a cache that all requests share which differ only in their path (see `on`): it holds the canonical JSON under "",
    and the beginning of the key under the identity of each engine.
    """

    ask: Call
    decoding: Decoding
    path: int
    attempt: int = 0
    problem: str | None = field(default=None, compare=False)
    begun: str = field(default="", compare=False)
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def on(self, path: int) -> "Request":
        """The same request on another path."""
        return self if path == self.path else amend(self, path=path)

    def differs_in_path(self, other: "Request") -> bool:
        """Whether both ask for draws from the same distribution, so that one answer may hold the replies to both."""
        return (self.ask, self.decoding, self.attempt) == (other.ask, other.decoding, other.attempt)

    @property
    def canonical(self) -> str:
        """The request as canonical JSON, without role, lineage, seed, n and everything else that does not decide the reply."""
        if "" in self.known:
            return str(self.known[""])
        ask, how = self.ask, self.decoding
        before, after = _frame(ask.stop, ask.max_tokens, how.temperature, how.top_p, beams=how.beams, counts=how.calculator)
        if isinstance(ask.prompt, str):
            prompt = encode_basestring(ask.prompt)
        else:
            prompt = f"[{','.join([f'[{encode_basestring(m.role)},{encode_basestring(m.content)}]' for m in ask.prompt])}]"
        self.known[""] = text = f"{before}{prompt}{after}"
        return text

    def key(self, identity: str) -> str:
        """The ledger key: engine identity + canonical request + path + attempt, and a seed of its own."""
        if identity not in self.known:
            self.known[identity] = hashlib.blake2b(f"{identity}\x1f{self.canonical}\x1f".encode(), digest_size=16)
        key_hash: hashlib.blake2b = self.known[identity].copy()
        seed = "" if self.decoding.seed is None else f"\x1f{self.decoding.seed}"
        key_hash.update(f"{self.path}\x1f{self.attempt}{seed}".encode())
        return key_hash.hexdigest()

    def noise(self, seed: int) -> int:
        """64 bits from which a local engine draws the noise of this request, position by position.

        They are a function of (seed, request, path, attempt) and not of the engine; a seed of the request's own goes before
        ``seed``. So a reply does not depend on the rows beside it, and two students that answer the same problems get the same
        noise (common random numbers).
        """
        seed = seed if self.decoding.seed is None else self.decoding.seed
        text = "\x1f".join([str(seed), self.canonical, str(self.path), str(self.attempt)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
