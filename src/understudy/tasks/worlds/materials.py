"""The materials world: multiple choice about what things are made of, from facts that no question states.

    Which of these can be pulled by a magnet?
    Answer Choices:
    (a) a ladder
    (b) a key
    (c) a vase

From chains a student learns what things are made of, what materials are like and what they are good for. The same facts occur in
many questions, each about another set of things. A careless reader does not see the "not" of a question. A chain takes one step
per fact and concludes::

    What is magnetic can be pulled by a magnet. A ladder is made of wood, a key of iron, a vase of clay. Wood is not magnetic, iron
    is magnetic, clay is not magnetic. So it is a key. So the answer is: (b)
"""

import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.core.worlds import WordedStep, WorldSolution
from understudy.tasks.worlds.draw import Size, draw_splits, read_words

THINGS, PROPERTIES, USES = read_words("materials")
MADE_OF = {thing: material for material, things in THINGS.items() for thing in things.split()}
FACTS = {(material, adjective): material in materials.split() for adjective, materials in PROPERTIES.items() for material in THINGS}
SUBJECTS = {2: [f"made of {material}" for material in THINGS], 3: list(PROPERTIES), 4: list(USES)}
"""The subjects of questions, by the number of steps that they take."""
OPTIONS = 3

_QUESTION = re.compile(r"Which of these (?:is|can)( not)? ([a-z ]+)\?\n")
_OPTION = re.compile(r"^\([a-z]\) a ([a-z]+)$", re.M)
_CONCLUSIONS = ("So it is a {}.", "That leaves a {}.", "It must be a {}.")


@dataclass(frozen=True)
class Materials:
    """A procedural world of multiple choice about what things are made of, and what follows from that. No question states the
    facts. No set of options occurs twice, so none is in two splits."""

    train: Size = 1000
    """The number of problems, with 2 to 4 steps, equally many of each: what things are made of, what that is like, what it is good
    for."""
    dev: Size = 200
    """As for train."""
    test: Size = 500
    """As for train."""

    def problems(self, *, seed: int) -> list[Problem]:
        """Return the problems of every split. They depend only on ``seed`` and the options."""
        return draw_splits(self, _draw_problem, name="materials", seed=seed, steps=range(2, 5))

    def work(self, question: str, rng: random.Random, *, slip: float, misread: float) -> WorldSolution:
        """Solve ``question`` in one of three styles (`core.worlds`).

        ``slip`` is the chance that a fact is wrong. ``misread`` is the chance that this solution does not see a "not".
        """
        subject, negated, things = _read_question(question)
        style = rng.choice(("list", "and", "short"))
        negated = negated and rng.random() >= misread
        adjective = USES.get(subject, subject if subject in PROPERTIES else "")
        sentences: list[WordedStep] = []
        if subject in USES:
            adjective = _draw_fact(PROPERTIES, adjective, slip, rng)
            wordings = (f"What can {subject}?", f"What is a thing like that can {subject}?")
            sentences.append((f"What is {adjective} can {subject}.", wordings))
        materials = {thing: _draw_fact(THINGS, MADE_OF[thing], slip, rng) for thing in things}
        fits = {material: subject == f"made of {material}" for material in materials.values()}
        denial = "" if adjective else f" ({subject.replace('made of', 'not')})"
        words = {thing: material if fits[material] else f"{material}{denial}" for thing, material in materials.items()}
        sentences.append((_write_made_of(style, words), ("What are they made of?", f"What are {_list_things(things)} made of?")))
        if adjective:
            fits = {material: FACTS[material, adjective] != (rng.random() < slip) for material in fits}
            wordings = (f"Which of these materials is {adjective}?", f"Are these materials {adjective}?")
            sentences.append((_write_like(style, fits, adjective), wordings))
        choice = rng.choice([thing for thing in things if fits[materials[thing]] != negated] or things)
        sentences.append((rng.choice(_CONCLUSIONS).format(choice), ("Which one is it?", "So which of them is it?")))
        return WorldSolution.of(sentences, chr(65 + things.index(choice)), "option", rng)


def _draw_problem(rng: random.Random, steps: int, turn: int) -> Problem:
    subject, negated = rng.choice(SUBJECTS[steps]), rng.random() < 0.4  # the share of questions with a "not"
    fitting = [thing for thing in MADE_OF if _fits(thing, subject) != negated]
    unfitting = [thing for thing in MADE_OF if thing not in fitting]
    position = turn % OPTIONS
    things = rng.sample(unfitting, OPTIONS - 1)
    things.insert(position, rng.choice(fitting))
    question = f"Which of these {'can' if subject in USES else 'is'}{' not' if negated else ''} {subject}?"
    return Problem("", question, "option", chr(65 + position), choices=tuple(f"a {thing}" for thing in things))


def _fits(thing: str, subject: str) -> bool:
    material = MADE_OF[thing]
    return subject == f"made of {material}" if subject in SUBJECTS[2] else FACTS[material, USES.get(subject, subject)]


def _read_question(question: str) -> tuple[str, bool, list[str]]:
    """Return the subject, whether it is negated, and the things to choose from."""
    match, things = _QUESTION.match(question), _OPTION.findall(question)
    if match is None or not things:
        raise ValueError("it must look like: Which of these is not magnetic? (a) a key (b) a ladder, each on its own line")
    unknown = [thing for thing in things if thing not in MADE_OF]
    if unknown or not any(match[2] in subjects for subjects in SUBJECTS.values()):
        raise ValueError(f"this world has no {unknown[0] if unknown else match[2]!r}")
    return match[2], match[1] is not None, things


def _draw_fact(names: Collection[str], truth: str, slip: float, rng: random.Random) -> str:
    """Return ``truth``, or after a slip another one of ``names``."""
    return rng.choice([name for name in names if name != truth]) if rng.random() < slip else truth


def _write_made_of(style: str, materials: Mapping[str, str]) -> str:
    verb = "is" if style == "short" else "is made of"
    facts = [f"a {thing} {verb} {material}" for thing, material in materials.items()]
    if style == "list":
        facts[1:] = [f"a {thing} of {material}" for thing, material in list(materials.items())[1:]]
    return _join_facts(style, facts)


def _write_like(style: str, fits: Mapping[str, bool], adjective: str) -> str:
    ending = "" if style == "short" else f" {adjective}"
    return _join_facts(style, [f"{material} is{'' if fit else ' not'}{ending}" for material, fit in fits.items()])


def _join_facts(style: str, facts: Sequence[str]) -> str:
    return (" and " if style == "and" else ", ").join(facts).capitalize() + "."


def _list_things(things: Sequence[str]) -> str:
    return " and ".join([", ".join(f"a {thing}" for thing in things[:-1]), f"a {things[-1]}"])
