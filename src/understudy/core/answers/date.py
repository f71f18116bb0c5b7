"""Dates: ``2020-03-05``, ``03/05/20``, ``March 5, 2020``, ``5th of March 2020``, ``05-Mar-20``, ``2020年3月5日`` -> ``2020-03-05``.

In ``03/05/2020`` the month comes first, as in BIG-bench's date questions, unless the first number cannot be a month or the question
asks for DD/MM. With dots (``05.03.2020``) the day comes first. A date without a year is not a date; years of two digits are those
from 1970 to 2069.
"""

import datetime
import re

from understudy.core.answers.spans import NOTHING, SPAN, Reading, one_of

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|"
    r"dec(?:ember)?)\b\.?"
)
_DATE = re.compile(
    r"(?<![0-9])(?:"
    r"(?P<y1>[0-9]{4})(?:[-/.]|年)(?P<m1>[0-9]{1,2})(?:[-/.]|月)(?P<d1>[0-9]{1,2})日?"
    r"|(?P<a>[0-9]{1,2})(?P<sep>[-/.])(?P<b>[0-9]{1,2})(?P=sep)(?P<y2>[0-9]{4}|[0-9]{2})"
    rf"|(?P<m3>{_MONTH})[ ]?(?P<d3>[0-9]{{1,2}})(?:st|nd|rd|th)?[ ]?,?[ ]{{0,2}}(?P<y3>[0-9]{{4}})"
    rf"|(?P<d4>[0-9]{{1,2}})(?:st|nd|rd|th)?[- ](?:of )?(?P<m4>{_MONTH})(?:[ ]?,?[ ]?|-)(?P<y4>[0-9]{{4}}|(?<=-)[0-9]{{2}})"
    r")(?![0-9])",
    re.I,
)
_AROUND = re.compile(
    r"[\s:=\"'`*_(]{0,8}(?:(?:it|is|on|the|was|will be)\b ?){0,3}(?:(?:mon|tues?|wednes|thurs?|fri|satur|sun)(?:day)?,? )?", re.I
)
_SO = re.compile(r"\b(?:is|was|be|so|therefore|thus|hence)\b|=", re.I)
_DAY_FIRST = re.compile(r"\bdd?\W{0,2}mm?\W{0,2}yy", re.I)


def read(span: str, *, strict: bool = False, question: str = "") -> Reading:
    """The date that ``span`` states, AMBIGUOUS where it states several and not one after its last "is" or "so". With ``strict`` the
    span must be only the date."""
    span, day_first = span[:SPAN], _DAY_FIRST.search(question) is not None
    if strict:
        lead = _AROUND.match(span)
        match = _DATE.match(span, lead.end() if lead else 0)
        return _to_reading(match, day_first) if match and not span[match.end() :].strip(" .!\"'`*_)\n") else NOTHING
    found = [(match, reading) for match in _DATE.finditer(span) if (reading := _to_reading(match, day_first)).found]
    so = max((match.end() for match in _SO.finditer(span)), default=0)
    return one_of([reading for match, reading in found if match.start() >= so] or [reading for _, reading in found])


def _to_reading(match: re.Match[str], day_first: bool) -> Reading:
    part = {name[0]: text for name, text in match.groupdict().items() if text and name != "sep"}
    if "a" in part:
        first, second = int(part["a"]), int(part["b"])
        day_first = match["sep"] == "." or first > 12 or (day_first and second <= 12)
        month, day = (second, first) if day_first else (first, second)
    else:
        month = int(part["m"]) if part["m"].isdigit() else _MONTHS.index(part["m"][:3].lower()) + 1
        day = int(part["d"])
    year = int(part["y"])
    if len(part["y"]) == 2:
        year += 2000 if year < 70 else 1900
    try:
        return Reading(datetime.date(year, month, day).isoformat())
    except ValueError:  # 30 February
        return NOTHING
