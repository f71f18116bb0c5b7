"""The thought of a reasoning model. It comes before the reply between marks (`spans.THOUGHT_MARKS`), or in its own field."""

from typing import Any

from understudy.core.answers.spans import THOUGHT_MARK, find_reply, fold, may_have_thought


def has_tags(text: str) -> bool:
    """Return whether a thought begins or ends in ``text``."""
    return may_have_thought(text) and THOUGHT_MARK.search(text) is not None


def split_thought(text: str) -> tuple[str, int | None]:
    """Return (the thought without its marks, the position where the reply after it begins). The position is 0 without a thought,
    and None if the thought never ends."""
    start = find_reply(fold(text))
    return ("" if start == 0 else THOUGHT_MARK.sub("", text[:start]).strip()), start


def is_only_thought(text: str) -> bool:
    """Return whether a reply has only a thought, which never ends or has nothing after it."""
    start = split_thought(text)[1]
    return start is None or (start > 0 and not text[start:].strip())


def add_thought(reasoning: Any, text: str) -> str:
    """Return a reply as one text, with the thought from its own field."""
    return f"<think>\n{reasoning}\n</think>\n\n{text}" if isinstance(reasoning, str) and reasoning.strip() else text
