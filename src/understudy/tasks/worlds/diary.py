"""The diary world: how many things somebody has after some days of gains and losses, told out of order.

    Ana has 4 coins. Wed: loses 2. Mon: finds 3. Tue: Bob finds 5. How many coins does Ana have?

The days order the entries. Entries about somebody else do not count. "gives" is a loss, because the actor gives things away, but a
careless reader takes it for a gain. A chain goes through the days::

    Start 4. Mon 4 + 3 = 7. Wed 7 - 2 = 5. So the answer is: 5
"""

import random
import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, NamedTuple

from pydantic import Field

from understudy.core.errors import StudyError
from understudy.core.values import Problem
from understudy.core.worlds import WorldSolution
from understudy.tasks.worlds.draw import Size, draw_splits, solve

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NAMES = ("Ana", "Bob", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "June", "Kim", "Leo")
THINGS = ("coins", "cards", "shells", "books", "stamps", "pears", "keys", "cups")
GAINS = ("finds", "wins", "gets", "buys")
LOSSES = ("loses", "sells", "drops", "gives")
LARGEST = 20
"""Nobody ever has more things than this (one more in a changed problem), or fewer than 0. Every amount is below 10."""

_START = re.compile(r"(\w+) has (\d+) (\w+)\.")
_ENTRY = re.compile(r"(\w+): (?:([A-Z]\w*) )?(\w+) (\d+)\.")
_STYLES = {
    "plain": "{day} {before} {sign} {amount} = {after}.",
    "words": "{day} {before} {word} {amount} is {after}.",
    "so": "{day} {verb} {amount}, so {before} {sign} {amount} = {after}.",
    "change": "{day} {sign} {amount} makes {before} to {after}.",
}


class Entry(NamedTuple):
    """One line of a diary. ``day`` counts from Monday, and ``actor`` is None for the person in the question."""

    day: int
    actor: str | None
    verb: str
    amount: int


@dataclass(frozen=True)
class Diary:
    """A procedural world of word problems about a week. No question is in two splits."""

    train: Size = 1000
    """The number of problems, with 1 to ``max_steps`` steps, equally many of each."""
    dev: Size = 200
    """As for train."""
    test: Size = 1000
    """As for train."""
    longer_test: Size = 300
    """The number of problems with one or two steps more than ``max_steps``, in the split "test-longer"."""
    contrast: Size = 0
    """The number of test problems that also appear changed, in the split "contrast": one thing more at the start, and so at the
    end. Both versions have the field ``pair``."""
    max_steps: Annotated[int, Field(ge=1, le=len(DAYS) - 3)] = 4
    """The maximum number of steps of a problem in train, one step per day. Longer problems need two more days, and distractors
    one."""
    distractor: Annotated[float, Field(ge=0, le=1)] = 0.25
    """The share of problems with an entry about somebody else, which does not count."""

    def problems(self, *, seed: int) -> list[Problem]:
        """Return the problems of every split. They depend only on ``seed`` and the options."""
        lengths, longer = range(1, self.max_steps + 1), range(self.max_steps + 1, self.max_steps + 3)
        drawn = draw_splits(self, self._draw_problem, name="diary", seed=seed, steps=lengths, longer=longer)
        questions = {problem.question for problem in drawn}
        versions = (self._change_problem(problem) for problem in drawn if problem.split == "test")
        changed = list(islice((version for version in versions if version.question not in questions), self.contrast))
        if len(changed) < self.contrast:
            raise StudyError(f"task: contrast = {self.contrast}: test = {self.test} has {len(changed)} to change; ask for fewer")
        first = {problem.meta["pair"] for problem in changed}
        return [*(replace(p, meta={**p.meta, "pair": p.id}) if p.id in first else p for p in drawn), *changed]

    def _change_problem(self, problem: Problem) -> Problem:
        question = _START.sub(lambda match: f"{match[1]} has {int(match[2]) + 1} {match[3]}.", problem.question, count=1)
        answer = str(int(problem.answer or "") + 1)
        changed = replace(problem, id=f"{problem.id}-changed", question=question, answer=answer, split="contrast")
        return replace(changed, meta={**solve(self, changed), "pair": problem.id})

    def _draw_problem(self, rng: random.Random, steps: int, _turn: int) -> Problem:
        name, bystander = rng.sample(NAMES, 2)
        thing = rng.choice(THINGS)
        total = start = rng.randint(1, 9)
        days = rng.sample(range(len(DAYS)), steps + 1)
        entries = []
        for day in sorted(days[:steps]):
            gain = total == 0 or (total < LARGEST and rng.random() < 0.5)
            amount = rng.randint(1, min(9, LARGEST - total if gain else total))
            entries.append(Entry(day, None, rng.choice(GAINS if gain else LOSSES), amount))
            total += amount if gain else -amount
        if rng.random() < self.distractor:
            entries.append(Entry(days[steps], bystander, rng.choice(GAINS + LOSSES), rng.randint(1, 9)))
        rng.shuffle(entries)
        story = "".join(f" {DAYS[e.day]}: {e.actor + ' ' if e.actor else ''}{e.verb} {e.amount}." for e in entries)
        return Problem("", f"{name} has {start} {thing}.{story} How many {thing} does {name} have?", "number", str(total))

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> WorldSolution:
        """Solve ``question`` in one of four styles (`core.worlds`).

        ``slip`` is the chance that a step's result is off by one. ``misread`` is the chance that this solution takes "gives" for a
        gain.
        """
        name, start, thing, entries = _read_question(question)
        style = rng.choice(list(_STYLES))
        gains = (*GAINS, "gives") if rng.random() < misread else GAINS
        total = start
        sentences = [{"plain": f"Start {start}.", "words": f"It begins with {start}."}.get(style, f"First {start} {thing}.")]
        entries.sort(key=lambda e: e.day)
        for entry in entries:
            sign, word = ("+", "plus") if entry.verb in gains else ("-", "minus")
            before, total = total, total + (entry.amount if sign == "+" else -entry.amount)
            if rng.random() < slip:
                total += rng.choice((-1, 1))
            values = {"day": DAYS[entry.day], "verb": entry.verb, "amount": entry.amount, "sign": sign, "word": word}
            sentences.append(_STYLES[style].format(before=before, after=total, **values))
        sentences[:2] = [f"{sentences[0]} {sentences[1]}"]
        questions = [_write_wordings(name, thing, DAYS[entry.day]) for entry in entries]
        return WorldSolution.of(list(zip(sentences, questions, strict=True)), str(total), "number", rng)


def _read_question(question: str) -> tuple[str, int, str, list[Entry]]:
    """Return the person in the question, how many things they have at first, which things, and the entries that count."""
    start = _START.match(question)
    if start is None or "How many" not in question:
        raise ValueError("it must look like: Ana has 4 coins. Wed: loses 2. Mon: finds 3. How many coins does Ana have?")
    entries = []
    for day, actor, verb, amount in _ENTRY.findall(question, start.end()):
        if day not in DAYS or verb not in GAINS + LOSSES:
            raise ValueError(f"the entry {day}: {verb} {amount}. has an unknown day or verb")
        if not actor:
            entries.append(Entry(DAYS.index(day), None, verb, int(amount)))
    if not entries:
        raise ValueError(f"there is no entry about {start[1]}")
    return start[1], int(start[2]), start[3], entries


def _write_wordings(name: str, thing: str, day: str) -> tuple[str, ...]:
    return (
        f"How many {thing} does {name} have after {day}?",
        f"How many {thing} are there after {day}?",
        f"What does {name} have when {day} is over?",
    )
