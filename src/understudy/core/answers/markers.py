"""The signs that a reply now gives its answer: "The answer is", "Answer:", ``\\boxed{}``, ``####``, ``-->``, an ``A:`` line.

A marker is found by its key word. Only the last `LAST` markers of each sort count, so a reply costs at most one pass over its
characters.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LAST = 40


class Marker(NamedTuple):
    """A marker. ``begin`` is where the statement begins, with its "So the", and ``answer`` where the answer begins. ``end`` is
    where the answer ends, -1 if the marker does not say. ``firm``: only the answer may follow."""

    layer: str
    begin: int
    answer: int
    end: int = -1
    firm: bool = False


_WORD = re.compile(r"(?:\b|(?<=_))(?:answers?|solution|choice|option|conclusion)\b", re.I)
_STEMS = ("answer", "solution", "choice", "option", "conclusion")
_FOLDED = "\u0130\u0131\u017f\u212a"
"""The characters outside ASCII that `re.I` takes for ASCII letters."""
_IS = (
    r"(?:(?:\s(?:therefore|thus|then|still|also|always|most likely|probably|likely|clearly|simply|actually|indeed))?"
    r"(?:\s(?:is|was|are)\b(?:\s(?:therefore|thus|then|still|also|most likely|probably|likely|clearly|simply|actually))?"
    r"|\s(?P<firm>(?:should|must|would|will|could|might|may|has to|have to)(?:\s(?:therefore|thus|then))?\sbe\b)|\sequals\b|\s?=)"
    r"[*_]{0,2}:?|\s?[*_]{0,3}\s?(?::|->|-->|=>|\s-\s)[*_]{0,3})"
)
_AFTER = re.compile(
    rf"[*_\"']{{0,3}}(?:\s?[(\[][^()\[\]\n]{{0,60}}[)\]])?(?P<of>\s(?:to|for|of|in|from|choice|option)\b[^.\n:=?]{{0,90}}?)?{_IS}",
    re.I,
)
_ALONE = re.compile(r"[*_]{0,3}\s?:?[*_]{0,3}\s?\n", re.I)
_BEFORE = re.compile(
    r"(?:\b(?:so|therefore|thus|hence|then|and|finally|overall|consequently|accordingly|in conclusion|in summary|as a result|"
    r"because of this|given this|based on this)\b,?\s{1,2})?"
    r"(?:among [A-Z] (?:through|to|and|or) [A-Z],?\s{1,2})?(?P<the>(?:the|my|our|this)\s{1,2})?"
    r"(?P<sort>(?:\b(?:final|correct|best|right|most|likely|appropriate|overall|closest|only|possible|estimated|short|numerical|next|answer)\s{1,2}){0,4})$",
    re.I,
)
_TELLING = {"correct", "best", "right", "final", "appropriate", "answer"}
_SIGN = re.compile(r"[^\w,\s]")
_LINE = re.compile(r"^[ \t>*_#-]{0,8}$")
_BOXED = re.compile(r"\\boxed\s?\{|\\fbox\s?\{|<(?:final_?)?ans(?:wer)?>|\[ANSWER\]", re.I)
_HASHES = re.compile(r"^[ \t>*]{0,4}####[ \t]?(?!#)|(?<=\s)####\s(?!#)", re.M)
_ARROW = re.compile(r"(?<!-)--+>|(?<!=)==+>|(?<=\s)->\s|→")
_LABEL = re.compile(r"^[ \t>*_]{0,4}(?:A|Ans)(?: ?[0-9]{1,3})?[*_]{0,2} ?:[*_]{0,2}(?=\s)", re.M)


def find_markers(text: str, begin: int, end: int, *, labels: bool) -> Iterator[Marker]:
    """Find the markers of ``text[begin:end]``: first the explicit statements, the last one first; then the weaker signs, which are
    arrows and, with ``labels``, lines that begin with "A:"."""
    statements = [marker for match in _words(text, begin, end)[-LAST:] if (marker := _read_word(text, match, begin, end))]
    if "box" in text or "<" in text or "[" in text:
        statements += [_read_box(text, match, end) for match in _last(_BOXED, text, begin, end)]
    hashes = _last(_HASHES, text, begin, end) if "####" in text else []
    statements += [Marker("hashes", m.start(), m.end(), _line_end(text, m.end(), end)) for m in hashes]
    yield from sorted(statements, key=lambda marker: marker.answer, reverse=True)
    signs = [Marker("arrow", m.start(), m.end(), firm=True) for m in _last(_ARROW, text, begin, end)]
    if labels:
        signs += [Marker("label", m.start(), m.end()) for m in _last(_LABEL, text, begin, end)]
    yield from sorted(signs, key=lambda marker: marker.answer, reverse=True)


def _words(text: str, begin: int, end: int) -> list[re.Match[str]]:
    """Return the matches of `_WORD`. Beware: for a reply with a plain marker most of the time goes here, and finding each word as
    a string is ten times as fast as the pattern."""
    if not text.isascii() and any(letter in text for letter in _FOLDED):
        return list(_WORD.finditer(text, begin, end))
    lower, places = text.lower(), []
    for stem in _STEMS:
        at = lower.find(stem, begin, end)
        while at >= 0:
            places.append(at)
            at = lower.find(stem, at + 1, end)
    return [match for at in sorted(places) if (match := _WORD.match(text, at, end))]


def _read_word(text: str, word: re.Match[str], begin: int, end: int) -> Marker | None:
    after = _AFTER.match(text, word.end(), end) or _ALONE.match(text, word.end(), end)
    if after is None:
        return None
    window = text[max(begin, word.start() - 90) : word.start()]
    before = _BEFORE.search(window, len(window) - len(_SIGN.split(window)[-1]))  # it has words and commas only
    assert before is not None, "it may be empty"
    start = word.start() - len(window) + before.start()
    sort = before["sort"].lower().split()
    line = window.rpartition("\n")[2]
    heads = bool(_LINE.match(line[: len(line) - (len(window) - before.start())]))
    telling = word[0].lower() in ("answer", "answers") or not _TELLING.isdisjoint(sort)
    if after.re is _ALONE:
        # a heading: "Final answer", with the answer on the next line
        return Marker("marker", start, after.end()) if heads and telling else None
    if not telling or not (before["the"] or sort or heads or _ends_in_colon(after[0])):
        return None
    return Marker("marker", start, after.end(), firm=after["firm"] is not None)


def _ends_in_colon(after: str) -> bool:
    return after.rstrip(" *_").endswith((":", ">", "-")) and not re.search(r"\b(?:is|was|are|be)[*_]{0,2}:", after)


def _read_box(text: str, match: re.Match[str], end: int) -> Marker:
    depth, at = 1, match.end()
    while at < min(end, match.end() + 400) and depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    begin = match.start()
    if match[0][0] in "<[":
        close = text.find(f"{match[0][0]}/", match.end(), min(end, match.end() + 400))
        return Marker("boxed", begin, match.end(), close if close >= 0 else _line_end(text, match.end(), end))
    while begin > 0 and match.start() - begin < 3 and text[begin - 1] in "$ [(\\":
        begin -= 1
    return Marker("boxed", begin, match.end(), at - 1 if not depth else at)


def _line_end(text: str, at: int, end: int) -> int:
    stop = text.find("\n", at, end)
    return end if stop < 0 else stop


def _last(pattern: re.Pattern[str], text: str, begin: int, end: int) -> list[re.Match[str]]:
    return list(pattern.finditer(text, begin, end))[-LAST:]
