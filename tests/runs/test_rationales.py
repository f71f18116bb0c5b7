"""How near an arm's rationales are to another's, as a whole and role by role."""

from types import SimpleNamespace

import pytest

from understudy.core.errors import UserError
from understudy.core.values import Solution
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.scotd import SCoTD
from understudy.runs import rationales

EQUAL = "Ann has 3 pears and gets 4 more so 3 + 4 = 7"


def solution(problem, *turns):
    return Solution(problem, 0, "\n".join(text for _, text in turns), "7", "marker", turns=turns)


@pytest.fixture
def compare(monkeypatch):
    def compare(reference, **arms):
        """``arms``: name -> for each seed, problem -> turns."""

        def score(_run, arm, _split):
            for seeds in arms[arm]:
                yield SimpleNamespace(solutions={name: [solution(name, *turns)] for name, turns in seeds.items()})

        monkeypatch.setattr(rationales, "score", score)
        study = SimpleNamespace(method=lambda seeds: AnswerOnly() if seeds is arms.get("short") else SCoTD())
        return list(rationales.compare_rationales(SimpleNamespace(arms=arms, study=study), reference, "test"))

    return compare


def test_equal_texts_have_the_most_and_texts_without_a_common_word_nothing(compare):
    one, other = compare(
        "teacher",
        teacher=[{"p": [("student", EQUAL)], "q": [("student", EQUAL)]}],
        same=[{"p": [("student", EQUAL)]}, {"q": [("student", EQUAL)]}],
        other=[{"p": [("student", "zwölf boxkämpfer jagen viktor quer über den sylter deich")]}],
    )
    assert (one.arm, one.role, one.n, one.numbers, one.turns) == ("same", "", 2, 1.0, None)
    assert (one.bleu, one.rouge_l) == (pytest.approx(100), pytest.approx(100))
    assert (other.n, other.numbers, other.rouge_l) == (1, 0.0, 0.0)
    assert other.bleu < 5


def test_rouge_is_that_of_the_longest_common_subsequence_and_numbers_count_as_often_as_they_stand(compare):
    teacher = [{"p": [("student", "a 1 b c 2 d")]}]
    [one] = compare("teacher", teacher=teacher, arm=[{"p": [("student", "a 1 c b 2")]}])
    precision, recall = 4 / 5, 4 / 6  # a 1 b 2, or a 1 c 2
    assert one.rouge_l == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert one.numbers == 1.0
    [twice] = compare("teacher", teacher=teacher, arm=[{"p": [("student", "a 1 1 b c 2 d")]}])
    assert twice.numbers == 0.0
    [wordy] = compare("teacher", teacher=[{"p": [("student", "yes")]}], arm=[{"p": [("student", "no")]}])
    assert wordy.numbers is None, "where there is no number, none is the same"


def test_of_students_that_take_turns_each_role_has_a_row_and_as_many_sub_questions_are_counted(compare):
    turns = [("decomposer", "How many pears are there now?"), ("solver", "There are 3 + 4 = 7 pears."), ("decomposer", "End.")]
    rows = compare("teacher", teacher=[{"p": turns}], arm=[{"p": turns[:2]}])
    assert [(row.role, row.turns) for row in rows] == [("", None), ("decomposer", 0.0), ("solver", 1.0)]
    assert rows[2].bleu == pytest.approx(100)


def test_sub_questions_in_one_reply_are_compared_with_those_that_a_decomposer_asks(compare):
    asks = ["How many pears does Ann have?", "How many are there now?"]
    says = ["Ann has 3 pears.", "There are 3 + 4 = 7 pears."]
    whole = f"Q1: {asks[0]}\nA1: {says[0]}\nQ2: {asks[1]}\nA2: {says[1]}\nThe answer is: 7"
    fewer = f"Q1: {asks[0]}\nA1: {says[0]}\nThe answer is: 7"
    turns = [
        ("decomposer", f"Q1: {asks[0]}"),
        ("solver", f"A1: {says[0]}"),
        ("decomposer", f"Q2: {asks[1]}"),
        ("solver", f"A2: {says[1]}"),
    ]
    rows = compare(
        "teacher",
        teacher=[{"p": [("student", whole)]}],
        unified=[{"p": [("student", fewer)]}],
        iterative=[{"p": [*turns, ("decomposer", "The answer is: 7")]}],
    )
    assert [(row.arm, row.role, row.turns) for row in rows] == [
        *(("unified", "", None), ("unified", "decomposer", 0.0), ("unified", "solver", 0.0)),
        *(("iterative", "", None), ("iterative", "decomposer", 1.0), ("iterative", "solver", 1.0)),
    ]
    assert [row.bleu for row in rows[4:]] == [pytest.approx(100)] * 2
    assert [row.numbers for row in rows[4:]] == [None, 1.0], "no sub-question has a number"


def test_an_arm_that_is_not_there_or_is_alone_is_named(compare):
    with pytest.raises(UserError, match=r"--rationales: no arm that writes them is 'teachr'.*teacher"):
        compare("teachr", teacher=[{}])
    with pytest.raises(UserError, match="--rationales teacher: the run has no other arm"):
        compare("teacher", teacher=[{}])


def test_an_arm_that_writes_answers_alone_is_not_measured(compare):
    turns = {"p": [("student", EQUAL)]}
    rows = compare("teacher", teacher=[turns], short=[{"p": [("student", "7")]}], arm=[turns])
    assert [row.arm for row in rows] == ["arm"]
    with pytest.raises(UserError, match=r"no arm that writes them is 'short' \(known: teacher\)"):
        compare("short", teacher=[turns], short=[turns])
