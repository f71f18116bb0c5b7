"""Stop strings and written values are matched in text, not in tokens, wherever the token boundaries are."""

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
        """The stop strings to look for in the text, and the special tokens among them, which no text ever shows."""
        special = frozenset(self._special[s] for s in stop if s in self._special)
        return tuple(s for s in stop if s and s not in self._special), special

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens`` without special tokens, exactly as it was written."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def contains_stop(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether the text of ``tokens`` has one of ``stop``. Beware: it must have had none before its last token."""
        return self._may_end(stop, tokens[-1]) and find_stop(self.text(tokens), stop) is not None

    def find_rest(self, tokens: Sequence[int], whole: str) -> list[int] | None:
        """The tokens that extend the text of ``tokens`` to ``whole``, None where there are none.

        Many tokenizers write the beginning of a text otherwise than its middle (a blank before the first word). So the missing
        tokens are first sought behind their context, from the mark on, and each attempt is decoded.
        """
        before = self.text(tokens)
        if not whole.startswith(before):
            return None
        for begin in (max(0, whole.rfind("<<")), max(0, len(before) - 1), len(before)):
            ids = encode_text(self.tokenizer, whole[begin:])
            for at in range(len(ids)):
                if self.text([*tokens, *ids[at:]]) == whole:
                    return ids[at:]
        return None

    def _could_complete(self, stop: tuple[str, ...], token: int) -> bool:
        """Whether this token may complete a stop string. The answer is never False where it can.

        A token adds its own characters to a text, a blank that joins words, and characters whose last bytes it holds (alone they
        decode to U+FFFD). So a stop string's last character must be among those.
        """
        alone = self.text([token])
        return "\ufffd" in alone or any(s[-1] == " " or s[-1] in alone for s in stop)


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """The place where the first stop string in ``text`` begins, None where there is none."""
    return min((at for s in stop if (at := text.find(s)) >= 0), default=None)
