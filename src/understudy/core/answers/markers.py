"""The signs that a reply now gives its answer: "The answer is", "Answer:", ``\\boxed{}``, ``####``, ``-->``, an ``A:`` line.

A marker is found by its key word. Only the last `LAST` markers of each sort count, so a reply costs at most one pass over its
characters.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LAST = 40


class Marker(NamedTuple):
    """A marker. ``start`` is where the statement begins, with its "So the", and ``answer`` where the answer begins. ``end`` is
    where the answer ends, -1 if the marker does not say. ``firm``: only the answer may follow."""

    layer: str
    start: int
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
    r"(?P<sort>(?:\b(?:final|correct|best|right|most(?:\s(?:logical|accurate|reasonable|plausible|suitable|sensible|fitting|probable))?|likely|appropriate|overall|closest|only|possible|estimated|short|numerical|next|answer)\s{1,2}){0,4})$",
    re.I,
)
_TELLING = {"correct", "best", "right", "final", "appropriate", "answer"}
_SIGN = re.compile(r"[^\w,\s]")
_LINE = re.compile(r"^[ \t>*_#-]{0,8}$")
_BOXED = re.compile(r"\\boxed\s?\{|\\fbox\s?\{|<(?:final_?)?ans(?:wer)?>|\[ANSWER\]", re.I)
_HASHES = re.compile(r"^[ \t>*]{0,4}####[ \t]?(?!#)|(?<=\s)####\s(?!#)", re.M)
_ARROW = re.compile(r"(?<!-)--+>|(?<!=)==+>|(?<=\s)->\s|→")
_LABEL = re.compile(r"^[ \t>*_]{0,4}(?:A|Ans)(?: ?[0-9]{1,3})?[*_]{0,2} ?:[*_]{0,2}(?=\s)", re.M)
_FOREIGN = re.compile(
    r"(?i)(?:\b(?:(?:die|la|le|a|o|het|il)\s)?(?:[\w-]{1,24}\s)?(?:antwort|lösung|respuesta|réponse|resposta|risposta|antwoord|ответ)"
    r"(?:\s(?!no\b|não\b|non\b|не\b)(?:\w{1,24}\s)?(?:ist|lautet|es|est|é|è|is)\b|\s?[*_]{0,2}:)"
    r"|(?:最终|正确)?(?:答案|正确选项|正解|答え|정답|답)[*_]{0,2}(?:是|为|は|은|:)|(?<![不别没若])(?<!不[应能该可会要])(?<!没有|如果|可以)(?<!为什么)[故应]?选择?:?\s?(?=[(A-Z]))"
    r"[\s*_:]{0,4}+(?!nicht\b|no\b|não\b|non\b|pas\b|niet\b|не\b|不)"
)
"""The statement in other languages: German, Spanish, French, Portuguese, Italian, Dutch, Russian, Chinese, Japanese, Korean."""
_FOREIGN_STEMS = ("antwort", "antwoord", "respuesta", "resposta", "risposta")
"""Those of its words that are ASCII. Without one of them, the pattern is not tried on a text in ASCII: it takes long."""


def find_markers(text: str, start: int, end: int, *, labels: bool) -> Iterator[Marker]:
    """Find the markers of ``text[begin:end]``: first the explicit statements, the last one first; then the weaker signs, which are
    arrows, statements in other languages and, with ``labels``, lines that begin with "A:"."""
    statements = [marker for match in _find_words(text, start, end)[-LAST:] if (marker := _read_word(text, match, start, end))]
    if "box" in text or "<" in text or "[" in text:
        statements += [_read_box(text, match, end) for match in _find_last(_BOXED, text, start, end)]
    hashes = _find_last(_HASHES, text, start, end) if "####" in text else []
    statements += [Marker("hashes", m.start(), m.end(), _find_line_end(text, m.end(), end)) for m in hashes]
    yield from sorted(statements, key=lambda marker: marker.answer, reverse=True)
    signs = [Marker("arrow", m.start(), m.end(), firm=True) for m in _find_last(_ARROW, text, start, end)]
    if not text.isascii() or any(stem in text.lower() for stem in _FOREIGN_STEMS):
        signs += [Marker("marker", m.start(), m.end()) for m in _find_last(_FOREIGN, text, start, end)]
    if labels:
        signs += [Marker("label", m.start(), m.end()) for m in _find_last(_LABEL, text, start, end)]
    yield from sorted(signs, key=lambda marker: marker.answer, reverse=True)


def _find_words(text: str, start: int, end: int) -> list[re.Match[str]]:
    """Return the matches of `_WORD`. Beware: for a reply with a plain marker most of the time goes here, and finding each word as
    a string is ten times as fast as the pattern."""
    if not text.isascii() and any(letter in text for letter in _FOLDED):
        return list(_WORD.finditer(text, start, end))
    lower, indices = text.lower(), []
    for stem in _STEMS:
        index = lower.find(stem, start, end)
        while index >= 0:
            indices.append(index)
            index = lower.find(stem, index + 1, end)
    return [match for index in sorted(indices) if (match := _WORD.match(text, index, end))]


def _read_word(text: str, word: re.Match[str], start: int, end: int) -> Marker | None:
    tail = _AFTER.match(text, word.end(), end) or _ALONE.match(text, word.end(), end)
    if tail is None:
        return None
    window = text[max(start, word.start() - 90) : word.start()]
    lead = _BEFORE.search(window, len(window) - len(_SIGN.split(window)[-1]))  # it has words and commas only
    assert lead is not None, "it may be empty"
    statement_start = word.start() - len(window) + lead.start()
    sort = lead["sort"].lower().split()
    line = window.rpartition("\n")[2]
    is_heading = bool(_LINE.match(line[: len(line) - (len(window) - lead.start())]))
    is_telling = word[0].lower() in ("answer", "answers") or not _TELLING.isdisjoint(sort)
    if tail.re is _ALONE:
        # a heading: "Final answer", with the answer on the next line
        return Marker("marker", statement_start, tail.end()) if is_heading and is_telling else None
    if not is_telling or not (lead["the"] or sort or is_heading or _ends_in_colon(tail[0])):
        return None
    return Marker("marker", statement_start, tail.end(), firm=tail["firm"] is not None)


def _ends_in_colon(tail: str) -> bool:
    return tail.rstrip(" *_").endswith((":", ">", "-")) and not re.search(r"\b(?:is|was|are|be)[*_]{0,2}:", tail)


def _read_box(text: str, match: re.Match[str], end: int) -> Marker:
    depth, index = 1, match.end()
    while index < min(end, match.end() + 400) and depth:
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        index += 1
    start = match.start()
    if match[0][0] in "<[":
        close = text.find(f"{match[0][0]}/", match.end(), min(end, match.end() + 400))
        return Marker("boxed", start, match.end(), close if close >= 0 else _find_line_end(text, match.end(), end))
    while start > 0 and match.start() - start < 3 and text[start - 1] in "$ [(\\":
        start -= 1
    return Marker("boxed", start, match.end(), index - 1 if not depth else index)


def _find_line_end(text: str, start: int, end: int) -> int:
    index = text.find("\n", start, end)
    return end if index < 0 else index


def _find_last(pattern: re.Pattern[str], text: str, start: int, end: int) -> list[re.Match[str]]:
    return list(pattern.finditer(text, start, end))[-LAST:]
