"""Puts together an answer that comes as a stream of chunks (server-sent events), as if it had come in one piece."""

import json
from itertools import takewhile
from typing import Any

_TEXTS = ("content", "reasoning_content", "reasoning", "thinking", "refusal", "reasoning_details", "thinking_blocks")


def merge_events(text: str) -> dict[str, Any]:
    """Merge the events of ``text`` into an answer in the layout of one that is not streamed. If one is an error, return that, and
    whether text ``began`` before it.

    Raises ValueError if a chunk is broken, or the stream ends before each choice has its finish reason: some servers send no
    ``[DONE]``, and others send it after an error, too.
    """
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for data in takewhile(lambda data: data.strip() != "[DONE]", _split_events(text)):
        chunk = json.loads(data)
        parts = chunk.get("choices") or [] if isinstance(chunk, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise ValueError(f"a chunk has an unknown layout: {data[:100]}")
        if chunk.get("error"):
            return {"error": chunk["error"], "began": bool(choices)}
        answer |= {k: v for k, v in chunk.items() if k not in ("choices", "object") and v is not None}
        for part in parts:
            index = part.get("index")
            _merge_part(choices.setdefault(index if isinstance(index, int) else 0, {"finish_reason": None}), part)
    if not choices or not all(choice["finish_reason"] for choice in choices.values()):
        raise ValueError("the stream ended in the middle")
    return answer | {"choices": [choices[index] | {"index": index} for index in sorted(choices)]}


def _to_parts(value: str | list[Any] | None) -> list[Any]:
    """Return a text as a list of parts; parts as they are."""
    return ([{"type": "text", "text": value}] if value else []) if isinstance(value, str) else value or []


def _split_events(text: str) -> list[str]:
    """List the ``data`` of each event; comments alone, which keep a connection alive, have none."""
    events = text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n")
    lines = [[line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:")] for event in events]
    return ["\n".join(data) for data in lines if any(data)]


def _merge_part(choice: dict[str, Any], part: dict[str, Any]) -> None:
    """Add the chunk ``part`` of a choice to ``choice``, what has come of it so far."""
    choice["finish_reason"] = "error" if part.get("error") else part.get("finish_reason") or choice["finish_reason"]
    if isinstance(part.get("text"), str):
        choice["text"] = choice.get("text", "") + part["text"]
    if isinstance(delta := part.get("delta"), dict):
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        for name in _TEXTS:
            piece, previous = delta.get(name), message.get(name)
            if isinstance(piece, str) and isinstance(previous, str | None):
                message[name] = (previous or "") + piece
            elif isinstance(piece, str | list):  # parts, as for Mistral's texts and thoughts
                message[name] = _to_parts(previous) + _to_parts(piece)
    if isinstance(added := part.get("logprobs"), dict):
        logprobs = choice.setdefault("logprobs", {})
        for name, values in added.items():
            if isinstance(values, list):
                logprobs[name] = [*logprobs.get(name, []), *values]
