"""Find questions that are both in a held-out split and outside it: equal ones, which a rule stops or drops, and near ones.

    Ann has 3 pears. How many?     Ann has 12 pears; how many?        other numbers
    Ann has 3 pears. How many?     Bob Lee has 12 pears. How many?    other names
    Which is red, a rose or grass? Which is red, grass or a rose?     same words

All of it takes linear time. Beware: it reads every word of every question.
"""

import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, groupby

from understudy.core.errors import DataError, counted
from understudy.core.values import Problem, grouped

GRAM = 13
"""A run of this many words that two questions share is no accident (GPT-3, arXiv 2005.14165, appendix C)."""
WHOLE = 6
"""A question of this many words counts as one, whatever comes before or after it ("Please reason step by step, and ...")."""
_MINIMUM = 4
"""A template with fewer words that are neither names nor numbers ("is X in X") says nothing."""
_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)+|\w+")
"""A word, or a number with its marks: "1,000" is one word, like "900"."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters that are not blanks."""
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Invisible letters and marks (Default_Ignorable_Code_Point; those of the category Cf are recognised by that)."""
_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+|\n")
_SIGN = re.compile("[-+*/=<>×÷^]")
_MARK = re.compile(r"[;:!?\"'’“”]|[.,](?!\d)")
"""A punctuation mark of a sentence, not of a decimal or of thousands."""


def check_overlap(problems: Sequence[Problem], *, held_out: Sequence[str], rule: str) -> tuple[list[Problem], tuple[str, ...]]:
    """Return ``problems`` without those outside the ``held_out`` splits that share question and choices with a held-out problem,
    and the ids of those. With the ``rule`` "error", raise a DataError that names them instead."""
    held_ids = {exact_key(p): p.id for p in reversed(problems) if p.split in held_out}
    duplicates = {p.id: held_ids[key] for p in problems if p.split not in held_out and (key := exact_key(p)) in held_ids}
    if duplicates and rule == "error":
        pairs = ", ".join(f"{a} = {b}" for a, b in list(duplicates.items())[:5])
        raise DataError(
            f"problems of {', '.join(held_out)} occur in other splits, too, with the same question and choices "
            f"({counted(len(duplicates), 'problem')}): {pairs}"
            f'{", ..." if len(duplicates) > 5 else ""}; set study.overlap = "drop" to drop them from training'
        )
    return [p for p in problems if p.id not in duplicates], tuple(duplicates)


@dataclass(frozen=True)
class NearPair:
    """The question ``held_out`` (an id) is near the question ``outside`` the held-out splits. ``kind`` is one of `KINDS`."""

    held_out: str
    outside: str
    kind: str


def find_near(problems: Sequence[Problem], *, held_out: Sequence[str]) -> tuple[list[NearPair], set[str]]:
    """Find every ``held_out`` question that is near one outside, with the first such one by the first of `KINDS`, and the ids of
    all near ones outside."""
    pairs: dict[str, dict[str, NearPair]] = {kind: {} for kind in KINDS}
    held_ids = grouped((key, p.id) for p in problems if p.split in held_out for key in _list_near_keys(p, True))
    outside: set[str] = set()
    for problem in problems:
        for key in _list_near_keys(problem, False) if problem.split not in held_out else ():
            if key in held_ids:
                outside.add(problem.id)
                for name in held_ids[key]:
                    pairs[key[0]].setdefault(name, NearPair(name, problem.id, key[0]))
                held_ids[key] = []  # they have their pair, so the time stays linear even if all questions have one template
    nearest: dict[str, NearPair] = {}
    for name, pair in chain.from_iterable(by_id.items() for by_id in pairs.values()):
        nearest.setdefault(name, pair)
    return list(nearest.values()), outside


def exact_key(problem: Problem) -> tuple[str, str, tuple[str, ...]]:
    """Return a key that is equal for the same question and choices in any order, ignoring invisible characters."""
    context, question, *choices = map(_to_plain, (problem.context, problem.question, *problem.choices))
    return " ".join(context.split()), " ".join(question.split()), tuple(sorted(choices))


def copy_key(problem: Problem) -> tuple[str, ...]:
    """Return a key like `exact_key` that is also equal where only case or punctuation differs."""
    context, question, choices = exact_key(problem)
    return tuple(" ".join(_MARK.sub(" ", text.casefold()).split()) for text in (context, question, *choices))


def _to_plain(text: str) -> str:
    """Return ``text`` in Unicode's form NFC, without invisible characters (a soft hyphen, how a letter is drawn)."""
    text = _CONTROL.sub("", text)
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Cf")


def near_key(problem: Problem) -> tuple[str, ...]:
    """Return a key that is equal for questions that differ only by case, blanks, punctuation or numbers."""
    return _mask_numbers(_split_words(problem)[0])


def _mask_numbers(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(["0" if word[0].isdigit() else word for word in words])


def _split_words(problem: Problem) -> tuple[list[str], list[list[str]]]:
    """Return all words of a question without case; and, as written, those of its context with the question, and of each choice."""
    context, *texts = [_WORD.findall(_to_plain(text)) for text in (problem.context, problem.question, *sorted(problem.choices))]
    texts[0] = context + texts[0]
    return " ".join(chain.from_iterable(texts)).casefold().split(), texts


def _list_near_keys(problem: Problem, held_out: bool) -> Iterator[tuple[str, Hashable]]:
    """Yield how a question, ``held_out`` out or not, may be near another one, with the key that both then have. All keys are made
    together, because they all read every word."""
    words, (question, *choices) = _split_words(problem)
    texts = (problem.context, problem.question, *problem.choices)
    yield SAME, tuple(sorted(words + [sign for text in texts for sign in _SIGN.findall(text)]))
    yield NUMBERS, _mask_numbers(words)
    masked = [["0" if word[0].isdigit() else "X" if word[0].isupper() else word for word in part] for part in (question, *choices)]
    template = [word for word, _ in groupby(chain(masked[0], *sorted(masked[1:])))]  # several words of one name count as one
    if sum(word not in ("0", "X") for word in template) >= _MINIMUM:
        yield NAMES, tuple(template)
    for i in range(len(question) - GRAM + 1):
        yield GRAMS, tuple(words[i : i + GRAM])
    start, rest = words[: len(question)], tuple(words[len(question) :])
    minimum = 1 if choices else _MINIMUM
    yield MORE, (held_out, *start, "", *rest)
    for n in range(minimum, min(len(question), GRAM)):
        if 2 * n > len(question) or n >= WHOLE:  # these parts may be a whole question of the other side
            yield from ((MORE, (not held_out, *part, "", *rest)) for part in (start[:n], start[-n:]))
    if minimum < len(question) < 2 * GRAM:  # a longer one that differs in one word shares GRAM words in a row anyway
        for i in range(len(question) + 1):  # without one of its words, and as it is: one word more or less is near, too
            yield WORD, (*start[:i], *start[i + 1 :], *rest)
    options = sorted(" ".join(choice).casefold() for choice in choices)
    for subset in (options, *combinations(options, len(options) - 1)) if options else ():
        yield OPTION, (*start, *subset)
    for sentence in _SENTENCE_END.split(_to_plain(problem.question).casefold()):
        sentence_words = tuple(_WORD.findall(sentence))
        if WHOLE <= len(sentence_words) < GRAM:
            yield MORE, (not held_out, *sentence_words, "", *rest)
        # A sentence with fewer words may occur in many questions.
        if len(sentence_words) >= 8 and 2 * len(sentence_words) > len(question):
            yield SENTENCE, sentence_words


SAME, NUMBERS, NAMES, GRAMS, WORD, OPTION, MORE, SENTENCE = KINDS = (
    *("same words", "other numbers", "other names"),
    *(f"{GRAM} words in a row", "another word", "another option", "more words", "same sentence"),
)
"""How two questions are near. The words may come in any order. With other numbers, case and punctuation may differ, too; with
other names (words with a capital), the numbers as well. A short question may have one word replaced. All choices but one may be
the same. A question may be another one with words before or after it (fewer than its own, if it has few). One sentence that makes
up most of two questions may have other sentences next to it, or other choices."""
