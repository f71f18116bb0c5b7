"""The words of short texts, for comparison without case, articles and punctuation."""

import re
import unicodedata

_WORD = re.compile(r"\w+(?:[.,'’/:-]\w+)*|[^\w\s]", re.U)
_ARTICLES = frozenset({"a", "an", "the"})


def split_words(text: str) -> list[str]:
    """The words of ``text`` in lower case and Unicode's compatible form, without articles, unless there are only articles."""
    words = re.findall(r"\w+(?:[.,'/:-]\w+)*", unicodedata.normalize("NFKC", text[:2000]).replace("’", "'").casefold())
    return [word for word in words if word not in _ARTICLES] or words


def to_canonical(text: str) -> str:
    """The words of ``text`` with single spaces between them."""
    return " ".join(split_words(text))
