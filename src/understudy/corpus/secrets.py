"""Keep secrets out of a corpus: keys, tokens and headers that some tool wrote next to a reply."""

import re
from collections.abc import Mapping
from typing import Any

_NAMES = re.compile(r"authorization|api[-_ ]?key|headers?$|secret|passw|bearer|cookie|credential|(?:^|[-_])(?:key|token)$", re.I)
_VALUES = re.compile(r"\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}|\b(?:sk|pk|hf|gsk|xai|ghp|api)[-_][\w-]{16,}", re.I)
_URL = re.compile(r"(\bhttps?://)(?:[^\s/@]+@)?([^\s?#]*)(?:[?#]\S*)?")
HIDDEN = "(left out)"


def remove_secrets(value: Any, depth: int = 0) -> Any:
    """Return ``value`` (as JSON) without fields that have the name of a secret, and with texts replaced that look like one. Values
    nested deeper than anybody nests by hand are replaced too."""
    if depth > 30:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: remove_secrets(item, depth + 1) for name, item in value.items() if not _NAMES.search(str(name))}
    if isinstance(value, list | tuple):
        return [remove_secrets(item, depth + 1) for item in value]
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """Return ``text`` without anything that looks like a key, and with addresses without user, password and query."""
    return _VALUES.sub(HIDDEN, _URL.sub(r"\1\2", text))
