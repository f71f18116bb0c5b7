"""Keep secrets out of a corpus: keys, tokens and headers that some tool wrote next to a reply."""

import re
from collections.abc import Mapping
from typing import Any

_NAMES = re.compile(r"authorization|api[-_ ]?key|headers?$|secret|passw|bearer|cookie|credential|(?:^|[-_])(?:key|token)$", re.I)
_VALUES = re.compile(r"\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}|\b(?:sk|pk|hf|gsk|xai|ghp|api)[-_][\w-]{16,}", re.I)
_URL = re.compile(r"(\bhttps?://)(?:[^\s/@]+@)?([^\s?#]*)(?:[?#]\S*)?")
HIDDEN = "(left out)"


DEEPEST = 30


def without_secrets(value: Any, depth: int = 0) -> Any:
    """Return ``value`` (as JSON) without fields that have the name of a secret, and with texts replaced that look like one. Values
    nested deeper than anybody nests by hand are replaced too."""
    if depth > DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: without_secrets(v, depth + 1) for name, v in value.items() if not _NAMES.search(str(name))}
    if isinstance(value, list | tuple):
        return [without_secrets(v, depth + 1) for v in value]
    return text_without_secrets(value) if isinstance(value, str) else value


def text_without_secrets(text: str) -> str:
    """Return ``text`` without anything that looks like a key, and with addresses without user, password and query."""
    return _VALUES.sub(HIDDEN, _URL.sub(r"\1\2", text))
