"""Dates: ``2020-03-05``, ``03/05/20``, ``March 5, 2020``, ``5th of March 2020``, ``05-Mar-20``, ``2020年3月5日`` -> ``2020-03-05``.

In ``03/05/2020`` the order of day and month follows the other dates of the data (`find_form`), else the question (DD/MM). Without
either, the month comes first, as in BIG-bench's date questions; with dots (``05.03.2020``), the day. A number that cannot be a
month is always the day. A date without a year is not a date. Years of two digits mean 1970 to 2069.
"""

import datetime
import re
from collections.abc import Collection
from contextlib import suppress

from understudy.core.answers.spans import NOTHING, SPAN, Reading, merge, skip

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
_FORMS = (
    "%Y-%m-%d|%Y/%m/%d|%m/%d/%Y|%d/%m/%Y|%m/%d/%y|%d/%m/%y|%d.%m.%Y|%m.%d.%Y|%m-%d-%Y|%d-%m-%Y|%d-%b-%Y|%d-%b-%y|"
    "%B %d, %Y|%d %B %Y|%d. %B %Y|%b %d, %Y|%d %b %Y|%Y年%m月%d日"
).split("|")
"""The forms of dates in `strptime`'s signs. Where two fit equally well, the first is used."""
_ORDER = re.compile(r"(?<!%Y.)%-?([dm])\W%-?[dm]")
_DAY_FIRST = re.compile(r"\bdd?\W{0,2}mm?\W{0,2}yy", re.I)


def read(span: str, *, strict: bool = False, question: str = "", form: str = "") -> Reading:
    """Read the date that ``span`` states, AMBIGUOUS if it states several and not one after its last "is" or "so". With ``strict``
    the span must be only the date. ``form`` is the form of the data's dates (`find_form`)."""
    order = _ORDER.search(form)
    span, day_first = span[:SPAN], order[1] == "d" if order else _DAY_FIRST.search(question) is not None or None
    if strict:
        match = _DATE.match(span, skip(_AROUND, span))
        return _to_reading(match, day_first) if match and not span[match.end() :].strip(" .!\"'`*_)\n") else NOTHING
    dates = [(match, reading) for match in _DATE.finditer(span) if (reading := _to_reading(match, day_first))]
    offset = max((match.end() for match in _SO.finditer(span)), default=0)
    return merge([reading for match, reading in dates if match.start() >= offset] or [reading for _, reading in dates])


def find_form(dates: Collection[str]) -> str:
    """Return the form that most of ``dates`` have, such as ``%d/%m/%Y``; "" if they have none of the known ones. One date whose
    day is above 12 decides for all others whether the day or the month comes first."""
    form = max(_FORMS, key=lambda form: sum(_has_form(date, form) for date in dates))
    if not any(_has_form(date, form) for date in dates):
        return ""
    short = any(re.search(r"(?<![0-9])[1-9](?![0-9])", date) for date in dates)  # 5/3/2020
    return form.replace("%d", "%-d").replace("%m", "%-m") if short else form


def _has_form(date: str, form: str) -> bool:
    with suppress(ValueError):
        return bool(datetime.datetime.strptime(date.strip(), form))
    return False


def write(value: str, form: str) -> str:
    """Write the ISO date ``value`` in ``form``."""
    return datetime.date.fromisoformat(value).strftime(form) if form else value


def _to_reading(match: re.Match[str], day_first: bool | None) -> Reading:
    parts = {name[0]: text for name, text in match.groupdict().items() if text and name != "sep"}
    if "a" in parts:
        first, second = int(parts["a"]), int(parts["b"])
        day_first = first > 12 or (second <= 12 and (match["sep"] == "." if day_first is None else day_first))
        month, day = (second, first) if day_first else (first, second)
    else:
        month = int(parts["m"]) if parts["m"].isdigit() else _MONTHS.index(parts["m"][:3].lower()) + 1
        day = int(parts["d"])
    year = int(parts["y"])
    if len(parts["y"]) == 2:
        year += 2000 if year < 70 else 1900
    with suppress(ValueError):  # 30 February
        return Reading(datetime.date(year, month, day).isoformat())
    return NOTHING
