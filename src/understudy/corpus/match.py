"""A chain finds its problem by an id or by the text of its question, and never by a guess."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from understudy.core.prompt_format import question_text
from understudy.core.values import Problem
from understudy.corpus.formats.record import Record

_ASKS = re.compile(r"^\s*(?:Q|Question)\s*:\s*")
_ANSWERS = re.compile(r"\n[ ]{0,4}(?:A|Answer) ?:[^\n]*$")
_LAST = re.compile(r"\n[ ]{0,4}\n[ ]{0,4}(?:Q|Question) ?:")
_OPTIONS = re.compile(r"Answer Choices ?:.*$", re.S)
UNKNOWN, AMBIGUOUS, CONTRADICTION = "of unknown problems", "whose question several problems ask", "whose id and question disagree"


class Questions:
    """The problems by id and by their text: context, question and options as a prompt writes them, without options, and bare."""

    def __init__(self, problems: Mapping[str, Problem]) -> None:
        self._problems = problems
        self._asking: dict[str, set[str]] = defaultdict(set)
        for problem in problems.values():
            without = f"{problem.context}\n{problem.question}"
            for text in {question_text(problem), without, problem.question}:
                self._asking[_blanks(text)].add(problem.id)

    def find(self, record: Record) -> Problem | str:
        """The problem of ``record``, or the reason why it has none.

        An id that can only mean a problem decides, unless the question is another problem's. A row's own ``id``, which is often a
        running number, counts only if its question does not contradict it.
        """
        asked = self._ask(record.question)
        names = [name for name in record.named if name in self._problems]
        if not names and record.bare in self._problems and (not record.question.strip() or record.bare in asked):
            names = [record.bare]
        if names:
            return self._problems[names[0]] if not asked or names[0] in asked else CONTRADICTION
        if len(asked) > 1:
            return AMBIGUOUS
        return self._problems[next(iter(asked))] if asked else UNKNOWN

    def _ask(self, text: str) -> set[str]:
        """The ids of the problems that ask ``text``, as it is or without its wrapping. The first known reading counts."""
        return next((self._asking[key] for way in _readings(text) if (key := _blanks(way)) in self._asking), set())


def _readings(text: str) -> Iterator[str]:
    """The readings of a prompt, from its whole text to the bare question in its last part."""
    if not text.strip():
        return
    yield text
    plain = _ANSWERS.sub("", text.rstrip())
    yield _ASKS.sub("", plain)
    last = _LAST.split(plain)[-1]  # after solved examples
    yield _ASKS.sub("", last)
    yield _OPTIONS.sub("", _ASKS.sub("", last))


def _blanks(text: str) -> str:
    return " ".join(text.split())
