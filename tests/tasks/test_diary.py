"""The embedded world: problems that its own teacher solves, fresh tests, errors at a known rate."""

import random

import pytest

from understudy.tasks.worlds.diary import GAINS, Diary

WORLD = Diary(train=400, dev=40, test=200, longer_test=40)


def answer(text):
    return text.rsplit(" ", 1)[1]


def test_the_teacher_without_errors_solves_every_problem_in_every_style():
    styles = set()
    for problem in WORLD.problems(seed=0):
        for i in range(4):
            chain = WORLD.solve(problem.question, random.Random(f"{problem.id} {i}"), slip=0, misread=0)
            assert answer(chain) == problem.answer
            styles.add(" ".join(chain.split()[:2]).rstrip("0123456789. "))
    assert len(styles) >= 3


def test_splits_have_their_sizes_steps_and_no_question_in_common():
    problems = WORLD.problems(seed=0)
    sizes = {s: sum(p.split == s for p in problems) for s in ("train", "dev", "test", "test-longer")}
    assert sizes == {"train": 400, "dev": 40, "test": 200, "test-longer": 40}
    assert len({p.question for p in problems}) == len(problems)
    steps = {s: {p.meta["steps"] for p in problems if p.split == s} for s in sizes}
    assert steps["train"] == steps["test"] == {1, 2, 3, 4}
    assert steps["test-longer"] == {5, 6}


def test_problems_are_a_function_of_the_seed():
    assert WORLD.problems(seed=3) == WORLD.problems(seed=3)
    assert WORLD.problems(seed=3)[0] != WORLD.problems(seed=4)[0]


def test_the_steps_of_a_problem_are_the_entries_that_count_and_days_put_them_in_order():
    question = "Ana has 4 coins. Wed: loses 2. Mon: finds 3. Tue: Bob finds 5. How many coins does Ana have?"
    rng = random.Random(1)
    chains = {WORLD.solve(question, rng, slip=0, misread=0) for _ in range(50)}
    assert "Start 4. Mon 4 + 3 = 7. Wed 7 - 2 = 5. So the answer is: 5" in chains
    assert len(chains) == 4


def test_a_misreader_takes_the_ambiguous_word_for_a_gain():
    question = "Ana has 4 coins. Wed: gives 2. How many coins does Ana have?"
    assert "gives" not in GAINS
    assert answer(WORLD.solve(question, random.Random(0), slip=0, misread=0)) == "2"
    assert answer(WORLD.solve(question, random.Random(0), slip=0, misread=1)) == "6"


@pytest.mark.parametrize(
    ("slip", "misread", "low", "high"), [(0.05, 0.5, 0.19, 0.26), (0.0, 0.5, 0.10, 0.18), (0.2, 0.0, 0.3, 0.45)]
)
def test_the_teacher_errs_at_a_known_rate(slip, misread, low, high):
    problems = [p for p in WORLD.problems(seed=0) if p.split == "train"]
    wrong = [
        answer(WORLD.solve(p.question, random.Random(f"{p.id} {i}"), slip=slip, misread=misread)) != p.answer
        for p in problems
        for i in range(8)
    ]
    assert low < sum(wrong) / len(wrong) < high


@pytest.mark.parametrize("question", ["", "What is 2 + 2?", "Ana has 4 coins. Wed: eats 2. How many coins does Ana have?"])
def test_a_question_of_another_world_is_refused(question):
    with pytest.raises(ValueError, match=r"must look like|unknown day or verb"):
        WORLD.solve(question, random.Random(0), slip=0, misread=0)
