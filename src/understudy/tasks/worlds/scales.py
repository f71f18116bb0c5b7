"""The scales world: yes/no questions about how heavy things are, from weights that no question states.

    Could a piano and two cats be lighter than a horse?

The weights are facts that a student learns from chains. A sum is at most 20. A careless reader takes "heavier" for "lighter". A
chain weighs one thing at a time and then compares::

    A piano weighs 8. A cat weighs 2, two weigh 4, 8 + 4 = 12. A horse weighs 9. 12 is not less than 9, so no. So the answer is: no
"""

import random
import re
from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.core.worlds import WordedStep, WorldSolution
from understudy.tasks.worlds.draw import Size, draw_splits, read_words

(THINGS,) = read_words("scales")
WEIGHT = {thing: weight for weight, things in enumerate(THINGS, 1) for thing in things.split()}
"""The weights in one unit, from 1 to 9."""
SIDES = {2: ((1, 0),), 3: ((1, 1), (2, 0)), 4: ((2, 1), (1, 2)), 5: ((2, 2),)}
"""The numbers of things on the left and on the right, by the number of steps that they take. A side without things is a weight."""
CLOSE = 3
"""The sides differ by 1 to this much."""

Term = tuple[int, str]
"""How many (1 or 2) of which thing; (n, "") is a weight of n."""

_QUESTION = re.compile(r"Could (.+) be (lighter|heavier) than (.+)\?")
_TERM = re.compile(r"a weight of (\d+)|(a|two) ([a-z]+?)(s?)")


@dataclass(frozen=True)
class Scales:
    """A procedural world of yes/no questions that must be decomposed: which side is heavier. No question states the weight of a
    thing. No question is in two splits."""

    train: Size = 900
    """The number of problems, with 2 to 4 steps, equally many of each: one to three things to weigh, and the comparison. Half of
    the answers are yes."""
    dev: Size = 200
    """As for train."""
    test: Size = 500
    """As for train."""
    longer_test: Size = 200
    """The number of problems with five steps, one more than in train, in the split "test-longer"."""

    def problems(self, *, seed: int) -> list[Problem]:
        """Return the problems of every split. They depend only on ``seed`` and the options."""
        return draw_splits(self, _draw_problem, name="scales", seed=seed, steps=range(2, 5), longer=(5,))

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> WorldSolution:
        """Solve ``question`` in one of three styles (`core.worlds`).

        ``slip`` is the chance that a step's number is off by one or two. ``misread`` is the chance that it takes "heavier" for
        "lighter".
        """
        left, relation, right = _read_question(question)
        style = rng.choice(list(_WORDS))
        if rng.random() < misread:
            relation = "lighter"
        sentences: list[WordedStep] = []
        sums = []
        for side in (left, right):
            weight = None
            for i, (n, thing) in enumerate(side):
                previous, weight = weight, (weight or 0) + (n * WEIGHT[thing] if thing else n)
                if thing:
                    weight += rng.choice((-2, -1, 1, 2)) if rng.random() < slip else 0
                    sentences.append((_write_weighing(style, (n, thing), previous, weight), _write_wordings(side[:i], (n, thing))))
            sums.append(weight or 0)
        yes = sums[0] < sums[1] if relation == "lighter" else sums[0] > sums[1]
        wordings = (f"Is it {relation}, then?", f"So is it {relation}?")
        sentences.append((_write_comparison(style, sums[0], sums[1], relation, yes), wordings))
        return WorldSolution.of(sentences, "yes" if yes else "no", "yes_no", rng)


def _draw_problem(rng: random.Random, steps: int, turn: int) -> Problem:
    yes, relation = turn % 2 == 0, rng.choice(("lighter", "heavier"))
    while True:
        counts = rng.choice(SIDES[steps])
        things = rng.sample(list(WEIGHT), sum(counts))
        # A quarter of the things with a weight of at most 5 occur twice.
        terms = [(2 if WEIGHT[thing] <= 5 and rng.random() < 0.25 else 1, thing) for thing in things]
        left, right = terms[: counts[0]], terms[counts[0] :]
        weight = _sum_weights(left)
        if not right:
            right = [(max(1, weight + rng.choice((-1, 1)) * rng.randint(1, CLOSE)), "")]
        difference = _sum_weights(right) - weight
        if 1 <= abs(difference) <= CLOSE and ((difference > 0) == (relation == "lighter")) == yes:
            question = f"Could {_write_side(left)} be {relation} than {_write_side(right)}?"
            return Problem("", question, "yes_no", "yes" if yes else "no")


def _sum_weights(side: list[Term]) -> int:
    return sum(n * WEIGHT[thing] if thing else n for n, thing in side)


def _write_side(side: list[Term]) -> str:
    return " and ".join(f"a weight of {n}" if not thing else f"two {thing}s" if n == 2 else f"a {thing}" for n, thing in side)


def _read_question(question: str) -> tuple[list[Term], str, list[Term]]:
    match = _QUESTION.fullmatch(question.strip())
    if match is None:
        raise ValueError("it must look like: Could a piano and two cats be lighter than a horse?")
    return _read_side(match[1]), match[2], _read_side(match[3])


def _read_side(text: str) -> list[Term]:
    side = []
    for part in text.split(" and "):
        term = _TERM.fullmatch(part)
        if term is None or (term[3] and term[3] not in WEIGHT):
            raise ValueError(f"this world has no {part!r}")
        side.append((int(term[1]), "") if term[1] else (2 if term[2] == "two" else 1, term[3]))
    return side


_WORDS = {
    "plain": ("weighs", "weigh", "+", "="),
    "words": ("has a weight of", "have", "plus", "is"),
    "short": ("is", "are", "+", "makes"),
}


def _write_weighing(style: str, term: Term, previous: int | None, total: int) -> str:
    """Write the step that puts ``term`` on a side, which weighs ``previous`` (None: it is empty) and then ``total``."""
    (n, thing), (weighs, weigh, plus, makes) = term, _WORDS[style]
    lines = [] if previous is None else [f"{previous} {plus} {n * WEIGHT[thing]} {makes} {total}"]
    if n == 2:
        lines.insert(0, f"two {weigh} {total if previous is None else n * WEIGHT[thing]}")
    lines.insert(0, f"A {thing} {weighs} {total if previous is None and n == 1 else WEIGHT[thing]}")
    return ", ".join(lines) + "."


def _write_comparison(style: str, left: int, right: int, relation: str, yes: bool) -> str:
    ending = f"so {'yes' if yes else 'no'}."
    if style == "plain":
        return f"{left} is {'' if yes else 'not '}{'less' if relation == 'lighter' else 'more'} than {right}, {ending}"
    if style == "words":
        order = "less than" if left < right else "more than" if left > right else "the same as"
        return f"{left} is {order} {right}, {ending}"
    return f"{left} {'<' if left < right else '>' if left > right else '='} {right}, {ending}"


def _write_wordings(earlier: list[Term], term: Term) -> tuple[str, ...]:
    """Return the ways to ask for the weight of a side that has ``earlier`` and now ``term``."""
    if earlier:
        side = _write_side([*earlier, term])
        return (f"How heavy are {side} together?", f"How heavy is it with {_write_side([term])}?", f"What do {side} weigh?")
    is_, does = ("is", "does") if term[0] == 1 else ("are", "do")
    return (f"How heavy {is_} {_write_side([term])}?", f"What {does} {_write_side([term])} weigh?")
