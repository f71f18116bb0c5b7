"""How text becomes tokens: one truth for training and decoding. Takes the tokenizer as an argument, imports no library.

A source (prompt) and its target are tokenised each on its own, so that a student is asked with exactly the tokens that it
was trained on, whatever the text around the seam::

    causal:    [BOS if the tokenizer's own encoding adds one] + source     |     target + [EOS]
    seq2seq:   source as the tokenizer encodes it (T5: + [EOS])            |     target + [EOS]
    messages:  as the chat template renders them, up to the reply          |     target + [what ends the assistant's turn]

A reply never goes through the template, which may strip, empty or double its ``<think>`` block (Qwen3's does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.core.asks import Message
from understudy.core.errors import EngineError


class Tokenizer(Protocol):
    """The little of a `transformers` tokenizer that is used here."""

    @property
    def bos_token_id(self) -> Any: ...

    @property
    def eos_token_id(self) -> Any: ...

    @property
    def chat_template(self) -> Any: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any: ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


def encode_source(tokenizer: Tokenizer, text: str, *, seq2seq: bool) -> list[int]:
    """Tokens of a raw prompt. Causal: no special token but the BOS that the tokenizer's own encoding begins with (Llama and
    OPT have one, GPT-2 and Qwen do not). Sequence to sequence: the tokenizer's own encoding, whole."""
    whole = list(tokenizer(text)["input_ids"])
    if seq2seq:
        return whole
    bare = encode_text(tokenizer, text)
    begins = tokenizer.bos_token_id is not None and whole[: len(bare) + 1] == [tokenizer.bos_token_id, *bare]
    return [tokenizer.bos_token_id, *bare] if begins else bare


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Tokens of a text alone, without any special token."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_messages(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Tokens of a chat as its template renders it, ready for the assistant's turn. The template brings its own BOS.

    Raises EngineError where the tokenizer has no chat template, or the template refuses the messages.
    """
    return encode_text(tokenizer, _render(tokenizer, messages))


@dataclass(frozen=True)
class Turn:
    """How a chat template writes a reply. ``end``: the token that ends it. ``thinking``: the prompt ends with an open
    ``<think>``. ``inserted``: what the template puts between its own prompt and a reply that is part of the messages."""

    end: int
    thinking: bool = False
    inserted: str = ""


def assistant_turn(tokenizer: Tokenizer, messages: Sequence[Message]) -> Turn:
    """What the template does with a reply to ``messages``, found by rendering one. Raises EngineError as `encode_messages`."""
    prompt = _render(tokenizer, messages)
    before, _, after = _render(tokenizer, messages, reply=_REPLY).partition(_REPLY)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    end = next((i for i in encode_text(tokenizer, after) if i in special), tokenizer.eos_token_id)
    thinking = prompt.rstrip().endswith(THINK)
    return Turn(end, thinking, before.removeprefix(prompt) if before.startswith(prompt) else "")


def encode_reply(tokenizer: Tokenizer, text: str, turn: Turn | None) -> list[int]:
    """Tokens of a reply, or of its first part; ``turn`` None for raw text. A ``<think>`` that the prompt ends with is not
    said twice."""
    if turn is not None and turn.thinking and text.lstrip().startswith(THINK):
        text = text.lstrip().removeprefix(THINK).lstrip("\n")
    return encode_text(tokenizer, text)


THINK = "<think>"
_REPLY = "understudy-reply"


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, reply: str | None = None) -> str:
    if not tokenizer.chat_template:
        raise EngineError(
            "the prompt is a list of messages and this checkpoint's tokenizer has no chat template: "
            "ask it with a string, or save a chat_template with the tokenizer"
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
