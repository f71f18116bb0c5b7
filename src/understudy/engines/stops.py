"""Matching of stop strings and written values in text, not in tokens, wherever the token boundaries are."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from understudy.core.tokens import encode_text


class StopStrings:
    """Finds stop strings in growing token sequences of one tokenizer, without decoding the text at every token."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._may_end = cache(self._could_complete)
        self.has_equals = cache(lambda token: "=" in self.text([token]))
        self._special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))

    def split(self, stop: Sequence[str]) -> tuple[tuple[str, ...], frozenset[int]]:
        """Return the stop strings to look for in the text, and the special tokens among them, which no text ever shows."""
        special = frozenset(self._special[s] for s in stop if s in self._special)
        return tuple(s for s in stop if s and s not in self._special), special

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of ``tokens`` without special tokens, exactly as it was written."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def contains_stop(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Tell whether the text of ``tokens`` has one of ``stop``. Beware: it must have had none before its last token."""
        return self._may_end(stop, tokens[-1]) and find_stop(self.text(tokens), stop) is not None

    def find_rest(self, tokens: Sequence[int], target: str) -> list[int] | None:
        """Find the tokens that extend the text of ``tokens`` to ``target``; None if there are none.

        Many tokenizers write the beginning of a text differently from its middle (a blank before the first word). So look for the
        missing tokens first with their context, from the mark on, and decode each attempt.
        """
        prefix = self.text(tokens)
        if not target.startswith(prefix):
            return None
        for start in (max(0, target.rfind("<<")), max(0, len(prefix) - 1), len(prefix)):
            ids = encode_text(self.tokenizer, target[start:])
            for index in range(len(ids)):
                if self.text([*tokens, *ids[index:]]) == target:
                    return ids[index:]
        return None

    def _could_complete(self, stop: tuple[str, ...], token: int) -> bool:
        """Tell whether this token may complete a stop string; never False if it can.

        A token adds to a text its own characters, a blank that joins words, and characters whose last bytes it holds (alone they
        decode to U+FFFD). So a stop string's last character must be among those.
        """
        own_text = self.text([token])
        return "\ufffd" in own_text or any(s[-1] == " " or s[-1] in own_text for s in stop)


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Find where the first stop string in ``text`` begins; None if there is none."""
    return min((index for s in stop if (index := text.find(s)) >= 0), default=None)
