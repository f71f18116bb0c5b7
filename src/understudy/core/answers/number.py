"""Numbers: ``7``, ``$1,650.50``, ``-3``, ``45 %``, ``5/12``, ``1 1/2 cups``, ``37 + 10 = 47``, ``two hundred and four``.

The canonical form is that of `arithmetic.write_number`: an integer, an exact decimal, else a fraction in lowest terms. A currency
or percent sign is dropped like any other unit, so 55 % is 55, as in GSM8K's gold answers. Arithmetic is evaluated. In an equation
the right-hand side counts, because it is what the writer says, true or not. `_choose` picks one of the numbers of a sentence. If
something looks like a number but cannot be decided (``3,5``, ``16\\pi``, ``2**1000``), neither it nor anything else in its
sentence is an answer.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import takewhile
from typing import NamedTuple

from understudy.core.answers.arithmetic import LITERAL, parse, to_fraction, write_number
from understudy.core.answers.markup import simplify
from understudy.core.answers.spans import AMBIGUOUS, NOTHING, SPAN, Reading, find_sentence_end, merge, skip

_FILLER = re.compile(
    r"(?:[\s:=\"'`*_~|>]|(?:that|it|is|equals?|equal to|about|approximately|approx\.|around|roughly|nearly|almost|only|exactly|"
    r"just|simply|a total of|the number|at least|at most|between|still|be|would be)\b\.?){0,12}",
    re.I,
)
_START = re.compile(r"(?<![A-Za-z0-9_.)])(?<![0-9]:)[-+]?[$€£]?[ ]?[-(\[]{0,6}[$€£]?\.?[0-9]")
_POINT = re.compile(r"[(\[]\s?-?[0-9.]{1,40},\s?-?[0-9]")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b|:[0-9]", re.I)
_PLACE = re.compile(r"(?:the )?([0-9]{1,9})(?:st|nd|rd|th)\b(?=(?:\s[a-z]{1,15})?[.!]?\s*(?:\n|$))")
_ENUMERATED = re.compile(
    r"^[ ]{0,8}(?:[-*#]{1,4} ?)?(?:\*\*)?(?:(?:step|part|[QA])\s?)?[0-9]{1,2}(?:[.):](?=\s|\*)|\*\*(?![0-9(]))", re.I
)
_TO_EQUALS = re.compile(r"(?:[^=.;?!\n(]|\([^()=.\n]{0,30}\)(?=\s?[-+*/=])){0,80}(?:=|\bequals\b)")
_REASON = re.compile(r"\b(?:because|since|as|so|when|if|where|from)\b", re.I)
_SO = re.compile(r"[.!\n]\s{1,4}(?:Therefore|Thus|Hence|In total|Altogether)\b")
_SCALE = re.compile(r"(?:\s{0,2}(hundred|thousand|million|billion|trillion|dozen|lakh|crore|mln|mn|bn)|(k|(?-i:[MB])))\b", re.I)
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALES |= {"k": 10**3, "lakh": 10**5, "m": 10**6, "mn": 10**6, "mln": 10**6, "crore": 10**7, "b": 10**9, "bn": 10**9}
_RANGE = re.compile(rf"[$]?(?:{LITERAL})-[$]?(?:{LITERAL})(?!\s?=)")
_NEXT = re.compile(
    rf"%?(?:\s{{1,2}}[A-Za-z]{{1,15}}){{0,2}}\s{{0,2}}(?:,(?:\s{{1,2}}(?:and|or))?|and|or|to|&)\s{{1,2}}(?=[$-]{{0,2}}(?:{LITERAL}))"
)
ALGEBRA = re.compile(
    r"[A-Za-z]\)? ?(?:[+*^] ?|[-/] )[$(]{0,3}[0-9]|[0-9)] ?(?:[+*^] ?| [-/] )\(?[A-Za-z]|[0-9)] ?[xy]\b(?! ?[0-9$(])"
)
_UNDECIDED = re.compile(r"[.,][0-9]|[ei]\b|\.?\s?\\(?:overline|bar|dot)\b|['′][0-9]|\s?(?:\\?(?:pi|sqrt)\b|[π√±])")
"""What follows a number that cannot be decided: a decimal comma, a list, an irrational factor, a period, a tolerance, inches."""
_EITHER = re.compile(r"[a-z] ?= ?-?[0-9.]{1,40},? or [a-z] ?= ?-?[0-9]")
"""Two solutions: ``x = 7 or x = -7``."""
_IRRATIONAL = re.compile(r"\bsqrt|\\pi\b|[π√]")
_TWO_UNITS = (
    "(?:years?|yrs?) (?:months?|mos?)|weeks? days?|days? (?:hours?|hrs?|h)|(?:hours?|hrs?|h) (?:minutes?|mins?|m)|"
    "(?:minutes?|mins?|m) (?:seconds?|secs?|s)|(?:feet|foot|ft) (?:inch(?:es)?|in(?!\\s(?:the|a|an)\\b))|"
    "dollars? cents?|(?:pounds?|lbs?) (?:ounces?|oz)|km m|m cm|kg g"
)
_IN_TWO_UNITS = re.compile(f"[ -]?(?:{_TWO_UNITS.replace(' ', rf'[.]?(?:,| and|, and)? ?{LITERAL}[ -]?')})\\b")
"""What follows a number that is stated in two units: it would have to be converted to the one that the question asks for."""
_GROUPED = re.compile(r"(?<![0-9.,/])[1-9][0-9]{0,2}(?:[ '_][0-9]{3})+(?![0-9]|[,/][0-9])")
_WHOLE = re.compile(r"\s{0,9}(-?[0-9]{1,15})\.?\s{0,9}")
"""A whole number and nothing else. Most answers are one, and need no parser."""
_SUBJECT = re.compile(
    r"(?:\s[a-z]+){1,3}?\s(?:cost|costs|is|are|was|were|will|would|makes?|weighs?|takes?|has|have|equals?)\s[^.\n]{0,60}[0-9]"
)
_UNIT = re.compile(r"[^0-9=]{0,60}")
_EQUATIONS = re.compile(r"[^\n]*=[^\n]*\n(?:[^\n]*=[^\n]*\n|\s*\n)*(?=[^\n]*=)")


class _Number(NamedTuple):
    """A number of a sentence, None if it cannot be decided, and its place."""

    value: Fraction | None
    start: int
    end: int


def read(span: str, *, strict: bool = False, question: str = "") -> Reading:
    """Read the number that ``span`` states. With ``strict`` the span must be the number and its unit, like a gold answer.
    ``question`` helps to choose among the numbers of a sentence."""
    if integer := _WHOLE.fullmatch(span):
        return Reading(str(int(integer[1])))
    span = _GROUPED.sub(lambda match: re.sub("[ '_]", "", match[0]), _simplify(span, question)[:SPAN])
    if equations := _EQUATIONS.match(span.lstrip()):
        span = _ENUMERATED.sub("", span.lstrip()[equations.end() :])  # of equations on several lines the last one counts
    start = skip(_FILLER, span)
    if not strict and (place := _PLACE.match(span, start)):
        return Reading(str(int(place[1])))
    first = _read_run(span, start)
    if ALGEBRA.search(span) and "=" not in span:
        return NOTHING
    if first is None and not any(sign.isdigit() for sign in span):
        value = from_words(span[start:])
        return Reading(write_number(value)) if value is not None else NOTHING
    if first is None:
        return NOTHING if strict else _read_sentences(span, start, question)
    if first.value is None:
        return AMBIGUOUS
    if not strict and _SUBJECT.match(span, first.end):
        return _read_inside(span[: find_sentence_end(span, start, len(span))], question)
    if strict and not _UNIT.fullmatch(span, first.end):
        right_side = _read_right_side(span, first.end)
        return _to_reading(right_side) if right_side and _UNIT.fullmatch(span, right_side.end) else NOTHING
    return _read_rest(span, first)


def read_last(sentence: str, question: str = "") -> Reading:
    """Read the number in a sentence of reasoning."""
    return _read_inside(_simplify(sentence[-2 * SPAN :], question)[-SPAN:], question)


def _simplify(span: str, question: str) -> str:
    span = simplify(span).replace("≈", "=")
    return span.replace("dozen", "") if _ASKS_DOZENS.search(question) else span  # "How many dozen eggs?": 3, not 36


def _read_rest(span: str, first: _Number) -> Reading:
    """Read the answer of a span that begins with a number, after which an equation or more numbers may follow."""
    right_side, end = _read_right_side(span, first.end), first.end
    if right_side is not None:
        return _to_reading(right_side)
    if _RANGE.match(span, end - len(span[:end].rstrip().rpartition(" ")[2])):
        return AMBIGUOUS
    readings = [_to_reading(first)]
    while (joint := _NEXT.match(span, end)) and len(readings) < 20:
        following = _read_run(span, joint.end())
        if following is None:
            break
        readings.append(_to_reading(following))
        end = following.end
    return merge(readings)


def _read_sentences(span: str, start: int, question: str) -> Reading:
    """Read the answer of a span that begins with a sentence; if that has a number, read the last sentence with "therefore"."""
    first = _read_inside(span[: find_sentence_end(span, start, len(span))], question)
    offset = max((match.end() for match in _SO.finditer(span)), default=0)
    last = _read_inside(span[offset : find_sentence_end(span, offset, len(span))], question) if offset else NOTHING
    return last if first and last else first


def _read_inside(span: str, question: str) -> Reading:
    span = _ENUMERATED.sub("", span)
    if (_IRRATIONAL.search(span) and "=" not in span) or _EITHER.search(span):
        return AMBIGUOUS
    numbers = _find_numbers(span)
    return _to_reading(_choose(span, numbers, question)) if numbers else NOTHING


def _choose(span: str, numbers: list[_Number], question: str) -> _Number:
    """Choose the number that a sentence gives as the answer: the last one that the rules in `_RULES` leave. A rule that leaves
    none does not count."""
    for rule in _RULES:
        numbers = rule(span, numbers, question) or numbers
    return _read_right_side(span, numbers[-1].end) or numbers[-1]


def _keep_asked_units(span: str, numbers: list[_Number], question: str) -> list[_Number]:
    """Return the numbers with the unit that the question asks for."""
    phrases = _ASKS.findall(question)
    units = {word.lower().rstrip("s") for word in phrases[-1].split()} - _NO_UNITS or {"dollar", "cent"} if phrases else set()
    return [number for number in numbers if units & _find_units(span, number)]


def _find_units(span: str, number: _Number) -> set[str]:
    money = {"dollar"} if span[number.start : number.start + 2].strip("-")[:1] in ("$", "€", "£") else set()
    return money | {word.lower().rstrip("s") for word in re.findall(r"[A-Za-z]+", span[number.end : number.end + 40])[:3]}


def _find_new(_: str, numbers: list[_Number], question: str) -> list[_Number]:
    in_question = {to_fraction(literal) for literal in re.findall(rf"(?<![0-9.,]){LITERAL}", question)}
    # "Sat - 3 makes 4 to 1": a sign may be a minus.
    candidates = [number for number in numbers if number.value is None or abs(number.value) not in in_question]
    return candidates if len({number.value for number in candidates}) == 1 else []


_EQUAL = re.compile(r"\b(?:equal|equivalent) to\s$")
_IS = re.compile(r"\b(?:is|was|equals)\s(?:[a-z]+\s)?$")
_FROM = re.compile(r"\s(?:[a-z]+\s)?to\s[-$]{0,2}[0-9]")
_ASKS = re.compile(r"\bhow (?:many ((?:[a-z-]+ ?){1,3})|much\b)", re.I)
_ASKS_DOZENS = re.compile(r"\bhow many dozen", re.I)
_NO_UNITS = set("more of the did doe will would i are were was in all total he she they ha have can need left".split())
_HANGS = re.compile(
    r"\b(?:(?:for|in|from|than|per|after|on|at|within|among|during|out of|if)\s(?:\w+\s){0,2}|"
    r"(?:the|these|those|all|each|every|his|her|their|its)\s(?:\w+\s)?)$",
    re.I,
)
_RULES: tuple[Callable[[str, list[_Number], str], list[_Number]], ...] = (
    # the same in another unit: "$2 / 8 = $0.25, which is equal to 25 cents"
    lambda span, numbers, _: [n for n in numbers if _EQUAL.search(span, 0, n.start)],
    # the result, not what it is for: "70 / 7 = 10 hours to earn $70"
    lambda span, numbers, _: [n for n in numbers if n.start > span.rfind("=") >= 0][:1],
    # what the subject is, not what describes it: "the number of pens after he bought 13 pens is 52"
    lambda span, numbers, _: stated if len(stated := [n for n in numbers if _IS.search(span, 0, n.start)]) == 1 else [],
    # what the question asks for: "it takes him 48 hours to install the 6 windows"
    _keep_asked_units,
    # what it becomes, not what it was: "Sun - 8 makes 15 to 7"
    lambda span, numbers, _: [n for n in numbers if not _FROM.match(span, n.end)],
    # the only new one: the others come from the question
    _find_new,
    # not one that only says for what, of what or when: "$1800 for all 4 phones"
    lambda span, numbers, _: [n for n in numbers if not _HANGS.search(span, 0, n.start)],
)


def _to_reading(number: _Number) -> Reading:
    return AMBIGUOUS if number.value is None else Reading(write_number(number.value))


def _find_numbers(span: str) -> list[_Number]:
    """Return the numbers and the arithmetic in ``span``, in order."""
    numbers, position = [], 0
    while match := _START.search(span, position):
        number = _read_run(span, match.start())
        position = match.end()
        if number:
            numbers.append(number)
            position = max(position, number.end)
    return numbers


def _read_right_side(span: str, end: int) -> _Number | None:
    """Return the number after the last equals sign of the equation that continues at ``end``, None if there is none."""
    last = None
    while (match := _TO_EQUALS.match(span, end)) and not _REASON.search(match[0]):
        following = _read_run(span, skip(_FILLER, span, match.end()))
        if following is None:
            break
        last, end = following, following.end
    return last


def _read_run(span: str, start: int) -> _Number | None:
    """Read the number or arithmetic at ``start``."""
    if not _START.match(span, start):
        return None
    position = start
    if span[start] in "$€£" and not span[start + 1 : start + 3].strip()[:1].isdigit():
        position += 1  # $-5, $(3 + 4)
    parsed = parse(span, position)
    if parsed is None and (_POINT.match(span, position) or span[position:].lstrip("$€£+- ")[:1].isdigit()):
        return _Number(None, start, max(position + 1, _skip_digits(span, position)))  # too large, or (1, 2)
    if parsed is None or _ORDINAL.match(span, parsed.end) or (parsed.value is None and "=" in span[parsed.end : parsed.end + 3]):
        return None
    if parsed.value is None or _UNDECIDED.match(span, parsed.end):
        return _Number(None, start, _skip_digits(span, parsed.end))
    # a lone "45%" is 45, but inside arithmetic ("45% * 200") it is 0.45
    value = parsed.value * 100 if len(parsed.numbers) == 1 and span[parsed.end - 1] == "%" else parsed.value
    if two_units := _IN_TWO_UNITS.match(span, parsed.end):
        return _Number(None, start, two_units.end())
    if scale := _SCALE.match(span, parsed.end):
        if (scale[2] or "k") in "MB" and span[start] not in "$€£":
            return _Number(None, start, scale.end())  # 2.5M may be a million, or a letter
        return _Number(value * _SCALES[(scale[1] or scale[2]).lower()], start, scale.end())
    return _Number(value, start, parsed.end)


def _skip_digits(span: str, position: int) -> int:
    return len(span) - len(span[position:].lstrip("-+*/^0123456789.,() "))


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
).split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * value for value, word in enumerate(_TENS, 2)}
_PARTS = {word: value for value, word in enumerate("third fourth fifth sixth seventh eighth ninth tenth".split(), 3)}
_PARTS |= {"half": 2, "quarter": 4}


def from_words(text: str) -> Fraction | None:
    """Read the number in words at the start of ``text``: ``two hundred and four`` -> 204, ``two thirds`` -> 2/3, ``minus five`` ->
    -5, ``three point two five`` -> 3.25. None if there is none."""
    words = re.findall(r"[a-z]+", text[:120].lower())
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[sign < 0 :]
    total = current = 0
    has_number = False
    for i, word in enumerate(words):
        denominator = _PARTS.get(word.removesuffix("s").replace("halve", "half"))
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred" and current:
            current *= 100
        elif word in _SCALES and (current or word == "dozen"):
            total, current = total + (current or 1) * _SCALES[word], 0
        elif denominator:
            if words[max(0, i - 2) : i] == ["and", "a"]:  # two and a half
                return sign * (total + current + Fraction(1, denominator))
            factor = 12 if "dozen" in words[i + 1 : i + 3] else 1  # half a dozen
            return sign * factor * Fraction(total + current if has_number else 1, denominator)
        elif word == "point":
            decimals = " ".join(str(_WORDS[digit]) for digit in takewhile(_WORDS.__contains__, words[i + 1 :]))
            decimals = re.sub(r"(?<=[2-9])0 (?=[1-9]\b)| ", "", decimals)  # eighty seven: 87
            return sign * Fraction(f"{total + current}.{decimals}") if decimals else None
        elif word == "of" or word.endswith("ths"):
            return None
        elif not (word in ("and", "a") and (has_number or not i)):
            break
        has_number = has_number or word not in ("and", "a")
    return Fraction(sign * (total + current)) if has_number else None
