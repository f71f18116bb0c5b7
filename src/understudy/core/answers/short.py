"""Short texts: names, words, lists of words, kept as written. They are compared by their words; see `spans.split_words`."""

import re

from understudy.core.answers.markup import unwrap
from understudy.core.answers.spans import NOTHING, Reading, find_sentence_end, skip, to_canonical, to_written

LONGEST = 200
"""The maximum length of a short answer in characters. A longer text is not an answer."""

_QUOTED = re.compile(r"[\"`“]([^\"`“”\n]{1,200})[\"`”]|(?<!\w)'([^'\n]{1,200})'(?!\w)")
_LEAD = re.compile(r"(?:[\s:=*_]|\n>|[-=]>|-(?=\s)){0,10}(?:that |it is |it's )?")
_STATES = re.compile(r"(?:\b(?:is|are|be|was|were|get|gives?|makes?|spells?)\b ?:?|[:=]) *(?=[^\s:=])")


def read(span: str) -> Reading:
    """Read the short text that ``span`` states: the quoted text at its beginning, else its first sentence."""
    span = unwrap(span[: 3 * LONGEST])
    start = skip(_LEAD, span)
    if quoted := _QUOTED.match(span, start):
        return _to_reading(quoted[1] or quoted[2])
    return _to_reading(span[start : find_sentence_end(span, start, len(span))])


def read_alone(reply: str) -> Reading:
    """Read a reply that is only the answer: one line of at most five words."""
    line = reply[: LONGEST + 1].strip()
    return NOTHING if "\n" in line or len(line.split()) > 5 or len(line) > LONGEST else _to_reading(unwrap(line))


def read_last(sentence: str) -> Reading:
    """Read the answer in a concluding sentence: its last quoted text, else the text after its last "is" or colon."""
    if quoted := list(_QUOTED.finditer(sentence)):
        return _to_reading(quoted[-1][1] or quoted[-1][2])
    stated = list(_STATES.finditer(sentence))
    return _to_reading(sentence[stated[-1].end() :]) if stated else NOTHING


def _to_reading(text: str) -> Reading:
    return Reading(to_written(text)) if len(text) <= LONGEST and to_canonical(text) else NOTHING
