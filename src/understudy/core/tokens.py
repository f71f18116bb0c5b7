"""The one way from text to tokens, in training and decoding. The tokenizer is an argument, so no library is imported.

Source (prompt) and target become tokens separately. So a student reads exactly the tokens of its training, whatever text stands
at the seam::

    causal:    [BOS if the tokenizer's own encoding adds one] + source     |     target + [EOS]
    seq2seq:   source as the tokenizer encodes it (T5: + [EOS])            |     target + [EOS]
    messages:  as the chat template renders them, up to the reply          |     target + [what ends the assistant's turn]

A reply never goes through the template, because a template may strip, empty or double its ``<think>`` block (Qwen3's does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.core.asks import Message
from understudy.core.errors import EngineError

Tokenizer = Any
"""A tokenizer of `transformers`, which has no types of its own."""


def encode_source(tokenizer: Tokenizer, text: str, *, seq2seq: bool) -> list[int]:
    """The tokens of a raw prompt. For a causal model there is no special token, except the BOS where the tokenizer's own encoding
    begins with it (Llama and OPT have one, GPT-2 and Qwen do not). For sequence to sequence it is the tokenizer's own
    encoding."""
    ids = list(tokenizer(text)["input_ids"])
    if seq2seq:
        return ids
    bare = encode_text(tokenizer, text)
    begins = tokenizer.bos_token_id is not None and ids[: len(bare) + 1] == [tokenizer.bos_token_id, *bare]
    return [tokenizer.bos_token_id, *bare] if begins else bare


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text, without any special token."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_messages(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The tokens of a chat as its template renders it, up to the assistant's turn. The template writes the BOS itself.

    Raises EngineError where the tokenizer has no chat template, or the template refuses the messages.
    """
    return encode_text(tokenizer, _render(tokenizer, messages))


@dataclass(frozen=True)
class Turn:
    """How a chat template writes a reply. ``end`` is the token that ends it. ``thinking``: the prompt ends with an open
    ``<think>``. ``inserted`` is the text that the template puts between its own prompt and a reply among the messages."""

    end: int
    thinking: bool = False
    inserted: str = ""


def assistant_turn(tokenizer: Tokenizer, messages: Sequence[Message]) -> Turn:
    """How the template writes a reply to ``messages``, found by rendering one. Raises EngineError like `encode_messages`."""
    prompt = _render(tokenizer, messages)
    before, _, after = _render(tokenizer, messages, reply=_REPLY).partition(_REPLY)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    end = next((i for i in encode_text(tokenizer, after) if i in special), tokenizer.eos_token_id)
    thinking = prompt.rstrip().endswith(THINK)
    return Turn(end, thinking, before.removeprefix(prompt) if before.startswith(prompt) else "")


def encode_reply(tokenizer: Tokenizer, text: str, turn: Turn | None) -> list[int]:
    """The tokens of a reply, or of its first part. ``turn`` is None for raw text. If the prompt ends with ``<think>``, the reply
    does not repeat it."""
    if turn is not None and turn.thinking and text.lstrip().startswith(THINK):
        text = text.lstrip().removeprefix(THINK).lstrip("\n")
    return encode_text(tokenizer, text)


THINK = "<think>"
_REPLY = "understudy-reply"


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, reply: str | None = None) -> str:
    if not tokenizer.chat_template:
        raise EngineError(
            "the prompt is a list of messages, and this checkpoint's tokenizer has no chat template; "
            'set format.style = "raw", or save a chat_template with the tokenizer'
        )
    turns = [{"role": m.role, "content": m.content} for m in messages]
    if reply is not None:
        turns.append({"role": "assistant", "content": reply})
    try:
        text: str = tokenizer.apply_chat_template(turns, add_generation_prompt=reply is None, tokenize=False)
    except Exception as error:
        roles = ", ".join(m.role for m in messages)
        raise EngineError(f"the chat template of this checkpoint refuses messages of {roles}: {error}") from error
    return text
