"""Yes and no: ``Yes``, ``No, it is not``, ``true``, ``B) False`` -> ``yes`` or ``no``."""

import re

from understudy.core.answers.spans import AMBIGUOUS, NOTHING, SPAN, Reading, find_sentence_end, merge, split_sentences, split_words

_VALUES = dict.fromkeys("yes yep yeah true correct y".split(), "yes") | dict.fromkeys("no nope false incorrect n".split(), "no")
_NO_NOUN = (
    r"(?!\s(?:one|longer|way|idea|evidence|information|doubt|more|less|matter|"
    r"answer|correct|right|definitive|direct|clear|simple|single|specific)\b)(?!-)(?!\.\s?[0-9])"
)
_FIRST = re.compile(
    r"[\s:=\"'`*_~>#(\[,-]{0,10}(?:[AB][).]\s)?[\"'`*_]{0,3}(?:(?:that|it|is|a|an|definitely|probably|most|likely|still|both|either|therefore|thus|so|simply)"
    r"\b[\s:,\"'`*_]{1,4}){0,4}"
    rf"(?P<word>yes|yep|yeah|true|correct|nope|no{_NO_NOUN}|false|incorrect|[yn](?=[.\s]*$))\b",
    re.I,
)
_BOTH = re.compile(r"\s?(?:and|or|/)\s?(?:[(]?[AB]\)\s)?(?:yes|no|true|false)\b", re.I)
_ANY = re.compile(rf"(?<![A-Za-z-])(?:yes|no{_NO_NOUN}|true|false)(?![A-Za-z-])", re.I)
_NOT = re.compile(r"(?:\bnot|n't|\bcannot|\bnever)\s(?:be\s)?(?:necessarily\s|entirely\s)?[\"'`*_]{0,3}$", re.I)


def read(span: str, *, strict: bool = False) -> Reading:
    """Read the yes or no that ``span`` states. With ``strict`` it must be the first word."""
    span = span[:SPAN]
    first = _FIRST.match(span)
    end = find_sentence_end(span, len(span) - len(span.lstrip()), len(span))
    if first and _BOTH.match(span, first.end()):
        return AMBIGUOUS
    if first and (strict or not _ANY.search(span, first.end(), min(end, first.end() + 12))):
        return Reading(_VALUES[first["word"].lower()])
    return NOTHING if strict else read_anywhere(span[:end])


_OPENS = re.compile(
    r"[\s\"'`*_(]{0,5}(?:A(?:nswer)?\s?:\s{0,3})?(?:[AB][).]\s)?(yes|yep|yeah|nope|no|true|false)\b(?=[\s\"'`*_)]{0,3}(?:[,.;:!-]|\n|$))",
    re.I,
)


def read_first(span: str) -> Reading:
    """Read the yes or no, followed by a sign ("No, ...", "True."), that begins a reply or its last paragraph that has one."""
    paragraphs = list(_PARAGRAPH.finditer(span))
    match = _OPENS.match(span) or (_OPENS.match(span, paragraphs[-1].end()) if paragraphs else None)
    return Reading(_VALUES[match[1].lower()]) if match else NOTHING


_PARAGRAPH = re.compile(r"\n[ ]{0,4}\n(?=[\"'`*_(]{0,5}(?:yes|no)\b[\"'`*_)]{0,3},)", re.I)


def deny(reading: Reading) -> Reading:
    """Return the opposite of a yes or no."""
    return Reading({"yes": "no", "no": "yes"}[reading.value]) if reading.value else reading


def read_anywhere(sentence: str) -> Reading:
    """Read the only yes or no in a sentence, where "not true" is no."""
    readings = []
    for match in _ANY.finditer(sentence):
        reading = Reading(_VALUES[match[0].lower()])
        readings.append(deny(reading) if _NOT.search(sentence, max(0, match.start() - 24), match.start()) else reading)
    return merge(readings)


_NEGATIONS = frozenset(
    "not no never cannot n't isn't aren't wasn't doesn't don't didn't can't won't neither nor unlikely impossible doubtful".split()
)
_EMPTY = (  # words that neither assert nor deny
    "is are was were be do does did can could would will should has have had may might it its this that of in on to for "
    "and or so thus hence therefore final answer now still also then highly very quite extremely likely"
).split()


def read_reply(question: str, span: str, sentence: str) -> Reading:
    """Read the yes or no that ``span`` begins with, or else what its ``sentence`` says about the ``question``."""
    return read(span, strict=True) or read_assertion(question, sentence)


def read_assertion(question: str, sentence: str) -> Reading:
    """Read whether ``sentence`` asserts (yes) or denies (no) the yes/no ``question``; NOTHING if it plainly does neither.

    It asserts the question if it has exactly the question's content words. It denies the question if it adds one negation or
    replaces one word: "Is the coin still heads up?", "The coin is tails up." With any other difference it does neither.
    """
    if sentence.rstrip(" \"')*_").endswith("?"):
        return NOTHING  # it repeats the question
    question_words = [word for word in split_words(_last_question(question)) if word not in _EMPTY]
    words = [word for word in split_words(sentence) if word not in _EMPTY]
    negated = sum(word in _NEGATIONS for word in words) - sum(word in _NEGATIONS for word in question_words)
    question_words = [word for word in question_words if word not in _NEGATIONS]
    words = [word for word in words if word not in _NEGATIONS]
    if len(question_words) < 2 or len(words) != len(question_words):
        return NOTHING
    changed = [(a, s) for a, s in zip(question_words, words, strict=True) if a != s]
    if len(changed) > 1 or negated not in (0, 1):
        return NOTHING
    return Reading("yes") if len(changed) + negated in (0, 2) else Reading("no")


def _last_question(text: str) -> str:
    """Return the last sentence of ``text`` that ends with a question mark."""
    end = text.rfind("?")
    sentences = split_sentences(text, 0, end + 1)
    return text[sentences[-1][0] : end] if sentences else ""
