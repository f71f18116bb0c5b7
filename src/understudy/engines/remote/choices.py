"""Reads the answer of an OpenAI-compatible server as replies. A field of the wrong type counts as missing."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from understudy.core.asks import FINISHES, Reply, Usage
from understudy.core.errors import EngineError
from understudy.core.thoughts import has_tags, split_thought
from understudy.core.values import object_in
from understudy.engines.remote.wire import RetryError, shorten
from understudy.engines.stops import find_stop

_FAULTS = frozenset("error abort aborted cancelled failed timeout network_error server_error insufficient_system_resource".split())
"""Finish reasons that mean that the server broke off in the middle."""
_THOUGHT = ("thinking", "reasoning", "reasoning.text", "reasoning.summary")
"""The types of a part that is a thought."""


def read_choices(answer: Mapping[str, Any], raw: str, stop: Sequence[str], *, chat: bool, n: int) -> list[Reply]:
    """Read the first ``n`` choices of ``answer``, by index, without those that cannot be read. Raises EngineError if none can.

    ``raw`` is the answer as it came; if several choices were requested, each keeps its own part of it. With several choices, the
    number of tokens of each is known from its log-probabilities, and is None without them.
    """
    choices = [choice if isinstance(choice, dict) else {} for choice in answer["choices"]]
    choices.sort(key=lambda choice: index if type(index := choice.get("index")) is int else 0)
    if n == 1:
        return [_read_choice(choices[0], answer, raw, stop, chat=chat)]
    lengths = [len(_read_logprobs(choice.get("logprobs"))) for choice in choices]
    is_complete = sum(lengths) == read_usage(answer).written
    replies: list[Reply] = []
    for choice, tokens in zip(choices[:n], lengths, strict=False):
        with suppress(EngineError, RetryError):
            part = json.dumps({**answer, "choices": [choice]}, ensure_ascii=False)
            reply = _read_choice(choice, answer, part, stop, chat=chat)
            replies.append(reply if len(choices) == 1 else replace(reply, tokens=tokens if is_complete else None))
    # If none can be read, reading the first one raises the reason.
    return replies or [_read_choice(choices[0], answer, raw, stop, chat=chat)]


def read_usage(answer: Mapping[str, Any]) -> Usage:
    """Read the tokens that ``answer`` took, all choices together."""
    counts = object_in(answer, "usage")
    read, written = _read_count(counts.get("prompt_tokens")), _read_count(counts.get("completion_tokens"))
    if not read:  # a server that says 0 does not count: no prompt has no tokens
        read, written = None, written or None
    total = _read_count(counts.get("total_tokens"))
    if read is not None and total is not None:  # some servers count hidden thoughts in the total only
        written = max(written or 0, total - read)
    thought = _read_count(object_in(counts, "completion_tokens_details").get("reasoning_tokens"))
    if thought and thought > (written or 0):  # then thoughts are not counted among the written
        written = (written or 0) + thought
    return Usage(1, read, written)


def _read_choice(choice: Mapping[str, Any], answer: Mapping[str, Any], raw: str, stop: Sequence[str], *, chat: bool) -> Reply:
    """Read one choice, cut at the first of ``stop``. In a chat, a thought in tags or before a lone ``</think>`` is taken out of the
    text as if it had come in a field of its own; a raw completion stays as it is.

    A choice with a thought and no text is a reply with an empty text. Raises EngineError if there is neither, RetryError if the
    server broke off.
    """
    reason = choice.get("finish_reason")
    reason = reason if isinstance(reason, str) else ""
    if reason.lower() in _FAULTS or choice.get("error"):
        raise RetryError(f"the server broke off ({choice.get('error') or f'finish_reason {reason!r}'})", paid=True)
    finish = FINISHES.get(reason.lower().partition(":")[0], "stop")
    message = object_in(choice, "message")
    text = _read_text(message.get("content")) if chat else _read_text(choice.get("text"))
    reasoning = _read_thought(message)
    if text is None and _read_text(message.get("refusal")):
        text, finish = _read_text(message["refusal"]), "refused"
    if text is None and not reasoning and finish == "stop":
        raise EngineError(f"the choice has no text: {shorten(json.dumps(choice))}")
    text = text or ""
    # Take the thought out first: a stop string in it, or the empty line after it, does not end the answer.
    if chat and has_tags(text):
        thought, start = split_thought(text)
        reasoning = reasoning or thought  # some gateways send it in both places
        text = "" if start is None else text[start:].lstrip()
        finish = "length" if start is None else finish
    elif reasoning:
        text = text.lstrip()
    if (end := find_stop(text, stop)) is not None:
        text, finish = text[:end], "stop"
    usage, logprobs = read_usage(answer), _read_logprobs(choice.get("logprobs"))
    return Reply(
        text=_make_encodable(text),
        finish=finish,
        tokens=usage.written,
        prompt_tokens=usage.read,
        logprobs=logprobs if end is None else (),
        reasoning=_make_encodable(reasoning),
        raw=_make_encodable(raw),
        finish_reason=_make_encodable(reason),
        model=_make_encodable(_read_version(answer)),
    )


def make_refusal(answer: str) -> Reply:
    """Make the reply to a prompt that a server's content filter refused, with the server's ``answer``."""
    return Reply("", "refused", tokens=0, raw=_make_encodable(answer), finish_reason="content_filter")


def gives_logprobs(answer: Mapping[str, Any]) -> bool:
    """Tell whether the first choice has log-probabilities, even of tokens that are cut off here."""
    choice = answer["choices"][0]
    return isinstance(choice, dict) and any(isinstance(value, list) for value in object_in(choice, "logprobs").values())


def _read_text(value: Any) -> str | None:
    """Read a text, or the parts of one except thoughts."""
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, dict) and part.get("type") not in _THOUGHT]
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return value if isinstance(value, str) else None


def _read_thought(message: Mapping[str, Any]) -> str:
    """Read the thought from the first field of a message that has one: a text, or parts, some of which may be the reply itself."""
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks", "content"):
        value = message.get(name)
        if isinstance(value, str) and value and name != "content":
            return value
        if isinstance(value, list):
            parts = [part for part in value if isinstance(part, dict) and (name != "content" or part.get("type") in _THOUGHT)]
            if thought := "".join(map(_read_part, parts)):
                return thought
    return ""


def _read_part(part: Mapping[str, Any]) -> str:
    """Read the text of a part of a thought: Mistral's holds parts of its own, OpenRouter's may be a summary."""
    return next(filter(None, (_read_text(part.get(name)) for name in ("text", "thinking", "reasoning", "summary"))), "")


def _read_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def _read_logprobs(value: Any) -> tuple[float, ...]:
    """Read the log-probabilities of the reply's tokens in either API's layout; () if there are none."""
    if not isinstance(value, dict):
        return ()
    values = value.get("token_logprobs")
    if not isinstance(values, list):
        content = value.get("content")
        values = [item.get("logprob") if isinstance(item, dict) else None for item in content] if isinstance(content, list) else []
    return tuple(map(float, values)) if all(type(v) in (int, float) and abs(v) < 1e300 for v in values) else ()  # none is NaN


def _read_version(answer: Mapping[str, Any]) -> str:
    model, fingerprint = answer.get("model"), answer.get("system_fingerprint")
    name = model if isinstance(model, str) else ""
    return f"{name} ({fingerprint})".strip() if isinstance(fingerprint, str) and fingerprint else name


def _make_encodable(text: str) -> str:
    """Replace half characters (lone surrogates) in ``text``, which JSON can write but no file can."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
