"""Dates: ``2020-03-05``, ``03/05/2020``, ``March 5, 2020``, ``5th of March 2020`` -> ISO ``2020-03-05``.

In ``03/05/2020`` the month comes first, as in BIG-bench's date questions, unless the first number cannot be a month. With dots
(``05.03.2020``) the day comes first. A date without a year is not a date.
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
    r"(?P<y1>[0-9]{4})[-/.](?P<m1>[0-9]{1,2})[-/.](?P<d1>[0-9]{1,2})"
    r"|(?P<a>[0-9]{1,2})(?P<sep>[-/.])(?P<b>[0-9]{1,2})(?P=sep)(?P<y2>[0-9]{4})"
    rf"|(?P<m3>{_MONTH})[ ]?(?P<d3>[0-9]{{1,2}})(?:st|nd|rd|th)?[ ]?,?[ ]{{0,2}}(?P<y3>[0-9]{{4}})"
    rf"|(?P<d4>[0-9]{{1,2}})(?:st|nd|rd|th)?[ ](?:of )?(?P<m4>{_MONTH})[ ]?,?[ ]?(?P<y4>[0-9]{{4}})"
    r")(?![0-9])",
    re.I,
)
_AROUND = re.compile(
    r"[\s:=\"'`*_(]{0,8}(?:(?:it|is|on|the|was|will be)\b ?){0,3}(?:(?:mon|tues?|wednes|thurs?|fri|satur|sun)(?:day)?,? )?", re.I
)


def read(span: str, *, strict: bool = False) -> Reading:
    """The date that ``span`` states, AMBIGUOUS where it states several. With ``strict`` the span must be only the date."""
    span = span[:SPAN]
    if strict:
        lead = _AROUND.match(span)
        match = _DATE.match(span, lead.end() if lead else 0)
        return _to_reading(match) if match and not span[match.end() :].strip(" .!\"'`*_)\n") else NOTHING
    return one_of([reading for match in _DATE.finditer(span) if (reading := _to_reading(match)).found])


def _to_reading(match: re.Match[str]) -> Reading:
    part = {name[0]: text for name, text in match.groupdict().items() if text and name != "sep"}
    if "a" in part:
        first, second = int(part["a"]), int(part["b"])
        day_first = match["sep"] == "." or first > 12
        month, day = (second, first) if day_first else (first, second)
    else:
        month = int(part["m"]) if part["m"].isdigit() else _MONTHS.index(part["m"][:3].lower()) + 1
        day = int(part["d"])
    try:
        return Reading(datetime.date(int(part["y"]), month, day).isoformat())
    except ValueError:  # 30 February
        return NOTHING
