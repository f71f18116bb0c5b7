"""What every procedural world holds: exact workings, fresh questions in every split, balance, errors at known rates."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from understudy.core.answers import extract
from understudy.core.errors import StudyError
from understudy.core.prompt_format import write_question
from understudy.core.subquestions import split_sentences
from understudy.core.values import Problem
from understudy.tasks.worlds.diary import Diary
from understudy.tasks.worlds.materials import FACTS, MADE_OF, THINGS, USES, Materials
from understudy.tasks.worlds.scales import WEIGHT, Scales

SIZES = {"train": 300, "dev": 60, "test": 120}
WORLDS = {"diary": Diary(**SIZES, longer_test=40), "materials": Materials(**SIZES), "scales": Scales(**SIZES, longer_test=40)}
PROBLEMS = {name: world.problems(seed=5) for name, world in WORLDS.items()}
each_world = pytest.mark.parametrize("name", WORLDS)


def work(name, problem, draw=0, *, slip=0.0, misread=0.0):
    world, text = WORLDS[name], write_question(problem)
    return world.work(text, random.Random(f"{problem.id} {draw}"), slip=slip, misread=misread)


@each_world
def test_the_teacher_without_errors_solves_every_problem_in_several_wordings(name):
    for problem in PROBLEMS[name]:
        workings = [work(name, problem, draw) for draw in range(8)]
        assert {w.answer for w in workings} == {problem.answer}
        assert {w.kind for w in workings} == {problem.kind}
        assert {len(w.steps) for w in workings} == {problem.meta["steps"]}
        assert len({w.rationale for w in workings}) >= 2


@each_world
def test_every_problem_has_its_exact_working_step_by_step(name):
    for problem in PROBLEMS[name]:
        asked = problem.meta["subquestions"]
        assert problem.meta["rationale"] == " ".join(step["answer"] for step in asked)
        assert len(asked) == problem.meta["steps"]
        assert all(step["question"].endswith("?") and step["answer"].endswith(".") for step in asked)


@pytest.mark.parametrize(("name", "more"), [("diary", 1), ("materials", 0), ("scales", 0)])
def test_a_step_is_a_sentence_but_for_the_start_of_a_diary(name, more):
    for problem in PROBLEMS[name]:
        assert len(split_sentences(work(name, problem).rationale)) == problem.meta["steps"] + more


@each_world
def test_the_answer_can_be_read_off_the_steps_alone(name):
    for problem in PROBLEMS[name]:
        for draw in range(4):
            said = work(name, problem, draw).rationale
            assert extract(said, problem.kind, problem.choices, write_question(problem)).value == problem.answer, said


@each_world
def test_each_step_is_asked_for_in_one_of_its_wordings_and_no_two_steps_share_one(name):
    for problem in PROBLEMS[name]:
        worked = work(name, problem)
        assert all(step.question in wordings for step, wordings in zip(worked.steps, worked.wordings, strict=True))
        assert max(Counter(wording for wordings in worked.wordings for wording in set(wordings)).values()) == 1


@each_world
def test_no_question_comes_twice(name):
    assert len({p.question + "".join(sorted(p.choices)) for p in PROBLEMS[name]}) == len(PROBLEMS[name])


@each_world
def test_problems_are_a_function_of_the_seed(name):
    assert WORLDS[name].problems(seed=5) == PROBLEMS[name]
    assert WORLDS[name].problems(seed=6)[0].question != PROBLEMS[name][0].question


@each_world
def test_the_steps_take_turns_in_every_split(name):
    for split, longest in (("train", 4), ("dev", 4), ("test", 4)):
        counts = Counter(p.meta["steps"] for p in PROBLEMS[name] if p.split == split)
        assert max(counts) == longest
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(
    ("name", "slip", "misread", "low", "high"),
    [
        ("diary", 0.05, 0.5, 0.19, 0.26),
        ("diary", 0.0, 0.5, 0.10, 0.18),
        ("diary", 0.2, 0.0, 0.3, 0.45),
        ("materials", 0.05, 0.0, 0.08, 0.14),  # three to seven facts, most of which decide
        ("materials", 0.0, 0.5, 0.17, 0.23),  # half of the 40 % that have a "not"
        ("scales", 0.2, 0.0, 0.04, 0.11),  # a number that is off changes few comparisons
        ("scales", 0.0, 0.5, 0.22, 0.28),  # half of the half that says "heavier"
    ],
)
def test_the_teacher_errs_at_a_known_rate(name, slip, misread, low, high):
    train = [p for p in PROBLEMS[name] if p.split == "train"]
    wrong = [work(name, p, i, slip=slip, misread=misread).answer != p.answer for p in train for i in range(8)]
    assert low < sum(wrong) / len(wrong) < high


def test_the_right_letter_takes_turns_and_no_set_of_options_comes_twice():
    assert len({frozenset(p.choices) for p in PROBLEMS["materials"]}) == len(PROBLEMS["materials"])
    for steps in (2, 3, 4):
        letters = Counter(p.answer for p in PROBLEMS["materials"] if p.split == "test" and p.meta["steps"] == steps)
        assert set(letters) == {"A", "B", "C"}
        assert max(letters.values()) - min(letters.values()) <= 1


def test_one_option_of_a_question_about_materials_fits_and_the_others_do_not():
    for problem in PROBLEMS["materials"]:
        stem, _, subject = problem.question.removesuffix("?").partition(" can " if " can " in problem.question else " is ")
        negated, subject = subject.startswith("not "), subject.removeprefix("not ")
        like = USES.get(subject, subject)
        fits = [
            (MADE_OF[thing[2:]] == like.removeprefix("made of "))
            if like.startswith("made of ")
            else FACTS[MADE_OF[thing[2:]], like]
            for thing in problem.choices
        ]
        assert stem == "Which of these"
        assert [fit != negated for fit in fits] == [letter == problem.answer for letter in "ABC"]


def test_every_thing_and_weight_stands_once_in_its_table():
    assert len(MADE_OF) == len(" ".join(THINGS.values()).split())
    assert Counter(WEIGHT.values()) == dict.fromkeys(range(1, 10), 5)


def test_yes_and_no_take_turns_within_every_number_of_steps_and_longer_ones_have_a_step_more():
    for split, numbers in (("train", {2, 3, 4}), ("test", {2, 3, 4}), ("test-longer", {5})):
        some = [p for p in PROBLEMS["scales"] if p.split == split]
        assert {p.meta["steps"] for p in some} == numbers
        for steps in numbers:
            answers = Counter(p.answer for p in some if p.meta["steps"] == steps)
            assert answers["yes"] == answers["no"]


def test_a_chain_of_scales_adds_up_and_compares():
    question = "Could a piano and two cats be lighter than a horse?"
    worked = [WORLDS["scales"].work(question, random.Random(i), slip=0, misread=0) for i in range(20)]
    assert "A piano weighs 8. A cat weighs 2, two weigh 4, 8 + 4 = 12. A horse weighs 9. 12 is not less than 9, so no." in {
        w.rationale for w in worked
    }
    heavier = question.replace("lighter", "heavier")
    assert WORLDS["scales"].work(heavier, random.Random(0), slip=0, misread=0).answer == "yes"
    assert WORLDS["scales"].work(heavier, random.Random(0), slip=0, misread=1).answer == "no"


def test_a_chain_of_materials_follows_the_facts_one_hop_at_a_time():
    choices = ("a ladder", "a key", "a vase")
    question = write_question(Problem("", "Which of these can be pulled by a magnet?", "option", choices=choices))
    said = {WORLDS["materials"].work(question, random.Random(i), slip=0, misread=0).rationale for i in range(40)}
    assert (
        "What is magnetic can be pulled by a magnet. A ladder is made of wood, a key of iron, a vase of clay. "
        "Wood is not magnetic, iron is magnetic, clay is not magnetic. So it is a key."
    ) in said
    negated = question.replace("can", "can not").replace("a ladder", "a nail")
    assert WORLDS["materials"].work(negated, random.Random(0), slip=0, misread=0).answer == "C"
    assert WORLDS["materials"].work(negated, random.Random(0), slip=0, misread=1).answer in ("A", "B")


@pytest.mark.parametrize(
    ("name", "question", "says"),
    [
        ("materials", "Which of these is magnetic?", "must look like"),
        ("materials", "Which of these is magnetic?\nAnswer Choices:\n(a) a key\n(b) a unicorn", "no 'unicorn'"),
        ("materials", "Which of these is pretty?\nAnswer Choices:\n(a) a key\n(b) a ladder", "no 'pretty'"),
        ("scales", "Is a horse heavy?", "must look like"),
        ("scales", "Could a unicorn be lighter than a horse?", "no 'a unicorn'"),
    ],
)
def test_a_question_of_another_world_is_refused(name, question, says):
    with pytest.raises(ValueError, match=says):
        WORLDS[name].work(question, random.Random(0), slip=0, misread=0)


def test_a_world_says_when_it_has_no_more_problems():
    with pytest.raises(StudyError, match=r"train = 5000: after \d+ problems scales has no new ones of 2 steps; ask for fewer"):
        Scales(train=5000).problems(seed=0)


def test_changed_problems_of_the_diary_have_one_thing_more_and_are_solved_by_its_rules():
    world = Diary(**SIZES, longer_test=40, contrast=50)
    problems = {problem.id: problem for problem in world.problems(seed=5)}
    changed = [problem for problem in problems.values() if problem.split == "contrast"]
    assert len(changed) == 50
    assert len({problem.question for problem in problems.values()}) == len(problems), "no question is in two splits"
    for problem in changed:
        original = problems[problem.meta["pair"]]
        assert (original.split, original.meta["pair"]) == ("test", original.id)
        assert problem.question.split()[3:] == original.question.split()[3:], "only the number at the start differs"
        assert int(problem.answer) == int(original.answer) + 1
        assert work("diary", problem).answer == problem.answer
        assert problem.meta["rationale"] != original.meta["rationale"]
    rest = [replace(p, meta={k: v for k, v in p.meta.items() if k != "pair"}) for p in problems.values() if p.split != "contrast"]
    assert rest == PROBLEMS["diary"], "the other problems are what they were"
    with pytest.raises(StudyError, match=r"contrast = 500: test = 120 has 1\d\d to change; ask for fewer"):
        Diary(**SIZES, contrast=500).problems(seed=5)
