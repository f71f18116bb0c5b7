"""What an OpenAI-compatible server answered, read as a `Reply`: whatever is missing is missing, whatever is of a wrong type too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy.core.asks import Finish, Reply, Usage
from understudy.core.errors import EngineError
from understudy.core.thoughts import has_tags, thought_of
from understudy.engines.remote.wire import short
from understudy.engines.stops import find_stop

_FINISH: Mapping[str, Finish] = {"length": "length", "content_filter": "refused"}


def read(
    answer: Mapping[str, Any], raw: str, stop: Sequence[str], *, chat: bool, n: int = 1, latency: float | None = None
) -> list[Reply]:
    """The first ``n`` choices of ``answer``, by index, without those that cannot be read; an EngineError where none can.

    ``raw``: the answer as it came; where several were asked for, each keeps its own part of it. How many tokens each of several has
    is known by its log-probabilities, None without.
    """
    choices = [choice if isinstance(choice, dict) else {} for choice in answer["choices"]]
    choices.sort(key=lambda choice: index if type(index := choice.get("index")) is int else 0)
    if n == 1:
        return [_read(choices[0], answer, raw, stop, chat=chat, latency=latency)]
    each = [len(_logprobs(choice.get("logprobs"))) for choice in choices]
    told = sum(each) == usage(answer).written
    found: list[Reply] = []
    for choice, tokens in zip(choices[:n], each, strict=False):
        try:
            part = json.dumps({**answer, "choices": [choice]}, ensure_ascii=False)
            reply = _read(choice, answer, part, stop, chat=chat, latency=latency)
        except EngineError as error:
            why = error
        else:
            found.append(reply if len(choices) == 1 else replace(reply, tokens=tokens if told else None))
    if not found:
        raise why
    return found


def usage(answer: Mapping[str, Any]) -> Usage:
    """The tokens that ``answer`` took, all choices together."""
    given = answer.get("usage")
    given = given if isinstance(given, dict) else {}
    return Usage(1, _count(given.get("prompt_tokens")), _count(given.get("completion_tokens")))


def _read(
    choice: Mapping[str, Any], answer: Mapping[str, Any], raw: str, stop: Sequence[str], *, chat: bool, latency: float | None
) -> Reply:
    """One choice, cut at the first of ``stop``. In a chat a thought in tags, or before a lone ``</think>``, is taken out of the
    text as if it had come in a field of its own; a raw completion stays as it is.

    A choice that thinks and says nothing is a reply with an empty text. Raises EngineError where there is neither.
    """
    said = choice.get("finish_reason")
    finish = _FINISH.get(said, "stop") if isinstance(said, str) else "stop"
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = _text(message.get("content")) if chat else _text(choice.get("text"))
    reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or ""
    if text is None and _text(message.get("refusal")):
        text, finish = _text(message["refusal"]), "refused"
    if text is None and not reasoning and finish == "stop":
        raise EngineError(f"a choice without text: {short(json.dumps(choice))}")
    text = text or ""
    # The thought goes first: a stop string in it, or the empty line behind it, ends no answer.
    ended = True
    if chat and not reasoning and has_tags(text):
        reasoning, begin = thought_of(text)
        ended, text = begin is not None, "" if begin is None else text[begin:].lstrip()
    elif reasoning:
        text = text.lstrip()
    at = find_stop(text, stop)
    if at is not None:
        text, finish = text[:at], "stop"
    finish = finish if ended else "length"
    took, logprobs = usage(answer), _logprobs(choice.get("logprobs"))
    return Reply(
        text=_encodable(text),
        finish=finish,
        tokens=took.written,
        prompt_tokens=took.read,
        logprobs=logprobs if at is None else (),
        reasoning=_encodable(reasoning),
        raw=_encodable(raw),
        finish_reason=_encodable(said) if isinstance(said, str) else "",
        model=_encodable(_version(answer)),
        latency=latency,
    )


def refused(answer: str) -> Reply:
    """The reply to a prompt that a server's content filter did not let in, with the server's ``answer``."""
    return Reply("", "refused", tokens=0, raw=_encodable(answer), finish_reason="content_filter")


def gives_logprobs(answer: Mapping[str, Any]) -> bool:
    """Whether the first choice has log-probabilities, of tokens that are cut off here or not."""
    choice = answer["choices"][0]
    return isinstance(choice, dict) and isinstance(choice.get("logprobs"), dict)


def _text(given: Any) -> str | None:
    """A text, or a list of its parts."""
    if isinstance(given, list):
        return "".join(p["text"] for p in given if isinstance(p, dict) and isinstance(p.get("text"), str))
    return given if isinstance(given, str) else None


def _count(given: Any) -> int | None:
    return given if type(given) is int and 0 <= given < 1 << 53 else None


def _logprobs(given: Any) -> tuple[float, ...]:
    """Log-probabilities of the reply's tokens in either API's layout, () where there are none."""
    if not isinstance(given, dict):
        return ()
    values = given.get("token_logprobs")
    if not isinstance(values, list):
        content = given.get("content")
        values = [item.get("logprob") if isinstance(item, dict) else None for item in content] if isinstance(content, list) else []
    return tuple(map(float, values)) if all(type(v) in (int, float) and math.isfinite(v) for v in values) else ()


def _version(answer: Mapping[str, Any]) -> str:
    model, print_ = answer.get("model"), answer.get("system_fingerprint")
    known = model if isinstance(model, str) else ""
    return f"{known} ({print_})".strip() if isinstance(print_, str) and print_ else known


def _encodable(text: str) -> str:
    """``text`` without half characters, which JSON may spell and no file takes."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
