"""Answers after altered rationales: what stands before them is what was said, and the answer is the student's own."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.values import Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.engines.stand_ins import ProbeEngine
from understudy.evaluation.faithfulness import alter
from understudy.evaluation.run import answer
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.reasoning_teacher import ReasoningTeacher
from understudy.methods.sci_cot import SciCoT
from understudy.methods.scotd import SCoTD
from understudy.methods.socratic import Socratic
from understudy.sampling.ledger import Ledger

PROBLEMS = [Problem(f"p{i}", f"What is {i} plus 1?", "number", str(i + 1)) for i in range(6)]
WRITTEN = {p.id: f"I take {i}. Then {i} plus 1 is {i + 1}." for i, p in enumerate(PROBLEMS)}
SAID = {name: (text, text[-2]) for name, text in WRITTEN.items()}


def follow(request):
    """A student that answers with the last number that it reads: by its rationale, or by the question where there is none."""
    return f" {re.findall(r'[0-9]+', f'{request.ask.prompt}{request.begun}')[-1]}"


def read_by(student):
    return [f"{request.ask.prompt}{request.begun}" for request in student.asked]


def ask(method, how, said=SAID):
    student = ScriptedEngine(follow)
    altered = alter(said, how, seed=0)
    engines = dict.fromkeys(method.parts, student) if hasattr(method, "parts") else {"student": student}
    engines |= dict.fromkeys(method.rationale_roles, ProbeEngine(student, method, altered, how))
    return answer(PROBLEMS, method, engines), student, altered


def test_a_student_goes_on_after_the_rationale_that_it_is_given():
    done, student, altered = ask(SCoTD(), "half")
    assert altered["p3"] == "I take 3."
    assert "Q: What is 3 plus 1?\nA: I take 3. So the answer is:" in read_by(student)
    assert [s.answer for s in done.solutions] == ["0", "1", "2", "3", "4", "5"]
    assert done.solutions[3].text == " I take 3. So the answer is: 3"


def test_a_student_of_fine_tune_cots_format_goes_on_after_the_arrow():
    method = ReasoningTeacher()
    done, student, altered = ask(method, "half")
    assert "What is 3 plus 1? ### I take 3. -->" in read_by(student)
    assert [s.answer for s in done.solutions] == ["0", "1", "2", "3", "4", "5"]
    assert done.solutions[3].text == " I take 3. --> 3"
    assert [method.rationale_of(p, s) for p, s in zip(PROBLEMS, done.solutions, strict=True)] == [altered[p.id] for p in PROBLEMS]
    assert method.rationale_of(PROBLEMS[3], replace(done.solutions[3], text=" It is 3.")) is None, (
        "nothing parts it from the answer"
    )
    none, student, _ = ask(method, "empty")
    assert "What is 3 plus 1? ### -->" in read_by(student)
    assert [method.rationale_of(PROBLEMS[0], s) for s in none.solutions] == [""] * 6


def test_half_of_a_single_sentence_is_half_of_its_words():
    assert alter({"p": ("Ann has 3 pears and 4 apples", "7")}, "half", seed=0) == {"p": "Ann has 3"}
    assert alter({"p": ("Ann has 3 pears. Bob has 4.", None)}, "half", seed=0) == {"p": "Ann has 3 pears."}


def test_after_another_problems_rationale_and_after_none_the_answers_are_read_as_ever():
    done, _, altered = ask(SCoTD(), "other")
    assert [s.answer for s in done.solutions] == [re.findall(r"\d+", altered[p.id])[-1] for p in PROBLEMS]
    assert all(altered[p.id] != WRITTEN[p.id] for p in PROBLEMS)
    assert sorted(altered.values()) == sorted(WRITTEN.values())
    done, student, _ = ask(SCoTD(), "empty")
    assert read_by(student)[0] == "Q: What is 0 plus 1?\nA: So the answer is:"
    assert [s.answer for s in done.solutions] == ["1"] * 6


def test_a_rationale_that_is_a_turn_of_its_own_is_the_turn_and_costs_nothing():
    done, student, altered = ask(SciCoT(), "corrupted")
    assert len(student.asked) == len(PROBLEMS), "stage 1 is not asked"
    for solution in done.solutions:
        assert solution.turns[0] == ("rationale", altered[solution.problem])
        assert solution.answer == re.findall(r"\d+", altered[solution.problem])[-1]


ASKED = {
    p.id: (f"Q1: What do I take?\nA1: I take {i}.\nQ2: What is that plus 1?\nA2: {i} plus 1 is {i + 1}.", str(i + 1))
    for i, p in enumerate(PROBLEMS)
}


@pytest.mark.parametrize(
    "method", [Socratic(), Socratic(models="shared"), Socratic(questions="plan_first")], ids=["two", "shared", "planned first"]
)
def test_of_turns_the_questions_and_answers_are_given_and_the_solver_concludes_from_them(method):
    done, student, _ = ask(method, "half", ASKED)
    assert len(student.asked) == len(PROBLEMS), "the conclusion alone is the student's"
    assert read_by(student)[3] == "Q: What is 3 plus 1?\nQ1: What do I take?\nA1: I take 3.\nA:"
    assert [s.answer for s in done.solutions] == ["0", "1", "2", "3", "4", "5"]
    assert all(s.tokens == 1 for s in done.solutions), "what is given costs nothing"
    done, _, altered = ask(method, "corrupted", ASKED)
    for solution in done.solutions:
        assert method.rationale_of(PROBLEMS[0], solution) == altered[solution.problem] != ASKED[solution.problem][0]
    done, student, _ = ask(method, "empty", ASKED)
    assert read_by(student)[3] == "Q: What is 3 plus 1?\nA:"
    assert [method.rationale_of(PROBLEMS[0], s) for s in done.solutions] == [""] * 6


def test_of_a_dialogue_in_one_pass_the_student_goes_on_at_its_conclusion():
    method = Socratic(models="unified")
    done, student, _ = ask(method, "half", ASKED)
    assert read_by(student)[3] == "Q: What is 3 plus 1?\nQ1: What do I take?\nA1: I take 3.\nA:"
    assert done.solutions[3].text == "Q1: What do I take?\nA1: I take 3.\nA: 3"
    assert method.rationale_of(PROBLEMS[3], done.solutions[3]) == "Q1: What do I take?\nA1: I take 3."
    assert method.rationale_of(PROBLEMS[3], replace(done.solutions[3], text="Q1: What do I take")) is None, "it came to no answer"


def test_the_marks_of_turns_stay_whatever_is_altered():
    text = "Q1: How heavy is it?\nA1: It is very heavy."
    changed = alter({"p": (text, "yes")}, "corrupted", seed=3)["p"]
    assert changed != text
    assert [sorted(line.split()) for line in changed.split("\n")] == [sorted(line.split()) for line in text.split("\n")]
    assert [line[:4] for line in changed.split("\n")] == ["Q1: ", "A1: "]
    numbers = alter({"p": ("Q1: How many are 2 and 3?\nA1: 5", "5")}, "corrupted", seed=3)["p"]
    assert re.sub("[0-9]+", "0", numbers) == "Q0: How many are 0 and 0?\nA0: 0"
    assert re.findall("[QA][0-9]", numbers) == ["Q1", "A1"]


def test_answers_that_the_ledger_has_are_told_from_those_that_took_time(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as store:
        done = [
            answer(some, AnswerOnly(), {"student": ScriptedEngine(follow)}, store=store)
            for some in (PROBLEMS[:4], PROBLEMS, PROBLEMS)
        ]
    assert [(len(answers.solutions), answers.bought) for answers in done] == [(4, 4), (6, 2), (6, 0)]


def test_a_problem_without_a_rationale_is_an_error_and_no_answer():
    student = ScriptedEngine(follow)
    probe = ProbeEngine(student, SCoTD(), {"p1": "It is 2."}, "half")
    done = answer(PROBLEMS[:2], SCoTD(), {"student": probe})
    assert [s.problem for s in done.solutions] == ["p1"]
    assert "no rationale" in done.errors[0].error


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.text(), st.sampled_from(["7", "8", None])), min_size=1), st.integers(0, 3))
def test_alterations_depend_on_the_problem_and_the_seed_alone(rationales, seed):
    for how in ("empty", "half", "corrupted", "other"):
        altered = alter(rationales, how, seed=seed)
        assert altered == alter(dict(reversed(rationales.items())), how, seed=seed)
        assert altered.keys() == rationales.keys()
    assert set(alter(rationales, "empty", seed=seed).values()) == {""}
    for name, text in alter(rationales, "corrupted", seed=seed).items():
        if re.search("[0-9]", re.sub("(?m)^[QA][0-9]+:", "", rationales[name][0])):
            assert text != rationales[name][0]
    answers = {answer for _, answer in rationales.values()}
    by_name = {name: (name, answer) for name, (_, answer) in rationales.items()}
    for name, donor in alter(by_name, "other", seed=seed).items():
        assert len(answers) == 1 or by_name[donor][1] != by_name[name][1], "so whoever follows it answers otherwise"
