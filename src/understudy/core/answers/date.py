"""Dates: ``2020-03-05``, ``03/05/20``, ``March 5, 2020``, ``5th of March 2020``, ``05-Mar-20``, ``2020年3月5日`` -> ``2020-03-05``.

In ``03/05/2020`` the day or the month comes first as in the other dates of the data (`find_form`), else as the question asks
(DD/MM), else the month, as in BIG-bench's date questions; with dots (``05.03.2020``) the day. What cannot be a month is the day in
any case. A date without a year is not a date; years of two digits are those from 1970 to 2069.
"""

import datetime
import re
from collections import Counter
from collections.abc import Iterable

from understudy.core.answers.spans import NOTHING, SPAN, Reading, one_of

_MONTHS = "January February March April May June July August September October November December".split()
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
_ORDER = re.compile(r"\b(?:(?P<day>dd?\W{0,2}mm?)|mm?\W{0,2}dd?)\W{0,2}yy", re.I)
_WORD = re.compile(r"[0-9]+|[A-Za-z]+\.?")
_PLACES = re.compile("YYYY|YY|Month|Mon|MM|M|DD|D")


def read(span: str, *, strict: bool = False, question: str = "", form: str = "") -> Reading:
    """The date that ``span`` states, AMBIGUOUS where it states several and not one after its last "is" or "so". With ``strict`` the
    span must be only the date. ``form`` is that of the data's dates (`find_form`)."""
    order = _ORDER.search(form) or _ORDER.search(question)
    span, day_first = span[:SPAN], order and order["day"] is not None
    if strict:
        lead = _AROUND.match(span)
        match = _DATE.match(span, lead.end() if lead else 0)
        return _to_reading(match, day_first) if match and not span[match.end() :].strip(" .!\"'`*_)\n") else NOTHING
    found = [(match, reading) for match in _DATE.finditer(span) if (reading := _to_reading(match, day_first)).found]
    so = max((match.end() for match in _SO.finditer(span)), default=0)
    return one_of([reading for match, reading in found if match.start() >= so] or [reading for _, reading in found])


def find_form(dates: Iterable[str], questions: Iterable[str] = ()) -> str:
    """The form of most of ``dates``, such as ``DD/MM/YYYY`` or ``D Month YYYY``; "" where there is none. A day above 12 in one of
    them says for all whether the day or the month comes first; where none does, the ``questions`` do, if all ask for the same."""
    matches = [match for date in dates if (match := _DATE.search(date))]
    first, second = (any(match[name] and int(match[name]) > 12 for match in matches) for name in "ab")
    asked = {order["day"] is not None for question in questions if (order := _ORDER.search(question))}
    day_first = first if first != second else asked.pop() if len(asked) == 1 else None
    forms = Counter(_form_of(match, day_first) for match in matches)
    form = forms.most_common(1)[0][0] if forms else ""
    short = any(re.search("(?<![DM])[DM](?![DMo])", other) for other in forms)
    return form.replace("DD", "D").replace("MM", "M") if short else form


def write(value: str, form: str) -> str:
    """The ISO date ``value`` in ``form``."""
    year, month, day = value.split("-")
    name = _MONTHS[int(month) - 1]
    numbers = {"YYYY": year, "YY": year[2:], "MM": month, "M": month.lstrip("0"), "DD": day, "D": day.lstrip("0")}
    parts = {"Month": name, "Mon": name[:3], **numbers}
    return _PLACES.sub(lambda place: parts[place[0]], form) or value


def _parts_of(match: re.Match[str], day_first: bool | None) -> dict[str, str]:
    """y, m, d -> the name of its group in ``match``."""
    parts = {name[0]: name for name, text in match.groupdict().items() if text and name != "sep"}
    if "a" in parts:
        usual = match["sep"] == "." if day_first is None else day_first
        day, month = ("a", "b") if int(match["a"]) > 12 or (usual and int(match["b"]) <= 12) else ("b", "a")
        parts |= {"d": day, "m": month}
    return parts


def _form_of(match: re.Match[str], day_first: bool | None) -> str:
    part_at = {match.start(group): part.upper() for part, group in _parts_of(match, day_first).items()}

    def place(word: re.Match[str]) -> str:
        named = "Month" if word[0].title() in _MONTHS else "Mon"
        part = part_at.get(match.start() + word.start(), "")
        return word[0] if not part else part * len(word[0]) if word[0].isdigit() else named

    return re.sub("(?<=D)(?:st|nd|rd|th)", "", _WORD.sub(place, match[0]))


def _to_reading(match: re.Match[str], day_first: bool | None) -> Reading:
    part = {name: match[group] for name, group in _parts_of(match, day_first).items()}
    month = int(part["m"]) if part["m"].isdigit() else [name[:3] for name in _MONTHS].index(part["m"][:3].title()) + 1
    day, year = int(part["d"]), int(part["y"])
    if len(part["y"]) == 2:
        year += 2000 if year < 70 else 1900
    try:
        return Reading(datetime.date(year, month, day).isoformat())
    except ValueError:  # 30 February
        return NOTHING
