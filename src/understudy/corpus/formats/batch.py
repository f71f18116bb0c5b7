"""The OpenAI Batch API: its output file, and the input file that says what each ``custom_id`` asked.

    {"id": "...", "custom_id": "coin-7", "response": {"status_code": 200, "body": {"model": "...", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "... no"}, "finish_reason": "stop"}]}}, "error": null}
    {"custom_id": "coin-7", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [...]}}

A ``custom_id`` is the id of a problem, or of a request in an input file that is imported with the output. Lines may be in any
order. A request that failed has an ``error``, or a status other than 200. An export writes the problem's id as the ``custom_id``.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.core.errors import DataError
from understudy.core.thoughts import add_thought
from understudy.core.values import OPENAI_FINISHES, Chain, Problem, object_in
from understudy.corpus.formats.chat import NO_TEXT, join_parts, read_last_exchange, read_turns
from understudy.corpus.formats.record import BatchRequest, FileFormat, LostRow, Read, Record, Row, read_finish, read_hints

_SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "seed", "stop", "reasoning_effort")


def _read(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    if row.get("custom_id") is None:
        raise DataError(f"{location}: field 'custom_id' is missing (the row has: {', '.join(row)})")
    if isinstance(row.get("body"), dict):
        yield _read_request(row["body"], str(row["custom_id"]), location)
    else:
        yield from _read_answers(row, names, location)


def _read_request(body: Row, name: str, location: str) -> Read:
    facts: dict[str, Any] = {
        "problem": str(object_in(body, "metadata").get("problem_id") or ""),
        "sampling": {key: body[key] for key in _SAMPLING if key in body},
    }
    if isinstance(body.get("prompt"), str):
        return BatchRequest(location, name, body["prompt"], body["prompt"], **facts)
    turns = read_turns(body.get("messages"), location)
    if isinstance(turns, LostRow):  # then only the custom_id can find its problem
        return BatchRequest(location, name, "", "", **facts)
    exchange = read_last_exchange([*turns, ("assistant", "")], location)
    return BatchRequest(location, name, exchange["question"], exchange["prompt"], **facts)


def _read_answers(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    response = row.get("response")
    if row.get("error") or not isinstance(response, dict) or response.get("status_code") != 200:
        yield LostRow(f"failed: {_describe_failure(row)}")
        return
    body = object_in(response, "body")
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise DataError(f"{location}: response.body has no list of choices: {str(response.get('body'))[:60]!r}")
    facts = read_hints(row, names, location)
    facts |= {"problem_ids": (str(row["custom_id"]), *facts["problem_ids"]), "row_id": "", "teacher": str(body.get("model") or "")}
    tokens = object_in(body, "usage").get("completion_tokens")
    if len(choices) == 1 and isinstance(tokens, int):
        facts["tokens"] = tokens
    for choice in choices:
        yield _read_choice(choice, facts, names, location)


def _read_choice(choice: Row, facts: Mapping[str, Any], names: Mapping[str, str], location: str) -> Read:
    if choice.get("finish_reason") in ("tool_calls", "function_call"):
        return LostRow("with tool calls")
    finish = read_finish(choice, names, location)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    text = join_parts(message.get("content"), location)
    if text is None:
        return NO_TEXT
    if not text and isinstance(message.get("refusal"), str) and message["refusal"]:
        text, finish = message["refusal"], "refused"
    text = add_thought(message.get("reasoning_content") or message.get("reasoning"), text)
    return Record(text=text, **{**facts, "finish": finish, "logprob": _mean_logprob(object_in(choice, "logprobs").get("content"))})


def _mean_logprob(tokens: Any) -> float | None:
    values = [token.get("logprob") if isinstance(token, dict) else None for token in tokens] if isinstance(tokens, list) else []
    logprobs = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return math.fsum(logprobs) / len(logprobs) if logprobs and len(logprobs) == len(values) else None


def _describe_failure(row: Row) -> str:
    response, error = row.get("response"), row.get("error")
    if isinstance(error, dict):
        return str(error.get("code") or error.get("message") or "an error")[:40]
    return f"status {response.get('status_code')}" if isinstance(response, dict) else "no response"


def _write(problem: Problem, chain: Chain) -> Row:
    choice = {"index": 0, "message": {"role": "assistant", "content": chain.text}, "finish_reason": OPENAI_FINISHES[chain.finish]}
    body: Row = {"object": "chat.completion", "model": chain.teacher, "choices": [choice]}
    if chain.tokens is not None:
        body["usage"] = {"completion_tokens": chain.tokens}
    return {"id": chain.id, "custom_id": problem.id, "response": {"status_code": 200, "body": body}, "error": None}


BATCH = FileFormat(
    name="openai-batch",
    needs="the fields 'custom_id' and 'response' (output) or 'body' (input)",
    fits=lambda rows, _names: all("custom_id" in row and ({"response", "error", "body"} & set(row)) for row in rows),
    read=_read,
    reads=("custom_id", "response", "error", "body", "method", "url"),
    write=_write,
    mapped=False,
)
