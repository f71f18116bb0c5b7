"""Numbers: ``7``, ``$1,650.50``, ``-3``, ``45 %``, ``5/12``, ``1 1/2 cups``, ``37 + 10 = 47``, ``two hundred and four``.

The canonical form is `arithmetic.plain`: an integer, an exact decimal, else a fraction in lowest terms. A currency or percent
sign is dropped like any other unit, so 55 % is 55, as in GSM8K's gold answers. Arithmetic is evaluated. Of an equation the
right-hand side counts, because it is what the writer says, true or not.
"""

import re
from fractions import Fraction

from understudy.core.answers.arithmetic import LITERAL, parse, write_number
from understudy.core.answers.spans import AMBIGUOUS, NOTHING, SPAN, Reading, find_sentence_end, one_of

_FILLER = re.compile(
    r"(?:[\s:=\"'`*_~|>]|(?:that|it|is|equals?|equal to|about|approximately|approx\.|around|roughly|nearly|almost|only|exactly|"
    r"just|simply|a total of|the number|at least|at most|still|be|would be)\b\.?){0,12}",
    re.I,
)
_START = re.compile(r"(?<![A-Za-z0-9_.)])(?<![0-9]:)[-+]?[$€£]?[ ]?[-(\[]{0,6}[$€£]?\.?[0-9]")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b|:[0-9]", re.I)
_ENUMERATED = re.compile(r"^[ ]{0,8}(?:[-*#]{1,4} ?)?(?:\*\*)?(?:(?:step|part|[QA])\s?)?[0-9]{1,2}(?:[.):](?=\s|\*)|\*\*)", re.I)
_TO_EQUALS = re.compile(r"[^=.;?!\n(]{0,80}(?:=|\bequals\b)")
_REASON = re.compile(r"\b(?:because|since|as|so|when|if|where|from)\b", re.I)
_SCALE = re.compile(r"\s{0,2}(hundred|thousand|million|billion|trillion)\b", re.I)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_RANGE = re.compile(rf"[$]?(?:{LITERAL})-[$]?(?:{LITERAL})(?!\s?=)")
_NEXT = re.compile(
    rf"%?(?:\s{{1,2}}[A-Za-z]{{1,15}}){{0,2}}\s{{0,2}}(?:,(?:\s{{1,2}}(?:and|or))?|and|or|to|&)\s{{1,2}}(?=[$-]{{0,2}}(?:{LITERAL}))"
)
_ALGEBRA = re.compile(
    r"[A-Za-z]\)? ?(?:[+*^] ?|[-/] )[$(]{0,3}[0-9]|[0-9)] ?(?:[+*^] ?| [-/] )\(?[A-Za-z]|[0-9)] ?[xy]\b(?! ?[0-9$(])"
)
_WHOLE = re.compile(r"\s{0,9}(-?[0-9]{1,15})\.?\s{0,9}")
"""A whole number and nothing else: most answers are, and need no parser."""
_UNIT = re.compile(r"[^0-9=]{0,60}")


def read(span: str, *, strict: bool = False, question: str = "") -> Reading:
    """The number that ``span`` states. With ``strict`` the span must be the number and its unit, like a gold answer. With
    ``question`` the answer among several numbers in a sentence is the one that the question does not have."""
    if whole := _WHOLE.fullmatch(span):
        return Reading(str(int(whole[1])))
    span = tidy(span)[:SPAN]
    lead = _FILLER.match(span)
    begin = lead.end() if lead else 0
    found = _read_run(span, begin)
    if _ALGEBRA.search(span) and "=" not in span:
        return NOTHING
    if found is None and not any(sign.isdigit() for sign in span):
        value = from_words(span[begin:])
        return Reading(write_number(value)) if value is not None else NOTHING
    if found is None:
        return NOTHING if strict else _read_inside(span[: find_sentence_end(span, begin, len(span))], question)
    value, end = found
    if strict and not _UNIT.fullmatch(span, end):
        again = _right_side(span, end)
        return Reading(write_number(again[0])) if again and _UNIT.fullmatch(span, again[1]) else NOTHING
    return _read_rest(span, value, end)


def read_last(sentence: str) -> Reading:
    """The last number of a sentence of reasoning, or the right-hand side of its equation."""
    return _read_inside(tidy(sentence)[-SPAN:], "")


def _read_rest(span: str, value: Fraction, end: int) -> Reading:
    """The answer of a span that begins with a number, after which an equation or more numbers may follow."""
    again = _right_side(span, end)
    if again is not None:
        return Reading(write_number(again[0]))
    if _RANGE.match(span, end - len(span[:end].rstrip().rpartition(" ")[2])):
        return AMBIGUOUS
    readings = [Reading(write_number(value))]
    while (more := _NEXT.match(span, end)) and len(readings) < 20:
        found = _read_run(span, more.end())
        if found is None:
            break
        readings.append(Reading(write_number(found[0])))
        end = found[1]
    return one_of(readings)


def _read_inside(span: str, question: str) -> Reading:
    """The number in a sentence: that after its last equals sign, else the only new one, else the last one."""
    span = _ENUMERATED.sub("", span)
    found = _numbers(span)
    if not found:
        return NOTHING
    if "=" not in span and len(found) > 1 and question:
        question_numbers = set(_numbers(question))
        new = [value for value in dict.fromkeys(found) if value not in question_numbers]
        if len(new) == 1:
            return Reading(write_number(new[0]))
    return Reading(write_number(found[-1]))


def _numbers(span: str) -> list[Fraction]:
    """The values of the numbers and the arithmetic in ``span``, in order."""
    values, at = [], 0
    while match := _START.search(span, at):
        found = _read_run(span, match.start())
        at = match.end()
        if found:
            values.append(found[0])
            at = max(at, found[1])
    return values


def _right_side(span: str, end: int) -> tuple[Fraction, int] | None:
    """The value after the last equals sign of the equation that continues at ``end``, None where there is none."""
    found = None
    while (match := _TO_EQUALS.match(span, end)) and not _REASON.search(match[0]):
        lead = _FILLER.match(span, match.end())
        following = _read_run(span, lead.end() if lead else match.end())
        if following is None:
            break
        found, end = following, following[1]
    return found


def _read_run(span: str, begin: int) -> tuple[Fraction, int] | None:
    """The value and the end of the number or arithmetic at ``begin``."""
    if not _START.match(span, begin):
        return None
    if span[begin] in "$€£" and not span[begin + 1 : begin + 3].strip()[:1].isdigit():
        begin += 1  # $-5, $(3 + 4)
    found = parse(span, begin)
    if found is None or found.value is None or _ORDINAL.match(span, found.end):
        return None
    # a lone "45%" is 45, but inside arithmetic ("45% * 200") it is 0.45
    value = found.value * 100 if len(found.numbers) == 1 and span[found.end - 1] == "%" else found.value
    scale = _SCALE.match(span, found.end)
    if scale:
        return value * _SCALES[scale[1].lower()], scale.end()
    return value, found.end


_FRACTION = re.compile(r"\\[dt]?frac ?\{([^{}]{1,40})\} ?\{([^{}]{1,40})\}")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed|mbox) ?\{([^{}]{0,80})\}")
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%", r"\$": "$", r"\left": "", r"\right": "", "\\,": "", r"\!": ""}
_BOLD = re.compile(r"(?<![0-9)])\*\*|\*\*(?![0-9(-])|\\[()\[\] ;:]|\$\$|<<[^<>]{0,80}>>")


def tidy(span: str) -> str:
    """``span`` without the markup of Markdown and LaTeX, and without GSM8K's calculator marks."""
    span = span[: 3 * SPAN]
    if "\\" in span:
        span = _WRAPPED.sub(r" \1 ", _FRACTION.sub(r"(\1)/(\2)", span))
        for name, sign in _LATEX.items():
            span = span.replace(name, sign)
    return _BOLD.sub("", span)


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
).split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * value for value, word in enumerate(_TENS, 2)}
_BELOW_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS[1:10])}))?|{'|'.join(reversed(_UNITS))})\b"
NUMBER_WORDS = rf"{_BELOW_100}(?: (?:{'|'.join(_SCALES)})\b(?:(?: and)? {_BELOW_100})?){{0,4}}"
"""The pattern of a number in words, which `from_words` reads."""


def from_words(text: str) -> Fraction | None:
    """The number in words at the start of ``text``: ``two hundred and four`` -> 204. None where there is none."""
    total = group = 0
    seen = False
    for word in re.findall(r"[a-z]+", text[:120].lower()):
        if word in _WORDS:
            group += _WORDS[word]
        elif word == "hundred" and group:
            group *= 100
        elif word in _SCALES and group:
            total, group = total + group * _SCALES[word], 0
        elif not (word == "and" and seen):
            if word in ("point", "of", "half", "third", "quarter") or word.endswith(("ths", "thirds", "quarters")):
                return None
            break
        seen = True
    return Fraction(total + group) if seen else None
