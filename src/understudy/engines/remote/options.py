"""The keys of [teacher] for ``engine = "endpoint"``: any OpenAI-compatible server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from understudy.core.options import unkeyed
from understudy.core.protocols import AsyncEngine, EngineOptions

KEY = "{key}"
"""The placeholder of the key in headers and query."""
_RESERVED = frozenset(
    "model messages prompt max_tokens max_completion_tokens temperature top_p n seed stop stream stream_options".split()
)
"""Fields of a request that other keys of the study decide."""


@dataclass(frozen=True)
class Endpoint(EngineOptions):
    """A server that speaks the OpenAI protocol: completions or chat, a local one or a provider's."""

    url: str | tuple[str, ...]
    """Its address with ``/v1``, or several addresses that serve one model, which ``identity`` must then name. When one is down, the
    others are asked."""
    model: Annotated[str, Field(min_length=1)]
    """The model's name there."""
    api: Literal["completions", "chat"] = "completions"
    """Raw prompts (``completions``), or messages (``chat``, where a raw prompt becomes one user message)."""
    identity: str | None = None
    """The name of the model in the ledger; by default its url, api and name."""
    key_env: str | None = unkeyed(None)
    """The environment variable that holds the key; the key itself is never written."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request, ``{ reasoning_effort = "low", top_k = 20 }``: what the server offers besides the protocol.
    They decide the reply, so they are part of the model's name in the ledger."""
    headers: Mapping[str, str] = unkeyed(factory=dict)
    """Further headers of each request. ``{key}`` in one stands for the key, which is then sent nowhere else:
    ``{ api-key = "{key}" }``."""
    query: Mapping[str, str] = unkeyed(factory=dict)
    """What follows each address after a question mark, ``{ api-version = "2024-10-21" }``; ``{key}`` as in ``headers``."""
    concurrency: Annotated[int, Field(ge=1)] = unkeyed(64)
    """Most requests at once; fewer when the server refuses some (HTTP 429)."""
    n: Annotated[int, Field(ge=1)] = unkeyed(8)
    """Most chains of one question that one request asks for: a prompt that they share (no shuffled exemplars) is read and paid for
    once. If a server gives only one choice, later requests ask for one at a time."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = unkeyed(None)
    """How many requests each address may get, spread evenly; no limit by default."""
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = unkeyed(None)
    """How many tokens each address may read and write, spread evenly; no limit by default."""
    timeout: Annotated[float, Field(gt=0)] = unkeyed(600.0)
    """Seconds for one answer, from sending the request to the answer's end (the default of OpenAI's own client)."""
    retries: Annotated[int, Field(ge=0)] = unkeyed(4)
    """Further tries after a timeout, a broken connection or answer, or a 5xx; a refusal (429) does not count as a try."""
    stream: bool = unkeyed(False)
    """Receive answers in chunks (server-sent events), for servers and proxies that cut a silent connection."""
    logprobs: bool = unkeyed(False)
    """Require log-probabilities: the run ends if the server sends none. They are requested in any case, unless ``body``
    says ``logprobs = false``."""
    batch: bool = unkeyed(False)
    """Collect requests, upload them as a file and get the answers within a day, at a lower price (the OpenAI batch protocol;
    docs/sampling.md). Nothing is bought twice: replies that were bought one by one stay, and the other way round."""
    poll: Annotated[float, Field(ge=0.01)] = unkeyed(60.0)
    """Seconds between two looks at a batch (60: the default of bespokelabs-curator)."""

    paid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError('url must be given, e.g. "http://localhost:8000/v1"')
        if not isinstance(self.url, str) and len(self.url) > 1 and self.identity is None:
            raise ValueError(f"url = {list(self.url)}: identity must be given, to name the model that they all serve")
        for name in self.body:
            if name in _RESERVED:
                raise ValueError(f"body.{name} = {self.body[name]!r}: other keys of the study decide this field; leave it out")
        for option, table in {"headers": self.headers, "query": self.query}.items():
            for name, value in table.items():
                if not name.isascii() or not f"{name}{value}".isprintable():
                    raise ValueError(f"{option}: {name!r} = {value!r} has characters that cannot be sent")
                if KEY in value and self.key_env is None:
                    raise ValueError(f"{option}.{name} = {value!r}: needs key_env, the variable that holds the key")

    def check(self, task: Any, *, chats: bool) -> None:  # noqa: ARG002 - as the protocol has it
        """Raise ValueError if prompts are messages and the API takes raw text."""
        if self.api == "completions" and chats:
            raise ValueError('options.format.style = "messages": messages need teacher.api = "chat"')

    def open(self, *, task: Any, seed: int) -> AsyncEngine:  # noqa: ARG002 - as the protocol has it
        """Open the engine; nothing is sent yet. Raises StudyError if the key's variable is not set."""
        from understudy.engines.remote.endpoint import EndpointEngine

        return EndpointEngine(self)

    def describe(self) -> Mapping[str, Any]:
        return {"model": self.model, "api": self.api} | ({"body": self.body} if self.body else {})
