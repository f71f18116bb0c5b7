"""The one way from text to tokens, in training and decoding. The tokenizer is an argument, so no library is imported.

Source (prompt) and target become tokens separately. So a student reads exactly the tokens of its training, whatever text meets at
the seam::

    causal:    [BOS if the tokenizer's own encoding adds one] + source     |     target + [EOS]
    seq2seq:   source as the tokenizer encodes it (T5: + [EOS])            |     target + [EOS]
    messages:  as the chat template renders them, up to the reply          |     target + [what ends the assistant's turn]

A reply never goes through the template, because a template may strip, empty or double its ``<think>`` block (Qwen3's does).

Text stays text: a special token written in a text (``</s>``, ``<|im_end|>``) is spelled in other tokens. Only the template, BOS
and the end of a target are special.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

from understudy.core.asks import Message, Prompt
from understudy.core.errors import EngineError

Tokenizer = Any
"""A tokenizer of `transformers`, which has no types of its own."""


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt, *, seq2seq: bool) -> tuple[int, ...]:
    """Return the tokens of a prompt, raw or messages."""
    if isinstance(prompt, str):
        return tuple(encode_source(tokenizer, prompt, seq2seq=seq2seq))
    return tuple(encode_messages(tokenizer, prompt))


def encode_source(tokenizer: Tokenizer, text: str, *, seq2seq: bool) -> list[int]:
    """Return the tokens of a raw prompt. A causal model gets no special token except BOS, and that only where the tokenizer's own
    encoding begins with it (Llama and OPT have one, GPT-2 and Qwen do not). Sequence to sequence gets the tokenizer's own
    encoding."""
    ids = _encode(tokenizer, text, framed=True)
    if seq2seq:
        return ids
    with_bos = [tokenizer.bos_token_id, *encode_text(tokenizer, text)]
    return with_bos if ids[: len(with_bos)] == with_bos else with_bos[1:]


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of a text, without any special token."""
    return _encode(tokenizer, text, framed=False)


def _encode(tokenizer: Tokenizer, text: str, *, framed: bool) -> list[int]:
    """Return the tokens of a text, ``framed`` by those that the tokenizer's own encoding adds. A unigram model (T5's) reads a
    special token in the text as that token despite the option, so it is spelled here."""
    encoding = tokenizer(text, add_special_tokens=framed, split_special_tokens=True, return_special_tokens_mask=True)
    special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    ids: list[int] = []
    for i, added in zip(encoding["input_ids"], encoding["special_tokens_mask"], strict=True):
        ids += tokenizer.convert_tokens_to_ids(list(tokenizer.convert_ids_to_tokens(i))) if i in special and not added else [i]
    return ids


def encode_messages(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the tokens of a chat as its template renders it, up to the assistant's turn. The template writes the BOS itself.

    A special token in a message is hidden from the template, and its text is spelled. Raises EngineError if the tokenizer has no
    chat template, or if the template refuses the messages.
    """
    special = _list_special(tokenizer)
    names = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "$^"
    hidden = [replace(m, content=re.sub(names, lambda match: f"\ue000{special[match[0]]}\ue001", m.content)) for m in messages]
    if hidden == list(messages):
        return _encode_rendered(tokenizer, render_messages(tokenizer, messages))
    texts = {token: text for text, token in special.items()}
    ids: list[int] = []
    for part in re.split(f"({names})", render_messages(tokenizer, hidden)):
        written = re.sub("\ue000([0-9]+)\ue001", lambda match: texts[int(match[1])], part)
        ids += [special[part]] if part in special else encode_text(tokenizer, written)
    return ids


def _list_special(tokenizer: Tokenizer) -> dict[str, int]:
    return {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def _encode_rendered(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of what a chat template wrote, special ones included."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


class Turn(NamedTuple):
    """How a chat template writes a reply. ``end`` is the token that ends it. ``thinking``: the prompt ends with an open
    ``<think>``. ``inserted`` is the text that the template puts between its own prompt and a reply among the messages."""

    end: int
    thinking: bool = False
    inserted: str = ""


def find_turn(tokenizer: Tokenizer, messages: Sequence[Message]) -> Turn:
    """Return how the template writes a reply to ``messages``, found by rendering one. Raises EngineError like
    `encode_messages`."""
    prompt = render_messages(tokenizer, messages)
    prefix, _, suffix = render_messages(tokenizer, messages, reply=_REPLY).partition(_REPLY)
    special = set(_list_special(tokenizer).values())
    end = next((i for i in _encode_rendered(tokenizer, suffix) if i in special), tokenizer.eos_token_id)
    return Turn(end, prompt.rstrip().endswith(THINK), prefix.removeprefix(prompt) if prefix.startswith(prompt) else "")


def encode_reply(tokenizer: Tokenizer, text: str, turn: Turn | None) -> list[int]:
    """Return the tokens of a reply, or of its first part. ``turn`` is None for raw text. If the prompt ends with ``<think>``, the
    reply does not repeat it."""
    if turn is not None and turn.thinking and text.lstrip().startswith(THINK):
        text = text.lstrip().removeprefix(THINK).lstrip("\n")
    return encode_text(tokenizer, text)


THINK = "<think>"
_REPLY = "understudy-reply"
_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
TEMPLATE_DATE = date(2026, 1, 1)
"""The date that a chat template gets when it asks for today's date. A student's card says the same."""


def fix_date(template: str) -> str:
    """Return a chat template with `TEMPLATE_DATE` in place of today's date. Otherwise a student's prompts would differ from those
    it was trained on, and would change every day. The result is saved with the student, so that other servers use it too."""
    return _TODAY.sub(lambda match: json.dumps(TEMPLATE_DATE.strftime(match[2])), template)


def render_messages(tokenizer: Tokenizer, messages: Sequence[Message], *, reply: str | None = None) -> str:
    if not tokenizer.chat_template:
        reason = "the prompt is a list of messages, but this checkpoint's tokenizer has no chat template"
        raise EngineError(f'{reason}; set format.style = "raw", or save a chat_template with the tokenizer')
    turns = [{"role": m.role, "content": m.content} for m in messages]
    if reply is not None:
        turns.append({"role": "assistant", "content": reply})
    try:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=reply is None, tokenize=False))
    except Exception as error:
        roles = ", ".join(m.role for m in messages)
        raise EngineError(f"this checkpoint's chat template refuses messages with the roles {roles}: {error}") from error
