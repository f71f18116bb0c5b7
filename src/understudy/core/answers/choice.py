"""Options: ``(b)``, ``B``, ``B) show``, ``2``, or the option's own text -> ``B``.

Labels are letters. If there are option texts, ``1`` to ``9`` are labels too (ARC's keys), unless an option *is* that number.
"""

import re
from collections.abc import Sequence

from understudy.core.answers.markup import unwrap
from understudy.core.answers.spans import AMBIGUOUS, NOTHING, SPAN, Reading, merge, split_words, take_sentence

_OPEN = (
    r"[\s:=\"'`*_~>#$]{0,12}(?i:(?:that|it|is|must|either|both|probably|likely|most likely|still|be|option|choice|answer|letter)\b"
    r"[\s:]{0,3}){0,4}[\s\"'`*_]{0,4}"
)
_BRACKETED = r"[(\[{]\s?(?P<bracketed>[A-Za-z1-9])\s?[)\]}]"
_HALF = r"(?P<half>[A-Za-z1-9])\s?[)\]]"
_BARE = r"(?P<bare>[A-Z])(?![A-Za-z0-9+-]|['’][A-Za-z])"
_SMALL = r"(?P<small>[a-z1-9])(?=[\s\"'`*_]{0,4}(?:[.:,]|$|\n))(?!\.[0-9])"
_LABEL = re.compile(rf"{_OPEN}(?:{_BRACKETED}|{_HALF}|{_BARE}|{_SMALL})")
_AND_THEN = re.compile(
    r"(?:(?!\b(?:because|since|as|while|whereas|but|not|is|than|unlike|over|instead)\b)[^.;\n()]){0,60}?"
    r"(?:,|/|\b(?:or|and|oder|und|ou|et|[oyeи]|или)\b|[&或和]|(?=[ ][(]))[ ]{0,2}(?:and |or |either )?"
    r"(?:maybe |possibly |perhaps )?(?:option |choice )?(?:[(\[](?P<a>[A-Za-z1-9])[)\]]|(?P<b>[A-Z])(?=[).,:/ 。]|$))"
)
_MENTION = re.compile(
    r"[(\[]\s?([A-Za-z])\s?[)\]]|(?<![A-Za-z0-9'(])([A-Z])\)|\b(?:option|choice|answer) ([A-Z])\b|^([A-Z])[.)]?$"
    r"|(?:\b(?:[Tt]herefore|[Tt]hus|[Hh]ence|[Ss]o|(?:answer|option|choice|one|[Ii]t|[Tt]his) is)"
    r"|\bI (?:choose|select|pick)),? (?:definitely |obviously |certainly )?"
    r"([A-Z])(?=[.!]?$|,? is (?:the )?(?:correct|right|best|answer)\b)"
)


def read(span: str, choices: Sequence[str], *, strict: bool = False) -> Reading:
    """Read the option that ``span`` states. With ``strict`` the span must begin with the label or text."""
    span = re.sub(r"\\[()]", "", unwrap(span[:SPAN]))
    if _LIST.match(span):
        return NOTHING  # "Possible answers:" over all options
    match = _LABEL.match(span)
    words = split_words(take_sentence(span))
    by_text = merge([Reading(_write_letter(i)) for i, choice in enumerate(choices) if words and words == split_words(choice)][:1])
    if match is None or (match["bare"] in ("A", "I") and _is_word(span, match.end())):
        return by_text if strict else by_text or find_named(take_sentence(span), choices)
    label = next(group for group in match.groups() if group)
    if by_text and (label.isdigit() or (match["bare"] == "A" and span.strip() != "A")):
        return by_text
    letter = _find_letter(label, choices)
    return by_text if letter is None else merge([Reading(letter), *_find_joined(span, match.end(), choices)])


_FIRST = re.compile(
    r"[\s*_`\"']{0,9}(?:A(?:ns(?:wer)?)?\s?:\s{0,3}(?=[(\[]?[A-Za-z][)\]:.]|(?<!A: )[A-Za-z]$))?"
    r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer|Therefore,?|Thus,?|Hence,?|So,?|"
    r"It(?: must be| is|'s)|I(?:'d| would)? (?:choose|pick|select|go with)) )?"
    r"(?:[(\[]([A-Za-z])[)\]]|([A-Z])(?:[):.](?=\s|$)|[\s*_`\"'.]{0,9}$|(?=,? (?:because|since|not|rather than|instead of|"
    r"is (?:the )?(?:correct|right|answer|best))\b))"
    r"|([a-z])[.)]?\s{0,9}$)"
)


def read_first(span: str, choices: Sequence[str]) -> Reading:
    """Read the label at the beginning of a reply: "(b) show", "C) city", "C". Several labelled lines are a list, not an answer."""
    match = _FIRST.match(span)
    letter = _find_letter(match[1] or match[2] or match[3], choices) if match else None
    if match is None or letter is None or _LISTED.search(span, match.end(), SPAN):
        return NOTHING
    # "A) show. Option B: ..." is an answer, "A) show is wrong. B) ..." a list.
    is_answer = split_words(take_sentence(span[match.end() :])) in [split_words(option) for option in choices[:1]]
    if letter == "A" and span[match.end() - 1] in ").:" and not is_answer and _SECOND.search(span, match.end()):
        return NOTHING
    words = split_words(span[match.end() :])
    if words in [split_words(option) for option in choices] and words != split_words(choices[ord(letter) - ord("A")]):
        return find_named(span[match.end() :], choices) if match[2] == "A" else AMBIGUOUS  # "A: blue" is an answer, not a label
    if denies(take_sentence(span)) or _THIS.search(span, 0, 300) or (match[2] == "A" and len("".join(words)) == 1):
        return NOTHING
    return merge([Reading(letter), *_find_joined(span, match.end(), choices)])


_DENIES = re.compile(
    r"\b(?:not (?:the |a )?(?:correct|right|best|answer)|incorrect|(?:this|it|option) is false|is wrong|"
    r"can(?:not|'t) be (?:right|correct|the answer)|: (?:no|wrong)(?=[.\s]*$)|ruled out|eliminated)\b",
    re.I,
)
_THIS = re.compile(r"\b[Tt]his (?:answer|option|choice)(?: choice)? is (?:incorrect|not correct|wrong)\b")
_LIST = re.compile(r"\s{0,4}[(\[]?[Aa1][)\]:.][^\n]{0,200}\n{1,2}\s{0,4}[(\[]?[Bb2][)\]:.]\s")
_LISTED = re.compile(r"\n\s{0,4}(?:[(\[][A-Za-z][)\]]|[A-Z][):.])\s|\.\s[(]?[B-Z]\)\s")
_SECOND = re.compile(r"(?:\n\s{0,4}[-*_]{0,3}\s?|[.,;]\s)(?:Option |Choice )?[(]?B(?:\)|[*_]{0,2}[:.])(?=[\s:*_])")
"""The second option, in a reply that goes through them from A on."""


def denies(sentence: str) -> bool:
    """Return whether ``sentence`` says that an option is not the answer."""
    return _DENIES.search(sentence) is not None


def is_option_list(lines: Sequence[str], choices: Sequence[str]) -> bool:
    """Return whether ``lines`` only list one option after another: "C) green", "D) yellow"."""
    labels = [match for line in lines if (match := _FIRST.match(line)) and not match[3]]
    letters = [letter for match in labels if (letter := _find_letter(match[1] or match[2], choices))]
    texts = [split_words(line[match.end() :]) for line, match in zip(lines, labels, strict=False)]
    expected = [split_words(choices[ord(letter) - ord("A")]) for letter in letters if choices]
    return len(expected) == 2 and texts == expected and letters == sorted(letters)


def find_named(sentence: str, choices: Sequence[str]) -> Reading:
    """Read the one option whose text ``sentence`` names as whole words. A text inside a longer named text does not count."""
    words = f" {' '.join(split_words(sentence))} "
    texts = [f" {' '.join(split_words(choice))} " for choice in choices]
    indices = [i for i, text in enumerate(texts) if text.strip() and text in words]
    indices = [i for i in indices if not any(texts[i] in texts[j] and texts[i] != texts[j] for j in indices)]
    return merge([Reading(_write_letter(i)) for i in indices if texts.index(texts[i]) == i])


def find_mentioned(sentence: str, choices: Sequence[str]) -> Reading:
    """Read the one label, in brackets or after the word "option", that ``sentence`` mentions."""
    letters = [_find_letter(next(group for group in match.groups() if group), choices) for match in _MENTION.finditer(sentence)]
    return merge([Reading(letter) for letter in letters if letter])


def _find_joined(span: str, position: int, choices: Sequence[str]) -> list[Reading]:
    """Return the labels that are joined to the first one: "A or B", "(A), (B) and (C)"."""
    readings: list[Reading] = []
    while (match := _AND_THEN.match(span, position)) and len(readings) < 10:
        if letter := _find_letter(match["a"] or match["b"], choices):
            readings.append(Reading(letter))
        position = match.end()
    return readings


def _find_letter(label: str, choices: Sequence[str]) -> str | None:
    """Return the canonical letter of a label, None if there is no such option."""
    if label.isdigit():
        return _write_letter(int(label) - 1) if 0 < int(label) <= len(choices) else None
    letter = label.upper()
    return letter if not choices or ord(letter) - ord("A") < len(choices) else None


def _write_letter(index: int) -> str:
    return chr(ord("A") + index)


def _is_word(span: str, position: int) -> bool:
    """Return whether the capital A or I before ``position`` is a word of the sentence: "A dog", not "A because"."""
    next_word = re.match(r" ([a-z]+)", span[position : position + 30])
    return next_word is not None and next_word[1] not in _AFTER_LABEL


_AFTER_LABEL = "because since as when if unless is and or which for due based oder und ist weil ou et o y es porque".split()
