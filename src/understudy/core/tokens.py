"""How text becomes tokens: one truth for training and decoding. Takes the tokenizer as an argument, imports no library.

A source (prompt) and its target are tokenised each on its own, so that a student is asked with exactly the tokens that it
was trained on, whatever the text around the seam::

    causal:    [BOS if the tokenizer's own encoding adds one] + source     |     target + [EOS]
    seq2seq:   source as the tokenizer encodes it (T5: + [EOS])            |     target + [EOS]
"""

from __future__ import annotations

from collections.abc import Sequence
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

    Raises EngineError where the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise EngineError(
            "the prompt is a list of messages and this checkpoint's tokenizer has no chat template: "
            "ask it with a string, or save a chat_template with the tokenizer"
        )
    turns = [{"role": m.role, "content": m.content} for m in messages]
    rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return encode_text(tokenizer, rendered)
