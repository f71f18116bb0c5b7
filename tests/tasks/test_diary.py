"""The embedded world: word problems of a week, harder ones than were trained, a misleading verb."""

import random

import pytest

from understudy.core.values import digest
from understudy.tasks.worlds.diary import GAINS, Diary

WORLD = Diary(train=400, dev=40, test=200, longer_test=40)


def chain(question, rng, **errs):
    worked = WORLD.work(question, rng, **{"slip": 0, "misread": 0} | errs)
    return f"{worked.rationale} So the answer is: {worked.answer}"


def test_splits_have_their_sizes_and_steps():
    problems = WORLD.problems(seed=0)
    sizes = {s: sum(p.split == s for p in problems) for s in ("train", "dev", "test", "test-longer")}
    assert sizes == {"train": 400, "dev": 40, "test": 200, "test-longer": 40}
    steps = {s: {p.meta["steps"] for p in problems if p.split == s} for s in sizes}
    assert steps["train"] == steps["test"] == {1, 2, 3, 4}
    assert steps["test-longer"] == {5, 6}


def test_the_steps_of_a_problem_are_the_entries_that_count_and_days_put_them_in_order():
    question = "Ana has 4 coins. Wed: loses 2. Mon: finds 3. Tue: Bob finds 5. How many coins does Ana have?"
    rng = random.Random(1)
    chains = {chain(question, rng) for _ in range(50)}
    assert "Start 4. Mon 4 + 3 = 7. Wed 7 - 2 = 5. So the answer is: 5" in chains
    assert len(chains) == 4
    worked = WORLD.work(question, rng, slip=0, misread=0)
    assert [step.question in wordings for step, wordings in zip(worked.steps, worked.wordings, strict=True)] == [True, True]
    assert "How many coins does Ana have after Wed?" in worked.wordings[1]


def test_a_misreader_takes_the_ambiguous_word_for_a_gain():
    question = "Ana has 4 coins. Wed: gives 2. How many coins does Ana have?"
    assert "gives" not in GAINS
    assert WORLD.work(question, random.Random(0), slip=0, misread=0).answer == "2"
    assert WORLD.work(question, random.Random(0), slip=0, misread=1).answer == "6"


def test_problems_and_chains_are_those_of_the_published_studies():
    # Digests of what this world wrote before its chains came in steps: docs/results/demo was measured on it.
    small = Diary(train=40, dev=5, test=5, longer_test=10).problems(seed=0)
    assert digest([[p.id, p.question, p.answer] for p in small]) == "43f4619d7d34"
    said = [chain(p.question, random.Random(f"{p.id} {i}"), slip=0.2, misread=0.5) for p in small[:50] for i in range(4)]
    assert digest(said) == "8af5617249ce"


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("", "must look like"),
        ("What is 2 + 2?", "must look like"),
        ("Ana has 4 coins. Wed: eats 2. How many coins does Ana have?", "unknown day or verb"),
        ("Ana has 4 coins. Wed: Bob finds 2. How many coins does Ana have?", "no entry about Ana"),
    ],
)
def test_a_question_of_another_world_is_refused(question, says):
    with pytest.raises(ValueError, match=says):
        WORLD.work(question, random.Random(0), slip=0, misread=0)
