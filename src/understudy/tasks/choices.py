"""The options of a question, in every layout that data sets use, and the option that an answer names.

["sun", "moon"]    ["A) sun", "B) moon"]    {"A": "sun", "B": "moon"}    {"label": ["1", "2"], "text": ["sun", "moon"]}
[{"label": "A", "text": "sun"}, ...]        fields option_a, option_b    "Which is hot? (A) sun (B) moon" in the question
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from understudy.core.answers import normalise
from understudy.core.errors import DataError
from understudy.corpus.formats.record import write_identifier

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Options(NamedTuple):
    """Option texts in the order A, B, ..., and the data set's own ``labels``, if any; ARC's may be "1" to "4"."""

    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def read_options(value: Any, location: str, name: str) -> Options:
    """Read the options in the field ``name``. Raises DataError if its value has none of the layouts."""
    value = parse_list(value)
    if value is None or value in ("", []):
        return Options()
    match value:
        case {"label": list(labels), "text": list(texts)} if len(labels) == len(texts):
            return _make_options(texts, labels, location, name)
        case dict():
            present = {label: text for label, text in value.items() if text is not None}
            return _make_options(list(present.values()), list(present), location, name)
        case [dict(), *_] if all(isinstance(v, dict) and "text" in v for v in value):
            labelled = all(v.get("label") is not None for v in value)
            return _make_options([v["text"] for v in value], [v["label"] for v in value] if labelled else [], location, name)
        case list() | tuple():
            options = _make_options(list(value), [], location, name)
            marks = [_SIGN.match(text) for text in options.texts]
            labels = [mark["label"] for mark in marks if mark]
            if len(labels) > 1 and tuple(labels) == _list_labels(labels[0], len(options.texts)):
                return Options(tuple(t[m.end() :] for t, m in zip(options.texts, marks, strict=True) if m), tuple(labels))
            return options
    raise DataError(f"{location}: field {name!r} must be a list of texts (labelled or not) or map labels to texts, not {value!r}")


def read_field_options(row: Mapping[str, Any], names: Sequence[str], location: str, answer: str) -> Options:
    """Read options that are each in their own field of ``names``; the field names count as labels. Empty fields at the end are
    dropped.

    If one of them is the field of the right answer (correct_answer, distractor1, ...), that would always be the same option. The
    options are then sorted alphabetically.
    """
    present = [name for name in names if row.get(name) not in (None, "")]
    if present != list(names[: len(present)]):
        gap = next(name for name in names if name not in present)
        raise DataError(f"{location}: field {gap!r} is empty, but a later option is not; fill it or remove the row")
    if answer in names:
        return _make_options(sorted(str(row[name]) for name in present), [], location, "choices")
    return _make_options([row[name] for name in present], present, location, "choices")


def _make_options(texts: Sequence[Any], labels: Sequence[Any], location: str, name: str) -> Options:
    for text in texts:
        if isinstance(text, bool) or not isinstance(text, str | int | float) or not str(text).strip():
            raise DataError(f"{location}: field {name!r} must be a list of non-empty texts, but has {text!r}")
    if len(texts) > len(LETTERS):
        raise DataError(f"{location}: field {name!r} has {len(texts)} options; the maximum is {len(LETTERS)}")
    signs = [str(label).strip() for label in labels]
    if len(set(signs)) < len(signs):
        raise DataError(f"{location}: field {name!r} uses a label twice ({', '.join(signs)})")
    return Options(tuple(map(str, texts)), tuple(signs))


_SIGN = re.compile(r"\s*\(?(?P<label>[A-Za-z1-9])(?:\)\s*|\.\s+|(?<=[A-Za-z]):\s+)(?=\S)")
"""An option's own label before its text. ``1.5`` and ``1:30`` have no label."""

_MARKS = (r"(?<!\w)\(X\)\s*", r"(?<!\S)X\)\s*", r"^[ \t]*X[.:]\s+")
_STYLES = [
    *(re.compile(mark.replace("X", f"(?P<label>[{labels}])"), re.M) for labels in ("A-Z", "a-z", "1-9") for mark in _MARKS),
    re.compile(r"(?<!\S)(?P<label>[A-Z])[.:] +"),
]
"""The styles in which a text marks its options: "(A) sun", "A) sun", a line "A. sun", or "A. sun B. moon"."""

_LEAD = re.compile(r"\s*\b(?:answer )?(?:options|choices)( are)?:?\s*$", re.I)
_TAIL = re.compile(r"\n\s*(?:A|Answer)\s*:?\s*$")


def _list_labels(first: str, n: int) -> tuple[str, ...]:
    """Return the first ``n`` letters or numbers, in the style of ``first``."""
    return tuple(("123456789" if first.isdigit() else LETTERS if first.isupper() else LETTERS.lower())[:n])


def split_options(text: str, location: str) -> tuple[str, Options]:
    """Split a text that ends with options into (the question, its options).

    Raises DataError if there are no options, or if several styles of marks could be options.
    """
    candidates = [marks for style in _STYLES if (marks := _find_marks(style, text))]
    if len({tuple(mark.start("label") for mark in marks) for marks in candidates}) != 1:
        problem = "no options such as (A) ... (B) ..." if not candidates else "more than one list of options"
        raise DataError(f"{location}: {problem} at the end of {text[-120:]!r}; remove the row, or put the options in a field")
    marks = candidates[0]  # all matching styles agree where its labels are
    stops = [mark.start() for mark in marks[1:]] + [len(_TAIL.sub("", text))]
    texts = [text[mark.end() : stop].strip() for mark, stop in zip(marks, stops, strict=True)]
    cleaned = [re.sub(r"\s*[,;]?(?:\s+(?:or|and))?$|\s*[,;]$", "", option) for option in texts[:-1]]
    question = _LEAD.sub("", text[: marks[0].start()]).strip()
    if not question or not all([*cleaned, texts[-1]]):
        raise DataError(f"{location}: the question or an option of {text[-120:]!r} is empty; remove the row")
    return question, _make_options([*cleaned, texts[-1]], [mark["label"] for mark in marks], location, "question")


def _find_marks(style: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the marks of one style, if there are two or more in the right order; else []."""
    marks = list(style.finditer(text))
    labels = tuple(mark["label"] for mark in marks)
    return marks if len(labels) > 1 and labels == _list_labels(labels[0], len(labels)) else []


def find_letter(raw: Any, options: Options, base: int | None, *, declared: bool) -> str | None:
    """Return the letter of the option that ``raw`` names, None if it names none.

    ``raw`` may be, in order of trust: the data set's own label; a number that counts from ``base``; an option's text; a letter,
    ``(a)`` or ``B) moon``. Raises ValueError if two readings name different options, or if a number may count from 0 or from 1.
    """
    folded, stripped = _fold(raw), _strip_marks(raw)
    labels = [_fold(label) for label in options.labels]
    for sign in (folded, stripped):
        if labels.count(sign) == 1:
            return LETTERS[labels.index(sign)]
    texts = [_fold(text) for text in options.texts]
    by_text = LETTERS[texts.index(folded)] if folded in texts else None
    if stripped.isdecimal():
        by_number = None if base is None else _pick_letter(int(stripped) - base, len(texts))
        if declared or by_text is None:
            if base is None:
                reason = "is a number, but the row has no options; name their field (choices), or set another kind"
                raise ValueError("may count options from 0 or from 1; set task.answer_base to 0 or 1" if texts else reason)
            return by_number
        if by_number not in (None, by_text):
            raise ValueError(f"is the text of option {by_text} and the number of option {by_number}; set task.answer_base")
        return by_text
    by_letter = _pick_letter(LETTERS.find(stripped.upper()), len(texts)) if len(stripped) == 1 else None
    if by_text and by_letter not in (None, by_text):
        raise ValueError(f"is the text of option {by_text} and the letter of option {by_letter}; give options with labels")
    return by_text or normalise(str(raw), "option", options.texts)


def _pick_letter(index: int, n: int) -> str | None:
    """Return the letter of an index. Without option texts any index is valid."""
    return LETTERS[index] if 0 <= index < (n or len(LETTERS)) else None


def _fold(value: Any) -> str:
    return " ".join(write_identifier(value).split()).casefold()


def _strip_marks(value: Any) -> str:
    """Return a letter or number without the signs around it: ``(a)``, ``1.``"""
    match = re.fullmatch(r"[(\[]?(\w|\d{1,2})[)\].:]?", _fold(value))
    return match[1] if match else ""


def find_base(answers: Iterable[tuple[str, Any, Options]]) -> int | None:
    """Return the number from which answers count, if an answer shows it: 0 shows that they count from 0, and the number of options
    that they count from 1.

    ``answers`` are (where, raw answer, options). Raises DataError if they show both.
    """
    first_row: dict[int, str] = {}
    for location, raw, options in answers:
        stripped = _strip_marks(raw)
        matches = {stripped, _fold(raw)} & set(map(_fold, (*options.labels, *options.texts)))
        if stripped.isdecimal() and not matches and int(stripped) in (0, len(options.texts)):
            first_row.setdefault(min(int(stripped), 1), location)
    if len(first_row) > 1:
        raise DataError(f"{first_row[0]}: the answer counts options from 0, but at {first_row[1]} from 1; use one base for all")
    return next(iter(first_row), None)


def parse_list(value: Any) -> Any:
    """Return ``value``, or the list or map in its JSON text, because a table has no lists."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        with suppress(ValueError):
            return json.loads(value)
    return value
