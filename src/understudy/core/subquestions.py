"""Sub-questions and their answers, as a teacher or a student writes them, and the steps of a plain chain.

    Q1: How many bolts of white does it take?        `read`: each pair is a `Step`. Also read: "Q1. ..." with the answer on the
    A1: It takes 2 / 2 = 1 bolt of white.            lines below it and "Final answer: How many ...?" as the last question
    Q2: How many bolts does it take in all?          (least-to-most prompting, Zhou et al. 2022, arXiv 2205.10625), and GSM8K's
    A2: It takes 2 + 1 = 3 bolts.                    "question ** step" (Socratic layout, arXiv 2110.14168).

What a model wrote is often damaged: questions without answers are dropped, numbers need not count up, nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from understudy.core.values import Chain, Problem, Step

_ASKS = re.compile(r"[ \t>*_#-]{0,8}(?:Q|(?:Sub-?)?question)[ ]?([0-9]{1,3})?[ ]?(?:[*_]{0,3}[.:)])[*_]{0,3}[ \t]*", re.I)
_SAYS = re.compile(r"[ \t>*_#-]{0,8}(?:A|Ans|Answer)[ ]?([0-9]{1,3})?[ ]?(?:[*_]{0,3}[.:)])[*_]{0,3}[ \t]*", re.I)
_LAST = re.compile(r"[ \t>*_#-]{0,8}(?:The )?Final (?:answer|question)[*_]{0,3}[ ]?:[*_]{0,3}[ \t]*", re.I)
_BIDS = re.compile(r"(?:calculate|compute|find|determine|add|subtract|multiply|divide)\b", re.I)
_STATES = re.compile(r"[ \t>*_#-]{0,8}(?:So |Therefore,? |Thus,? )?(?:The|My) (?:final )?answer(?: is|:)", re.I)
_OPINION = re.compile(
    r"[ \t>*_#-]{0,8}(?:(?:Useful|Q|(?:Sub-?)?question)?[ ]?([0-9]{1,3})?[ ]?[*_]{0,3}[.:)]?[*_]{0,3}[ \t]*)"
    r"(yes|no|useful|useless)\b",
    re.I,
)
_PARTED = " ** "
_ENDS = re.compile(r"(?<=[.!?])[\"')\]]{0,2}\s+(?=[\"'(\[]{0,2}[A-Z0-9$€£])")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|approx|oz|lb|ft|hr|min|sec)\.[\"')\]]{0,2}$"
    r"|(?:^|\n)\s*[0-9]{1,2}\.$"
)


def read(text: str) -> tuple[Step, ...]:
    """The pairs of ``text``, in order, each on one line; () where it has none. Ends where the answer is stated."""
    return tuple(Step(answer, question) for question, answer in _pairs(text) if question and answer)


def questions(text: str) -> tuple[str, ...]:
    """The questions of ``text`` that stand in lines of their own, with "Q1:" before them or "?" at their end."""
    found = []
    for line in text.splitlines():
        mark = _ASKS.match(line)
        if mark or line.rstrip().endswith("?"):
            found.append(one_line(line[mark.end() if mark else 0 :]))
    return tuple(question for question in found if question)


def answers(text: str) -> tuple[str, ...]:
    """The answers of ``text``, "A1: ..." and so on, each on one line; "" for one that is empty. Ends where the answer is stated."""
    found: list[list[str]] = []
    for line in text.splitlines():
        mark = _SAYS.match(line)
        if _STATES.match(line) or _LAST.match(line):
            break
        if mark and mark[1]:
            found.append([line[mark.end() :]])
        elif found:
            found[-1].append(line)
    return tuple(one_line(" ".join(lines)) for lines in found)


def useful(text: str, n: int) -> tuple[bool, ...]:
    """For each of ``n`` sub-questions whether ``text`` ("Useful 1: Yes", "Q2: No", or a line each) finds it useful; what is not
    said counts as useful."""
    said = dict.fromkeys(range(1, n + 1), True)
    for place, line in enumerate((line for line in text.splitlines() if line.strip()), 1):
        if found := _OPINION.match(line):
            said[int(found[1] or place)] = found[2].lower() in ("yes", "useful")
    return tuple(said[i] for i in range(1, n + 1))


def written(steps: Sequence[Step]) -> str:
    """``steps`` as `read` takes them. Beware: each needs its question."""
    return "\n".join(f"Q{i}: {one_line(step.question or '')}\nA{i}: {one_line(step.text)}" for i, step in enumerate(steps, 1))


def steps_of(chain: Chain) -> tuple[Step, ...]:
    """The steps of a chain with their sub-questions: as it carries them, or as its rationale is written; () where it has none."""
    if chain.steps and all(step.question for step in chain.steps):
        return chain.steps
    return read(chain.rationale)


def sentences(rationale: str) -> tuple[str, ...]:
    """The steps of a plain rationale: its lines where it has several, otherwise its sentences."""
    lines = [line.strip() for line in rationale.splitlines() if line.strip()]
    if len(lines) != 1:
        return tuple(lines)
    parts: list[str] = []
    for part in _ENDS.split(lines[0]):
        if parts and _SHORT.search(parts[-1]):
            parts[-1] = f"{parts[-1]} {part}"
        else:
            parts.append(part)
    return tuple(parts)


def worked(problem: Problem) -> Chain | None:
    """The chain that the data set has for ``problem``: its human rationale, its sub-questions where all are answered. None
    where there is neither, or no gold answer."""
    pairs = problem.meta.get("subquestions") or []
    steps = tuple(Step(one_line(p["answer"]), one_line(p["question"])) for p in pairs if p.get("answer") and p.get("question"))
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


def one_line(text: str) -> str:
    """``text`` with every run of white space as one blank: a sub-question or a step ends where its line does."""
    return " ".join(text.split())


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    question, answer, found = "", list[str](), False
    for line in text.splitlines():
        if _PARTED in line and line.partition(_PARTED)[0].rstrip().endswith("?"):
            yield one_line(question), one_line(" ".join(answer))
            asked, _, said = line.partition(_PARTED)
            yield one_line(asked), one_line(said)
            question, answer, found = "", [], False
            continue
        last, asks, says = _LAST.match(line), _ASKS.match(line), _SAYS.match(line)
        if _STATES.match(line) or (last and not (line.rstrip().endswith("?") or _BIDS.match(line, last.end()))):
            break
        if last or (asks and (asks[1] or line.rstrip().endswith("?"))):
            yield one_line(question), one_line(" ".join(answer))
            mark = last or asks
            assert mark is not None
            question, answer, found = line[mark.end() :], [], True
        elif says and found and not answer:
            answer = [line[says.end() :]]
        elif found:
            answer.append(line)
    yield one_line(question), one_line(" ".join(answer))
