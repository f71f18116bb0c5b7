"""What clients get: OpenAI's objects. Each choice of a chat has Understudy's own additions under ``understudy``."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from understudy.core.answers import extract
from understudy.core.asks import Flow, Reply
from understudy.core.thoughts import split_thought
from understudy.core.values import OPENAI_FINISHES, AnswerKind, Chain, Problem, Solution
from understudy.core.vote import vote
from understudy.serving.bodies import ApiError, CompletionBody
from understudy.studies.options import Decode

if TYPE_CHECKING:
    from understudy.engines.local.engine import TransformersEngine

JsonObject = dict[str, Any]

OPEN, CLOSE = "<think>\n", "\n</think>\n\n"
_SENTENCES = re.compile(r".*[.!?\n](?=\s)", re.DOTALL)


def make_choice(index: int, problem: Problem, solutions: Sequence[Solution], decode: Decode, reasoning: str) -> JsonObject:
    """Make a choice of the winner of the vote of ``solutions`` to ``problem``, in the words of the first with that answer. Its
    ``reasoning`` has a field of its own ("parsed"), comes in ``<think>`` before the answer ("raw"), or is left out ("hidden")."""
    winner = vote(solutions, weighted=decode.weighted)
    solution = winner.winner or solutions[0]
    details = {"answer": winner.answer, "agreement": winner.share, "votes": winner.weights, "text": solution.text}
    message = _write_message(problem, solution.text, reasoning)
    return {"index": index, "message": message, "finish_reason": solution.finish, "logprobs": None, "understudy": details}


def replace_choice(choice: JsonObject, problem: Problem, chain: Chain, reasoning: str) -> JsonObject:
    """Replace the text of a student's ``choice`` by the teacher's ``chain``; the student's votes stay."""
    details = choice["understudy"] | {"answer": chain.answer, "text": chain.text, "answered_by": "teacher"}
    message = _write_message(problem, chain.text, reasoning)
    return choice | {"message": message, "finish_reason": OPENAI_FINISHES[chain.finish], "understudy": details}


def _write_message(problem: Problem, text: str, reasoning: str) -> JsonObject:
    thought, answer = split_text(problem, text)
    message = {"role": "assistant", "content": answer}
    if thought and reasoning == "raw":
        message["content"] = f"{OPEN}{thought}{CLOSE}{answer}"
    elif thought and reasoning == "parsed":
        message["reasoning_content"] = thought
    return message


def split_text(problem: Problem, text: str) -> tuple[str, str]:
    """Split a reply into (the reasoning, the sentence that states the answer). If no statement is separate from the reasoning, the
    whole text is the answer."""
    thought, answer_start = split_thought(text)
    if answer_start != 0:
        return thought, text[len(text) if answer_start is None else answer_start :].strip()
    start = extract(text, problem.kind, problem.choices, problem.question, problem.form).start
    return (text[:start].strip(), text[start:].strip()) if text[start:].strip() else ("", text.strip())


def write_partial(problem: Problem, reasoning: str, text: str) -> dict[str, str]:
    """Return the message so far of a reply that begins with ``text``: the complete sentences of its reasoning, before any that
    states an answer."""
    sentences = _SENTENCES.match(text)
    thought = _find_thought(sentences[0], problem.kind, problem.choices, problem.question, problem.form) if sentences else ""
    if not thought or reasoning == "hidden":
        return {}
    return {"role": "assistant", **({"content": OPEN + thought} if reasoning == "raw" else {"reasoning_content": thought})}


@lru_cache(maxsize=4096)  # called for every token, but changes only with every sentence
def _find_thought(text: str, kind: AnswerKind, choices: tuple[str, ...], question: str, form: str) -> str:
    thought, answer_start = split_thought(text)
    return thought if answer_start != 0 else text[: extract(text, kind, choices, question, form).start].strip()


def make_text_choice(index: int, prefix: str, reply: Reply) -> JsonObject:
    """Make a choice of the continuation of a text; ``prefix``: the text itself, if it is echoed."""
    return {"index": index, "text": prefix + reply.text, "finish_reason": reply.finish, "logprobs": None}


def score(engine: TransformersEngine, body: CompletionBody) -> Flow[tuple[list[JsonObject], int, int]]:
    """Score texts; returns (choices, tokens read, tokens written). Each text of ``body`` comes token by token, every token with its
    log-probability and the likeliest ones in its place; with ``max_tokens`` 1 the likeliest next token follows. The flow makes no
    requests: the engine's thread runs it. Raises ApiError for what cannot be scored."""
    yield from ()
    if not body.echo or body.max_tokens > 1 or body.n > 1 or body.temperature or engine.config.is_encoder_decoder:
        reason = "logprobs scores given text by a causal model: send echo = true, max_tokens 0 or 1, n = 1, temperature = 0"
        raise ApiError(400, reason, "logprobs")
    texts, size = [engine.encode(text) if isinstance(text, str) else text for text in body.prompts], len(engine.tokenizer)
    if not all(text and all(0 <= token < size for token in text) for text in texts):
        raise ApiError(422, f"prompt: must have at least one token, each from 0 to {size - 1}", "prompt")
    choices = []
    for index, text in enumerate(texts):
        next_TV = engine.score(text)
        best_TK, ids_TK = (tensor.tolist() for tensor in next_TV.topk(max(1, body.logprobs or 0)))
        tokens = [*text, ids_TK[-1][0]][: len(text) + body.max_tokens]
        spelled = [engine.tokenizer.decode([token]) for token in tokens]
        # Worst first, so that the likeliest of several tokens with the same spelling stays.
        positions = [reversed(list(zip(*position, strict=True))) for position in zip(ids_TK, best_TK, strict=True)]
        likeliest = [{engine.tokenizer.decode([token]): logprob for token, logprob in position} for position in positions]
        logprobs = {
            "tokens": spelled,
            "token_logprobs": [None, *(float(next_V[token]) for next_V, token in zip(next_TV, tokens[1:], strict=False))],
            "top_logprobs": [None, *likeliest][: len(tokens)],
            "text_offset": list(accumulate(map(len, spelled[:-1]), initial=0)),
        }
        choices.append({"index": index, "text": "".join(spelled), "finish_reason": "length", "logprobs": logprobs})
    return choices, sum(map(len, texts)), body.max_tokens * len(texts)


def make_head(kind: Literal["chat.completion", "chat.completion.chunk", "text_completion"], model: str) -> JsonObject:
    """Make the fields with which all events of one completion begin."""
    return {"id": f"cmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def wrap(kind: Literal["chat.completion", "text_completion"], model: str, choices: Sequence[JsonObject], *used: int) -> JsonObject:
    """Make the object with all ``choices``; ``used``: the tokens read, and the tokens written."""
    usage = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*used, sum(used)), strict=True))
    return {**make_head(kind, model), "choices": choices, "usage": usage}
