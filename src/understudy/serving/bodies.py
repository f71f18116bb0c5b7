"""What clients may send, read strictly: a field that would change the answer but is not supported is refused, not ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, cast

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from starlette.requests import Request as HttpRequest

from understudy.studies.schema import list_keys

MAX_BYTES = 4 * 2**20
"""Most bytes of a body."""
IGNORED = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
"""Fields that have no effect on the text."""
DEFAULTS: tuple[Any, ...] = (0, False, {}, [], None, "none", "auto", {"type": "text"})
"""Values of an unknown field that ask for nothing."""
KINDS = {401: "authentication_error", 402: "insufficient_quota", 429: "rate_limit_error"}
"""Status -> type of the error, besides the usual two."""

T = TypeVar("T")


class ApiError(Exception):
    """An error of the client or of this server: an HTTP ``status``, and a body in OpenAI's form."""

    def __init__(self, status: int, message: str, param: str = "", code: str = "") -> None:
        super().__init__(message)
        kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.status, self.body = status, {"error": {"message": message, "type": kind, "param": param or None, "code": code or None}}


@dataclass(frozen=True, kw_only=True)
class AnyBody:
    """The fields that both kinds of completions have. A field that is not given is as in the student's arm."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] = 1
    seed: int | None = None
    stop: str | tuple[str, ...] = ()
    stream: bool = False
    stream_options: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ChatBody(AnyBody):
    """A question, with ``choices`` if it has options. ``reasoning_format``: the reasoning comes in a field of its own (parsed), in
    ``<think>`` before the answer (raw), or not at all (hidden)."""

    messages: tuple[Mapping[str, Any], ...]
    choices: tuple[str, ...] = ()
    reasoning_format: Literal["parsed", "raw", "hidden"] = "parsed"

    @property
    def question(self) -> str:
        """The text of the one message. Raises ApiError for a conversation, because a student was trained to answer one question."""
        roles = [message.get("role") for message in self.messages]
        if roles != ["user"]:
            hint = "a student answers one question: send one message, of the role user"
            raise ApiError(400, f"messages have the roles {roles}: {hint}", "messages")
        content = self.messages[0].get("content")
        if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            content = "".join(str(part.get("text") or "") for part in content)
        if not isinstance(content, str) or not content.strip():
            raise ApiError(422, f"messages[0].content = {content!r}: must be text, the question", "messages")
        return content


@dataclass(frozen=True, kw_only=True)
class CompletionBody(AnyBody):
    """Raw text, or its tokens, for the student to continue; with ``echo`` and ``logprobs`` it is scored."""

    prompt: str | tuple[str, ...] | tuple[int, ...] | tuple[tuple[int, ...], ...]
    max_tokens: Annotated[int, Field(ge=0, le=2**15)] = 16  # OpenAI's
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def prompts(self) -> Sequence[str | tuple[int, ...]]:
        """The texts, or their tokens."""
        is_single = isinstance(self.prompt, str) or (self.prompt and isinstance(self.prompt[0], int))
        return cast(Sequence[Any], [self.prompt] if is_single else self.prompt)

    @property
    def texts(self) -> list[str]:
        """The texts to continue."""
        texts = [prompt for prompt in self.prompts if isinstance(prompt, str)]
        if not all(texts):
            raise ApiError(422, "prompt: must have at least one character", "prompt")
        if len(texts) * self.n > 2048:  # OpenAI's limit
            raise ApiError(400, f"prompt: {len(texts):,} texts times n = {self.n} are more than 2,048", "prompt")
        if not texts or len(texts) < len(self.prompts) or not self.max_tokens:
            reason = "without logprobs a prompt must be text and max_tokens at least 1 (lm-eval: tokenized_requests=False)"
            raise ApiError(400, reason, "prompt")
        return texts


async def read_body(request: HttpRequest, kind: type[T]) -> T:
    """Read the body of ``request``. Raises ApiError if it is not one of ``kind``."""
    text = b""
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_BYTES:
            raise ApiError(413, f"the body has more than {MAX_BYTES:,} bytes")
    try:
        table = orjson.loads(text)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise ApiError(422, "the body must be a JSON object")
    keys = list_keys(kind)
    if (limit := table.pop("max_completion_tokens", None)) is not None:
        table["max_tokens"] = limit
    for name, value in table.items():
        if name not in keys and name not in IGNORED and value not in DEFAULTS:
            raise ApiError(400, f"{name} = {value!r}: is not supported; leave it out (known: {', '.join(keys)})", name)
    values = {name: value for name, value in table.items() if name in keys and value is not None}
    try:
        return cast(T, _ADAPTERS[kind].validate_json(orjson.dumps(values), strict=True))
    except TypeError as error:  # too deep
        raise ApiError(422, f"the body cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = f"{name} = {first['input']!r}: {first['msg']}" if name in values else f"{name} must be given"
        raise ApiError(422, reason, name) from None


_ADAPTERS: Mapping[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (ChatBody, CompletionBody)}
