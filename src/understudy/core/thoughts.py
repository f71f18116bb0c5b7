"""The thought of a reasoning model: in ``<think>`` tags before the reply proper, or in a field of its own."""

from __future__ import annotations

import re
from typing import Any

from understudy.core.answers.spans import find_reply, fold

_TAGS = re.compile(r"</?think(?:ing)?>", re.I)


def has_tags(text: str) -> bool:
    """Whether a thought begins or ends in ``text``."""
    return "<" in text and _TAGS.search(text) is not None


def thought_of(text: str) -> tuple[str, int | None]:
    """(the thought without its tags, where the reply proper begins) of a reply; the place is 0 where it has no thought, None
    where its thought never ends."""
    begin = find_reply(fold(text))
    return ("" if begin == 0 else _TAGS.sub("", text[:begin]).strip()), begin


def only_thought(text: str) -> bool:
    """Whether a reply thinks and says nothing: its thought never ends, or nothing comes after it."""
    begin = thought_of(text)[1]
    return begin is None or (begin > 0 and not text[begin:].strip())


def with_thought(reasoning: Any, text: str) -> str:
    """A reply whose thought came in a field of its own, as one text."""
    return f"<think>\n{reasoning}\n</think>\n\n{text}" if isinstance(reasoning, str) and reasoning.strip() else text
