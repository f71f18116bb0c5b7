"""Read sub-questions and their answers in the text of a teacher or a student, and the steps of a plain chain.

    Q1: How many bolts of white does it take?
    A1: It takes 2 / 2 = 1 bolt of white.
    Q2: How many bolts does it take in all?
    A2: It takes 2 + 1 = 3 bolts.

`read_steps` makes a `Step` of each pair. It also reads "Q1. ..." with the answer on the lines below it, "Final answer: How many
...?" as the last question (least-to-most prompting, Zhou et al. 2022, arXiv 2205.10625), and GSM8K's "question ** step" (Socratic
layout, arXiv 2110.14168).

Text written by a model is often damaged. Nothing here raises an error or makes up a word. A question without its answer is
dropped, and so is an answer whose number differs from its question's.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Literal

from understudy.core.answers.spans import NAME_CONTINUES, skip
from understudy.core.values import Chain, Problem, Step

_BULLET = re.compile(r"\s{0,8}(?:[>#*-]{1,6}\s{1,4})?")
_BOLD = re.compile(r"([*_]{1,3})([^*_]{1,24})\1")
_ASKS = re.compile(r"(?:Q|(?:Sub-?)?question)\s?([0-9]{1,4})?\s?[.:)]\s*", re.I)
_LISTED = re.compile(r"([0-9]{1,4})\s?[.:)]\s*")
_SAYS = re.compile(r"(?:A|Ans|Answer)\s?([0-9]{1,4})?\s?[.:)]\s*", re.I)
_LAST = re.compile(r"(?:The )?Final (?:answer|question)\s?:\s*", re.I)
_BIDS = re.compile(r"(?:calculate|compute|find|determine|add|subtract|multiply|divide)\b", re.I)
_STATES = re.compile(r"(?:So |Therefore,? |Thus,? )?(?:The|My) (?:final )?answer(?: is|:)", re.I)
_OPINION = re.compile(
    r"(?:(?:Useful|Q|A|(?:Sub-?)?question|Answer)?\s?([0-9]{1,4})?\s?[.:)]\s*)?[*_\"']{0,3}(yes|no|not|useful|useless)\b", re.I
)
_CUT_MARK = re.compile(r"\s*[QA][0-9]{0,4}")
_ENDS = re.compile(r"[.!?](?<!\bNo\.(?=\s[0-9]))[\"'”’)\]]{0,2}(?=\s+[\"'“‘(\[]{0,2}[A-Z0-9$€£])")
_TITLE = re.compile(r"(?:\A|[\s\"'“(\[])(?:Mr|Mrs|Ms|Dr|St|Mt|Prof|Gen|Capt|Rev|Gov|Sen|vs?|e\.g|i\.e)\.\Z", re.I)
_INITIAL = re.compile(r"(?:\A|[\s\"'“(\[])(?:(?:[A-Z]\.){1,4}|Jr\.|Sr\.|etc\.)\Z")
_LIST_NUMBER = re.compile(r"\s*\(?[0-9]{1,2}[.)]")
_HEADING = re.compile(r"(?m)^([^.!?\n]{1,40}:[*_]{0,3})\n")


@functools.lru_cache(maxsize=64)  # a method asks for a chain's steps at every turn
def read_steps(text: str) -> tuple[Step, ...]:
    """Return the pairs of ``text`` in order, each part on one line; () where there are none. Reading ends where the answer is
    stated, or where another problem begins."""
    return tuple(Step(answer, question) for question, answer in _iterate_pairs(text) if question and answer)


def read_questions(text: str) -> tuple[str, ...]:
    """Return the questions of ``text`` that have their own lines: the lines after "Q1:", or, if no line has a mark, those that end
    in "?"."""
    lines = [(kind, join_lines(line)) for kind, _, line in _classify_lines(text)]
    marked = [line for kind, line in lines if kind in ("asks", "last")]
    return tuple(line for line in marked or [line for _, line in lines if line.endswith("?")] if line)


def match_questions(text: str, n: int) -> tuple[str, ...]:
    """Return the questions of ``text`` for ``n`` steps; () if their count differs, or if their numbers are not 1 to ``n``."""
    questions = [(number, join_lines(line)) for kind, number, line in _classify_lines(text) if kind == "asks"]
    return _order(questions or list(enumerate(read_questions(text), 1)), n)


def match_answers(text: str, n: int) -> tuple[str, ...]:
    """Return the answers of ``text`` ("A1: ...") to ``n`` questions, each on one line; () if one is missing or empty, or if one
    number has two answers."""
    groups: list[tuple[int | None, list[str]]] = [(None, [])]
    for kind, number, line in takewhile(lambda line: line[0] != "ends", _classify_lines(text)):
        if kind:
            groups.append((number if kind == "says" else None, [line]))
        else:
            groups[-1][1].append(line)
    return _order([(number, join_lines(" ".join(lines))) for number, lines in groups if number is not None], n)


def read_opinions(text: str, n: int) -> tuple[bool, ...]:
    """Return whether ``text`` ("Useful 1: Yes", "Q2: No", or one line each) finds each of ``n`` sub-questions useful. A question
    without an opinion counts as useful."""
    useful = dict.fromkeys(range(1, n + 1), True)
    opinions = [match for line in text.splitlines() if (match := _OPINION.match(_unwrap(line)))]
    for number, opinion in enumerate(opinions, 1):
        useful[int(opinion[1] or number)] = opinion[2].lower() in ("yes", "useful")
    return tuple(useful[i] for i in range(1, n + 1))


def restore_mark(mark: str, text: str) -> str:
    """Return ``text`` after the ``mark`` ("Q1:", "A1:", "Useful 1:") that ends its prompt, unless the text has that mark."""
    if mark.startswith("Useful"):
        has_mark = any((match := _OPINION.match(_unwrap(line))) and match[1] == "1" for line in text.splitlines())
    else:
        has_mark = any(line[:2] == ("asks" if mark.startswith("Q") else "says", 1) for line in _classify_lines(text))
    return text if has_mark else f"{mark} {text.strip()}"


def number_lines(label: str, lines: Iterable[str]) -> str:
    """Write ``lines`` after numbered labels, "Q1: ...", each on one line."""
    return "\n".join(f"{label}{i}: {join_lines(line)}" for i, line in enumerate(lines, 1))


def write_steps(steps: Sequence[Step]) -> str:
    """Write the text from which `read_steps` reads ``steps``. Beware: each step needs its question."""
    return "\n".join(f"Q{i}: {join_lines(step.question or '')}\nA{i}: {join_lines(step.text)}" for i, step in enumerate(steps, 1))


def list_steps(chain: Chain) -> tuple[Step, ...]:
    """Return the steps of a chain with their sub-questions, from its ``steps`` or else from its text; () if it has none."""
    if chain.steps:
        return chain.steps if all(step.question for step in chain.steps) else ()
    # The rationale ends before the answer, which may be inside the last pair ("A3: 5"), so the whole text is read.
    return read_steps(chain.text if chain.text.lstrip().startswith(chain.rationale) else chain.rationale)


def split_sentences(rationale: str) -> tuple[str, ...]:
    """Split a plain rationale into steps: its lines, or the sentences of its only line. A heading ("Plan:") and the line below it
    are one step."""
    lines = [line.strip() for line in rationale.splitlines() if line.strip()]
    if len(lines) == 1:
        return tuple(_iterate_sentences(lines[0]))
    return tuple(filter(None, _HEADING.sub(r"\1 ", "\n".join(lines)).split("\n")))


def _iterate_sentences(line: str) -> Iterator[str]:
    start = 0
    for stop in _ENDS.finditer(line):
        context = line[max(start, stop.end() - 12) : stop.end()]
        is_abbreviation = _TITLE.search(context) or (_INITIAL.search(context) and NAME_CONTINUES.match(line, stop.end()))
        if not is_abbreviation and not _LIST_NUMBER.fullmatch(line, start, stop.end()):
            yield line[start : stop.end()].strip()
            start = stop.end()
    yield line[start:].strip()


def list_subquestions(problem: Problem) -> list[dict[str, object]]:
    """List the sub-questions that the data have for ``problem``: objects with a ``question`` and perhaps an ``answer``. Empty if
    the data's field of that name is something else."""
    pairs = problem.meta.get("subquestions")
    return pairs if isinstance(pairs, list) and all(isinstance(p, dict) and p.get("question") for p in pairs) else []


def make_gold_chain(problem: Problem) -> Chain | None:
    """Return the data set's own chain for ``problem``: its human rationale, and its sub-questions if all have answers. None if the
    problem has neither, or no gold answer."""
    pairs = list_subquestions(problem)
    steps = tuple(Step(join_lines(str(p["answer"])), join_lines(str(p["question"]))) for p in pairs if p.get("answer"))
    rationale = str(problem.meta.get("rationale") or " ".join(step.text for step in steps))
    if problem.answer is None or not rationale:
        return None
    return Chain(
        problem=problem.id,
        path=0,
        text=rationale,
        rationale=rationale,
        answer=problem.answer,
        layer="recorded",
        teacher="human",
        steps=steps if len(steps) == len(pairs) else (),
    )


def join_lines(text: str) -> str:
    """Return ``text`` on one line, because the end of its line ends a sub-question or a step. Every run of white space becomes one
    blank."""
    return " ".join(text.split())


def _iterate_pairs(text: str) -> Iterator[tuple[str, str]]:
    question, number, answer = "", None, list[str]()
    in_pair = marked = False
    for kind, mark_number, line in _classify_lines(text):
        if kind == "ends" or (kind == "asks" and mark_number is None and number is not None):
            break
        question_lines, mark, answer_lines = line.partition(" ** ")
        if kind in ("asks", "last"):
            yield join_lines(question), join_lines(" ".join(answer))
            question, number, answer, in_pair, marked = line, mark_number, [], True, False
        elif kind == "says" and in_pair and not marked and mark_number in (None, number):
            # A question that does not end in "?" continues up to its answer.
            question = question if question.rstrip().endswith("?") else " ".join([question, *answer])
            answer, marked = [line], True
        elif kind == "says":
            in_pair = False
        elif mark and question_lines.rstrip().endswith("?"):
            yield join_lines(question), join_lines(" ".join(answer))
            question, number, answer, in_pair, marked = question_lines, None, [answer_lines], True, True
        elif in_pair:
            answer.append(line)
    yield join_lines(question), join_lines(" ".join(answer))


def _classify_lines(text: str) -> Iterator[tuple[Literal["asks", "says", "last", "ends", ""], int | None, str]]:
    """Yield the kind of each line ("" continues the line before it), the number of its mark, and the line without its mark."""
    lines = text.splitlines()
    if lines and _CUT_MARK.fullmatch(lines[-1]):
        del lines[-1]
    for line in lines:
        body = _unwrap(line)
        is_question = body.rstrip("*_ ").endswith("?")
        asks, says, last = _ASKS.match(body) or (is_question and _LISTED.match(body)), _SAYS.match(body), _LAST.match(body)
        if asks:
            yield "asks", int(asks[1]) if asks[1] else None, body[asks.end() :]
        elif says:
            yield "says", int(says[1]) if says[1] else None, body[says.end() :]
        elif last and ("?" in body or _BIDS.match(body, last.end())):
            yield "last", None, body[last.end() :]
        elif last or _STATES.match(body) or line.lstrip().startswith("####"):
            yield "ends", None, ""
        else:
            yield "", None, line


def _unwrap(line: str) -> str:
    """Return ``line`` without the Markdown around a mark: a bullet, a heading, "**Q1:** How ...", "**Q1: How ...?**"."""
    line = line[skip(_BULLET, line) :]
    if bold := _BOLD.match(line):
        return f"{bold[2]}{line[bold.end() :]}"
    return line.rstrip()[2:-2] if line.startswith("**") and line.rstrip().endswith("**") else line


def _order(pairs: Sequence[tuple[int | None, str]], n: int) -> tuple[str, ...]:
    """Return the texts under the numbers 1 to ``n``; () if another number has a text, or if one of them has none or several."""
    by_number = dict(pairs)
    complete = set(by_number) == set(range(1, n + 1)) and all(by_number.values()) and set(pairs) == set(by_number.items())
    return tuple(by_number[i] for i in range(1, n + 1)) if complete else ()
