"""Stop strings: found in the decoded text, wherever the token boundaries are, without decoding at every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StopStrings:
    """Finds stop strings in growing token sequences of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._may_end: dict[tuple[tuple[str, ...], int], bool] = {}
        self._special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))

    def split(self, stop: Sequence[str]) -> tuple[tuple[str, ...], frozenset[int]]:
        """The stop strings to look for in the text, and the special tokens among them, which no text ever shows."""
        special = frozenset(self._special[s] for s in stop if s in self._special)
        return tuple(s for s in stop if s and s not in self._special), special

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, special tokens left out and nothing tidied."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def ended(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether one of ``stop`` is in the text of ``tokens``, knowing that it was not before the last one."""
        key = stop, tokens[-1]
        if key not in self._may_end:
            self._may_end[key] = self._could_complete(*key)
        return self._may_end[key] and cut(self.text(tokens), stop) is not None

    def _could_complete(self, stop: tuple[str, ...], token: int) -> bool:
        """Whether a text can come to end with a stop string by this token: never False where it can.

        What a token adds to a text is its own characters, plus a blank that joins words, plus characters of which it holds
        the last bytes (alone they decode to U+FFFD). So a stop string's last character must be among those.
        """
        alone = self.text([token])
        return "\ufffd" in alone or any(s[-1] == " " or s[-1] in alone for s in stop)


def cut(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string in ``text`` begins, None where there is none."""
    return min((at for s in stop if (at := text.find(s)) >= 0), default=None)
