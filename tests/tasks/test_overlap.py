"""Questions on both sides: equal ones stop or leave, near ones are found by what they share."""

import pytest

from understudy.core.errors import DataError
from understudy.core.values import Problem
from understudy.tasks.overlap import NearPair, check_overlap, find_near


def problem(name, question, split, choices=(), context=""):
    return Problem(name, question, "option", choices=choices, split=split, context=context)


def test_a_question_identical_with_its_choices_in_train_and_test_stops_or_leaves_train():
    problems = [
        problem("a", "Which  one?", "train", ("x", "y")),
        problem("b", "Which one?", "test", ("y", "x")),
        problem("c", "Which one?", "train", ("x", "z")),
        problem("d", "What of 3?", "train"),
        problem("f", "Which one?", "dev", ("x", "y")),
    ]
    with pytest.raises(DataError, match="a = b, f = b"):
        check_overlap(problems, held_out=["test"], rule="error")
    for rule in ("drop", "drop-near"):
        kept, dropped = check_overlap(problems, held_out=["test"], rule=rule)
        assert [p.id for p in kept] == ["b", "c", "d"]
        assert dropped == ("a", "f")


TOLD = "On his way to the market an old farmer told us that the price of {}."


@pytest.mark.parametrize(
    ("held", "outside", "kind"),
    [
        ("Which is red, a rose or grass?", "Which is red: grass or a rose?", "same words"),
        ("Ann has 3 pears and buys 4.", "ann has 12 pears, and buys 40!", "other numbers"),
        ("Ann has 3 pears and buys 4 more of them.", "Bob Lee has 7 pears and buys 9 more of them.", "other names"),
        (TOLD.format("eggs went up"), TOLD.format("milk had gone down again"), "13 words in a row"),
        ("What is 3 + 4?", "What is 3 + 5?", "other numbers"),
        ("Ann has 1,000 pears. How many?", "Ann has 900 pears. How many?", "other numbers"),
        ("What is 3.5 times 2?", "What is 3 times 2?", "other numbers"),
        ("Is Ohio in Utah?", "Is Rome in Peru?", None),
        ("Ann has 3 pears and buys 4 more of them.", "Ann has 3 plums and buys 4 more of them.", "another word"),
        ("Ann has 3 pears and buys 4 more of them.", "Ann has 3 plums and eats 4 more of them.", None),
        (TOLD.format("eggs")[30:], TOLD.format("milk")[30:], "another word"),
        ("How many red pears has Ann got left?", "How many red pears has Ann got left today?", "another word"),
        ("Now how many red pears has Ann got left?", "How many red pears has Ann got left?", "another word"),
        ("How many pears has Ann got left?", "How many red pears has Ann got left?", "another word"),
        ("How many pears has Ann got left now?", "How many red pears has Ann got left?", "another word"),
        ("How many pears has Ann left?", "How many red pears has Ann got left?", None),
        ("Would a pe\ufe0far tree grow in a be\u034fach?", "Would a pear tree grow in a beach?", "same words"),
        ("Would a pe\U000e0100ar tree gr\u180bow in a b\u3164each?", "Would a pear tree grow in a beach?", "same words"),
        ("Would a pear tree grow in the sand?", "Would a pear tree grow in the sand? Please explain.", "more words"),
        ("Would a pear grow?", "Would a pear grow? Please explain.", "more words"),
        ("Think first, then explain. Would a pear tree grow in sand?", "Would a pear tree grow in sand?", "more words"),
        ("Would a pear grow?", "Would a pear grow? Please explain it all.", None),
        ("Pears grow?", "Pears grow? Explain.", None),
        ("Would a tall pear tree grow?", f"{'First think of it, please. ' * 6}Would a tall pear tree grow?", "more words"),
        ("Think. Would a tall pear tree grow? Explain it.", "Would a tall pear tree grow?", "more words"),
        (f"Question: Would a tall pear tree grow? {'Think. ' * 9}", "Would a tall pear tree grow?", "more words"),
        ("Would a tall pear tree grow?", f"{'Think. ' * 9}\nWould a tall pear tree grow? {'Think. ' * 9}", "more words"),
        ("Would a pe\x00ar tree\x9f grow in a\tbeach?", "Would a pear tree grow in a beach?", "same words"),
        ("Would a pe\u00adar tree grow in a bea\u200bch?", "Would a pear tree grow in a beach?", "same words"),
        ("What is 3\u00b2 plus x\u00b2?", "What is 32 plus x2?", None),
    ],
)
def test_near_questions_are_found_by_what_they_share(held, outside, kind):
    pairs, ids = find_near([problem("a", outside, "train"), problem("b", held, "test")], held_out=["test"])
    assert pairs == ([NearPair("b", "a", kind)] if kind else [])
    assert ids == ({"a"} if kind else set())


@pytest.mark.parametrize(
    ("choices", "others", "kind"),
    [
        (("a rose", "grass"), ("Grass", "a rose!"), "same words"),
        (("a rose", "grass"), ("a rose", "moss"), "another option"),
        (("a rose", "grass", "ivy"), ("ivy", "grass"), "another option"),
        (("a rose", "grass", "ivy"), ("a rose", "moss", "fern"), "same sentence"),
        (("in Rome", "in Paris"), ("in New York", "in Lima"), "other names"),
    ],
)
def test_choices_are_a_part_of_the_question_in_any_order(choices, others, kind):
    asked = "Which of these is the one that you would like?"
    problems = [problem("a", asked, "train", choices), problem("b", asked, "test", others)]
    assert [pair.kind for pair in find_near(problems, held_out=["test"])[0]] == ([kind] if kind else [])


def test_a_question_of_few_words_is_near_one_with_the_same_choices():
    asked = {"a": "Bees use", "b": "Bees use what?", "c": "Bees find", "d": "Bees then find what?"}
    for one, other, kind in (("a", "b", "another word"), ("a", "c", "another word"), ("a", "d", None)):
        for choices in (("pollen", "sand"), ()):
            problems = [problem(one, asked[one], "train", choices), problem(other, asked[other], "test", choices)]
            pairs, _ = find_near(problems, held_out=["test"])
            assert [pair.kind for pair in pairs] == ([kind] if kind and choices else [])


def test_each_held_out_question_is_listed_once_by_the_nearest_kind_and_every_near_one_outside_is_known():
    held = [problem(f"t{n}", f"Ann has {n} pears and buys some more of them.", "test") for n in range(3)]
    outside = [
        problem("name", "Bob has 9 pears and buys some more of them.", "train"),
        problem("number", "Ann has 9 pears and buys some more of them.", "dev"),
        problem("words", "Of them Ann buys some more and has 1 pears.", "train"),
        problem("far", "Who sang?", "train"),
    ]
    pairs, ids = find_near([*outside, *held], held_out=["test"])
    assert pairs == [
        NearPair("t1", "words", "same words"),
        NearPair("t0", "number", "other numbers"),
        NearPair("t2", "number", "other numbers"),
    ]
    assert ids == {"name", "number", "words"}
    assert find_near(held, held_out=["test"]) == ([], set())
