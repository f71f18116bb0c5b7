"""Match a chain to its problem by an id or by the text of its question, never by a guess."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from understudy.core.prompt_format import write_question
from understudy.core.subquestions import join_lines
from understudy.core.values import Problem, grouped
from understudy.corpus.formats.record import Record

_QUESTION_LABEL = re.compile(r"^\s*(?:Q|Question)\s*:\s*")
_ANSWER_LABEL = re.compile(r"\n[ ]{0,4}(?:A|Answer) ?:[^\n]*$")
_LAST_QUESTION = re.compile(r"\n[ ]{0,4}\n[ ]{0,4}(?:Q|Question) ?:")
_OPTIONS = re.compile(r"Answer Choices ?:.*$", re.S)
_WORDS = re.compile(r"\w+|[^\w\s]")
SHORTEST = 5
"""The length, in words and signs, of the shortest question to look for inside a longer text."""
UNKNOWN, AMBIGUOUS, CONTRADICTION = "of unknown problems", "whose question several problems ask", "whose id and question disagree"


class Questions:
    """The problems by id and by their text: context, question and options as a prompt writes them, without options, and bare."""

    def __init__(self, problems: Mapping[str, Problem]) -> None:
        self._problems = problems
        self._by_text: dict[str, set[str]] = defaultdict(set)
        for problem in problems.values():
            for text in {write_question(problem), f"{problem.context}\n{problem.question}", problem.question}:
                self._by_text[join_lines(text)].add(problem.id)

    def find(self, record: Record) -> Problem | str:
        """Return the problem of ``record``, or the reason why it has none.

        An id that can only mean a problem decides, unless the question is another problem's. A row's own ``id``, which is often a
        running number, counts only if its question does not contradict it. Without an id, a prompt that matches no problem asks
        the longest question inside it. 5.0 is the id 5, as tables write it. The question field may itself hold an id.
        """
        matches = self._match_text(record.question)
        ids = record.problem_ids or (record.question.strip(),)
        names = [name for identifier in ids for name in (identifier, identifier.removesuffix(".0")) if name in self._problems]
        if not names and not matches:
            matches = self._match_inside(_LAST_QUESTION.split(record.question)[-1]) or self._match_inside(record.question)
        if not names and record.row_id in self._problems and (not record.question.strip() or record.row_id in matches):
            names = [record.row_id]
        if names:
            return self._problems[names[0]] if not matches or names[0] in matches else CONTRADICTION
        if len(matches) > 1:
            return AMBIGUOUS
        return self._problems[next(iter(matches))] if matches else UNKNOWN

    def _match_text(self, text: str) -> set[str]:
        """Return the ids of the problems that ask ``text``, as it is or without its wrapping. The first known reading counts."""
        return next((self._by_text[key] for reading in _unwrap(text) if (key := join_lines(reading)) in self._by_text), set())

    @cached_property
    def _by_first_words(self) -> dict[tuple[str, ...], list[tuple[list[str], str]]]:
        """The questions as words, by their first `SHORTEST` words."""
        texts = ((text, p.id) for p in self._problems.values() for text in {f"{p.context}\n{p.question}", p.question})
        questions = ((_WORDS.findall(text), name) for text, name in texts)
        return grouped((tuple(words[:SHORTEST]), (words, name)) for words, name in questions if len(words) >= SHORTEST)

    def _match_inside(self, text: str) -> set[str]:
        """Return the ids of the problems whose question is inside ``text``, whatever is around it and however blanks are set. A
        question inside a longer one does not count. Of several problems with the same question, only those count whose options are
        in the text too."""
        words, spans = _WORDS.findall(text), defaultdict[tuple[int, int], set[str]](set)
        for start in range(len(words)):
            for question, name in self._by_first_words.get(tuple(words[start : start + SHORTEST]), ()):
                if words[start : start + len(question)] == question:
                    spans[start, start + len(question)].add(name)
        questions = [names for (a, b), names in spans.items() if not any((a, b) != (c, d) and c <= a and b <= d for c, d in spans)]
        matches: set[str] = set().union(*questions)
        if len(matches) < 2 or any(names != matches for names in questions):
            return matches
        options = {name: [_WORDS.findall(choice) for choice in self._problems[name].choices] for name in matches}
        return {name for name, choices in options.items() if all(_contains(words, choice) for choice in choices)} or matches


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words)))


def _unwrap(text: str) -> Iterator[str]:
    """Yield the readings of a prompt, from its whole text to the bare question in its last part."""
    if not text.strip():
        return
    yield text
    question = _ANSWER_LABEL.sub("", text.rstrip())
    yield _QUESTION_LABEL.sub("", question)
    last_question = _LAST_QUESTION.split(question)[-1]  # after solved examples
    yield _QUESTION_LABEL.sub("", last_question)
    yield _OPTIONS.sub("", _QUESTION_LABEL.sub("", last_question))
