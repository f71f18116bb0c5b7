"""Match a chain to its problem by an id or by the text of its question, never by a guess."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from understudy.core.prompt_format import question_text
from understudy.core.subquestions import join_lines
from understudy.core.values import Problem, grouped
from understudy.corpus.formats.record import Record

_ASKS = re.compile(r"^\s*(?:Q|Question)\s*:\s*")
_ANSWERS = re.compile(r"\n[ ]{0,4}(?:A|Answer) ?:[^\n]*$")
_LAST = re.compile(r"\n[ ]{0,4}\n[ ]{0,4}(?:Q|Question) ?:")
_OPTIONS = re.compile(r"Answer Choices ?:.*$", re.S)
_WORDS = re.compile(r"\w+|[^\w\s]")
SHORTEST = 5
"""The length, in words and signs, of the shortest question to look for inside a longer text."""
UNKNOWN, AMBIGUOUS, CONTRADICTION = "of unknown problems", "whose question several problems ask", "whose id and question disagree"


class Questions:
    """The problems by id and by their text: context, question and options as a prompt writes them, without options, and bare."""

    def __init__(self, problems: Mapping[str, Problem]) -> None:
        self._problems = problems
        self._asking: dict[str, set[str]] = defaultdict(set)
        for problem in problems.values():
            for text in {question_text(problem), f"{problem.context}\n{problem.question}", problem.question}:
                self._asking[join_lines(text)].add(problem.id)

    def find(self, record: Record) -> Problem | str:
        """Return the problem of ``record``, or the reason why it has none.

        An id that can only mean a problem decides, unless the question is another problem's. A row's own ``id``, which is often a
        running number, counts only if its question does not contradict it. Without an id, a prompt that matches no problem asks
        the longest question inside it. 5.0 is the id 5, as tables write it. The question field may itself hold an id.
        """
        asked = self._ask(record.question)
        ids = record.named or (record.question.strip(),)
        names = [name for one in ids for name in (one, one.removesuffix(".0")) if name in self._problems]
        if not names and not asked:
            asked = self._ask_within(_LAST.split(record.question)[-1]) or self._ask_within(record.question)
        if not names and record.bare in self._problems and (not record.question.strip() or record.bare in asked):
            names = [record.bare]
        if names:
            return self._problems[names[0]] if not asked or names[0] in asked else CONTRADICTION
        if len(asked) > 1:
            return AMBIGUOUS
        return self._problems[next(iter(asked))] if asked else UNKNOWN

    def _ask(self, text: str) -> set[str]:
        """Return the ids of the problems that ask ``text``, as it is or without its wrapping. The first known reading counts."""
        return next((self._asking[key] for way in _readings(text) if (key := join_lines(way)) in self._asking), set())

    @cached_property
    def _within(self) -> dict[tuple[str, ...], list[tuple[list[str], str]]]:
        """The questions as words, by their first `SHORTEST` words."""
        asked = ((text, p.id) for p in self._problems.values() for text in {f"{p.context}\n{p.question}", p.question})
        questions = ((_WORDS.findall(text), name) for text, name in asked)
        return grouped((tuple(words[:SHORTEST]), (words, name)) for words, name in questions if len(words) >= SHORTEST)

    def _ask_within(self, text: str) -> set[str]:
        """Return the ids of the problems whose question is inside ``text``, whatever is around it and however blanks are set. A
        question inside a longer one does not count. Of several problems with the same question, only those count whose options are
        in the text too."""
        words, spans = _WORDS.findall(text), defaultdict[tuple[int, int], set[str]](set)
        for at in range(len(words)):
            for question, name in self._within.get(tuple(words[at : at + SHORTEST]), ()):
                if words[at : at + len(question)] == question:
                    spans[at, at + len(question)].add(name)
        questions = [names for (a, b), names in spans.items() if not any((a, b) != (c, d) and c <= a and b <= d for c, d in spans)]
        asked: set[str] = set().union(*questions)
        if len(asked) < 2 or any(names != asked for names in questions):
            return asked
        options = {name: [_WORDS.findall(choice) for choice in self._problems[name].choices] for name in asked}
        return {name for name, choices in options.items() if all(_stands_in(words, choice) for choice in choices)} or asked


def _stands_in(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[at : at + len(part)] == part for at in range(len(words)))


def _readings(text: str) -> Iterator[str]:
    """Yield the readings of a prompt, from its whole text to the bare question in its last part."""
    if not text.strip():
        return
    yield text
    plain = _ANSWERS.sub("", text.rstrip())
    yield _ASKS.sub("", plain)
    last = _LAST.split(plain)[-1]  # after solved examples
    yield _ASKS.sub("", last)
    yield _OPTIONS.sub("", _ASKS.sub("", last))
