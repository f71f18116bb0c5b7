"""Socratic CoT: who asks, who answers, what each reads and learns, and how the questions end; option by option."""

import json
import re
from dataclasses import replace

import pytest
from playing import COINS, SOCRATIC, STEPS, asked, made, solved, taught, texts

from understudy.core.asks import Reply
from understudy.core.errors import TooLongError
from understudy.core.prompt_format import PromptFormat
from understudy.core.subquestions import make_gold_chain
from understudy.core.values import Outcome, Problem, Step
from understudy.evaluation.metrics import judge_solution
from understudy.methods.socratic import Socratic

Q = "Q: Ana has 4 coins, finds 3 and loses 5. How many has she?"
FIRST = "Q1: How many has she then?\nA1: She has 4 + 3 = 7."
SECOND = "Q2: How many are left?\nA2: That leaves 7 - 5 = 2."
ANSWER = " So the answer is: 2\n\n"
ASKS = [
    (f"{Q}\nQ1:", " How many has she then?\n"),
    (f"{Q}\n{FIRST}\nQ2:", " How many are left?\n"),
    (f"{Q}\n{FIRST}\n{SECOND}\nQ3:", " [end]\n"),
]
SOLVES = [
    (f"{Q}\nQ1: How many has she then?\nA1:", " She has 4 + 3 = 7.\n"),
    (f"{Q}\n{FIRST}\nQ2: How many are left?\nA2:", " That leaves 7 - 5 = 2.\n"),
    (f"{Q}\n{FIRST}\n{SECOND}\nA:", ANSWER),
]


def learned(role, **options):
    return texts(made(Socratic(**options), COINS, [SOCRATIC]), role)


def dialogue(replies, **options):
    """The solution, and the ends of the prompts that it took, for the ``replies`` of both in order."""
    solution, calls = solved(Socratic(**options), COINS, replies)
    return solution, [prompt.rpartition("\n")[2] for _, prompt in asked(calls)]


def test_a_decomposer_learns_the_questions_and_a_solver_their_answers():
    assert learned("decomposer") == ASKS
    assert learned("solver") == SOLVES
    assert (Socratic().roles, Socratic().needs) == (("decomposer", "solver"), {})
    assert {e.chain for e in made(Socratic(), COINS, [SOCRATIC])} == {SOCRATIC.id}


def test_in_messages_every_turn_is_a_chat_of_its_own():
    method = Socratic(format=PromptFormat("messages", system="Brief."))
    assert texts(made(method, COINS, [SOCRATIC]), "decomposer") == [(f"Brief.|{s}", t.strip()) for s, t in ASKS]
    _, calls = solved(method, COINS, taught(method, made(method, COINS, [SOCRATIC])))
    assert {c.stop for c in calls} == {()}


def test_asked_they_take_turns_until_the_decomposer_ends_and_the_solver_concludes():
    solution, calls = solved(Socratic(), COINS, taught(Socratic(), made(Socratic(), COINS, [SOCRATIC])))
    order = [ASKS[0], SOLVES[0], ASKS[1], SOLVES[1], ASKS[2], SOLVES[2]]
    assert [prompt for _, prompt in asked(calls)] == [source for source, _ in order]
    assert [c.role for c in calls] == ["decomposer", "solver"] * 3
    assert [c.stop for c in calls] == [("\n",)] * 5 + [("\n\n",)]
    assert [c.step for c in calls[-2:]] == [2, 2]
    assert (solution.answer, solution.text) == ("2", f"{FIRST}\n{SECOND}\nA: So the answer is: 2")
    assert (len(solution.turns), solution.tokens) == (6, sum(len(target.split()) for _, target in order))


def test_the_answer_is_what_the_conclusion_says_whatever_stands_in_the_steps():
    said = [" How many?", " The answer is 7.", " [end]", " 2"]
    assert dialogue(said)[0].answer == "2"
    assert dialogue([*said[:3], " "])[0].answer is None


def test_the_solution_ends_as_its_conclusion_does():
    cut, right = Reply(" So the answer is: 2", finish="length"), " So the answer is: 2"
    assert judge_solution(COINS, dialogue([" [end]", cut])[0]) is Outcome.TRUNCATED
    assert judge_solution(COINS, dialogue([" How?", cut, cut, right])[0]) is Outcome.CORRECT


# models


def test_a_shared_model_learns_both_parts_and_plays_both():
    examples, shared = made(Socratic(models="shared"), COINS, [SOCRATIC]), Socratic(models="shared")
    assert [replace(e, role="") for e in examples] == [replace(e, role="") for e in made(Socratic(), COINS, [SOCRATIC])]
    assert ({e.role for e in examples}, shared.roles) == ({"student"}, ("student",))
    assert shared.parts == {"decomposer": "student", "solver": "student"}
    assert solved(shared, COINS, " [end]") == solved(Socratic(), COINS, " [end]")


def test_a_unified_model_writes_the_whole_dialogue_in_one_pass():
    whole = f" {FIRST.removeprefix('Q1: ')}\n{SECOND}\nA: So the answer is: 2\n\n"
    unified = Socratic(models="unified")
    assert texts(made(unified, COINS, [SOCRATIC])) == [(f"{Q}\nQ1:", whole)]
    solution, (call,) = solved(unified, COINS, whole)
    assert (call.role, call.prompt, call.stop, call.max_tokens) == ("student", f"{Q}\nQ1:", ("\n\n",), 960)
    assert (solution.answer, solution.text) == ("2", f"Q1: {whole.strip()}")
    assert unified.parts == {"student": "student"}


# questions


def test_planned_first_all_questions_are_one_turn_of_the_decomposer():
    planned = " How many has she then?\nQ2: How many are left?\n\n"
    assert learned("decomposer", questions="plan_first") == [(f"{Q}\nQ1:", planned)]
    assert learned("solver", questions="plan_first") == SOLVES
    solution, calls = solved(Socratic(questions="plan_first"), COINS, [planned, *(said for _, said in SOLVES)])
    assert [c.role for c in calls] == ["decomposer", "solver", "solver", "solver"]
    assert (calls[0].stop, calls[0].max_tokens, calls[1].max_tokens) == (("\n\n",), 960, 96)
    assert solution.answer == "2"


# guidance


@pytest.mark.parametrize(
    ("guidance", "plan"),
    [("number", "2 steps"), ("operators", "+ -"), ("equations", "4 + 3 ; 7 - 5")],
)
def test_guidance_is_a_plan_that_the_decomposer_writes_first_and_goes_by(guidance, plan):
    asks = learned("decomposer", guidance=guidance)
    assert asks[0] == (f"{Q}\nPlan:", f" {plan}\n")
    assert asks[1:] == [(source.replace(Q, f"{Q}\nPlan: {plan}"), target) for source, target in ASKS]
    assert learned("solver", guidance=guidance) == SOLVES
    method = Socratic(guidance=guidance)
    _, calls = solved(method, COINS, [" one  step", " [end]", " 2"])
    assert asked(calls) == [("planner", f"{Q}\nPlan:"), ("decomposer", f"{Q}\nPlan: one step\nQ1:"), ("solver", f"{Q}\nA:")]
    assert method.parts == {"planner": "decomposer", "decomposer": "decomposer", "solver": "solver"}
    assert Socratic(models="shared", guidance=guidance).parts["planner"] == "student"


def test_a_plan_without_arithmetic_says_so_and_gsm8ks_marks_count_once():
    plain = replace(SOCRATIC, steps=(Step("Seven.", "How many?"),))
    marked = replace(SOCRATIC, steps=(Step("4+3=<<4+3=7>>7 coins", "How many?"),))
    assert texts(made(Socratic(guidance="operators"), COINS, [plain]))[0] == (f"{Q}\nPlan:", " none\n")
    assert texts(made(Socratic(guidance="equations"), COINS, [marked]))[0] == (f"{Q}\nPlan:", " 4 + 3\n")


# context


def test_with_the_last_answer_only_the_solver_sees_one_step_under_its_own_number():
    assert learned("decomposer", context="last") == ASKS
    assert learned("solver", context="last") == [*SOLVES[:2], (f"{Q}\n{SECOND}\nA:", ANSWER)]
    _, calls = solved(Socratic(context="last"), COINS, [" a?", " 1", " b?", " 2", " c?", " 3", " [end]", " 3"])
    assert calls[5].prompt == f"{Q}\nQ2: b?\nA2: 2\nQ3: c?\nA3:"
    assert calls[6].prompt == f"{Q}\nQ1: a?\nA1: 1\nQ2: b?\nA2: 2\nQ3: c?\nA3: 3\nQ4:"


# max_steps, retries, max_tokens


def test_a_decomposer_that_never_ends_is_ended_after_max_steps():
    replies = iter(range(99))
    solution, calls = solved(Socratic(max_steps=3), COINS, lambda _: f" {next(replies)}?")
    assert [c.role for c in calls] == ["decomposer", "solver"] * 3 + ["solver"]
    assert solution.answer == "6"


def test_a_chain_with_max_steps_teaches_no_end_since_it_is_not_asked_for_one():
    assert learned("decomposer", max_steps=2) == ASKS[:2]
    assert learned("solver", max_steps=2) == SOLVES


def test_an_empty_question_is_asked_for_again_sampled_and_ends_the_questions_when_it_stays_empty():
    solution, calls = solved(Socratic(), COINS, [" ", " How many?", " 7", " [end]", " 7"])
    assert [(c.attempt, c.decoding.temperature) for c in calls[:2]] == [(0, 0), (1, 0.7)]
    assert calls[0].prompt == calls[1].prompt
    assert [role for role, _ in solution.turns] == ["decomposer", "decomposer", "solver", "decomposer", "solver"]
    assert dialogue([" ", " ", " 2"])[1] == ["Q1:", "Q1:", "A:"]
    assert dialogue([" ", " 2"], retries=0)[1] == ["Q1:", "A:"]
    assert dialogue([" ", " ", " ", " 2"], retries=2)[1] == ["Q1:", "Q1:", "Q1:", "A:"]


def test_every_question_has_retries_of_its_own():
    said = [" ", " a?", " 1", " ", " b?", " 2", " ", " ", " 2"]
    assert dialogue(said)[1] == ["Q1:", "Q1:", "A1:", "Q2:", "Q2:", "A2:", "Q3:", "Q3:", "A:"]


def test_a_question_may_come_twice_where_its_answer_is_new():
    replies = [" How many now?", " 4 + 3 = 7", " How many now?", " 7 - 5 = 2", " [end]", " 2"]
    solution, ends = dialogue(replies)
    assert ends == ["Q1:", "A1:", "Q2:", "A2:", "Q3:", "A:"]
    assert solution.text.count("How many now?") == 2


def test_a_question_that_gets_the_same_answer_again_is_asked_for_again_and_then_ends_the_questions():
    loop = [" How many?", " 7"]
    solution, ends = dialogue([*loop, *loop, " How many?", " 7"])
    assert ends == ["Q1:", "A1:", "Q2:", "A2:", "Q2:", "A:"]
    assert (solution.text, solution.answer) == ("Q1: How many?\nA1: 7\nA: 7", "7")
    other, ends = dialogue([*loop, *loop, " And then?", " 2", " [end]", " 2"])
    assert ends == ["Q1:", "A1:", "Q2:", "A2:", "Q2:", "A2:", "Q3:", "A:"]
    assert other.answer == "2"


CUT = Reply(" 4 + 3 =", finish="length")


@pytest.mark.parametrize("bad", [" ", CUT])
def test_a_sub_answer_that_is_empty_or_was_cut_off_is_asked_for_again_and_then_ends_the_questions(bad):
    assert dialogue([" How many?", bad, " 7", " [end]", " 7"])[1] == ["Q1:", "A1:", "A1:", "Q2:", "A:"]
    solution, ends = dialogue([" How many?", " 7", " And then?", bad, bad, " 2"])
    assert ends == ["Q1:", "A1:", "Q2:", "A2:", "A2:", "A:"]
    assert (solution.text, solution.answer) == ("Q1: How many?\nA1: 7\nA: 2", "2")


def test_a_question_or_a_plan_that_was_cut_off_is_none():
    assert dialogue([CUT, CUT, " 2"])[1] == ["Q1:", "Q1:", "A:"]
    assert dialogue([CUT, " How?", " 7", " 7"], questions="plan_first")[1] == ["Q1:", "Q1:", "A1:", "A:"]
    assert dialogue([CUT, " 1 steps", " [end]", " 7"], guidance="number")[1] == ["Plan:", "Plan:", "Q1:", "A:"]


def test_a_dialogue_that_outgrows_the_context_is_cut_off_and_a_question_that_does_is_an_error():
    def small(request, most=100):
        if len(request.ask.prompt) > most:
            raise TooLongError("too long")
        return f" {len(request.ask.prompt)}" + "?" * (request.ask.role == "decomposer")

    solution, _ = solved(Socratic(), COINS, small)
    assert (judge_solution(COINS, solution), solution.answer) == (Outcome.TRUNCATED, None)
    assert solution.text == "\n".join(text.strip() for _, text in solution.turns)
    with pytest.raises(AssertionError, match="too long"):
        solved(Socratic(), COINS, lambda request: small(request, most=9))


def test_students_that_never_end_a_line_are_asked_a_few_times_and_their_prompts_do_not_grow():
    _, calls = solved(Socratic(guidance="number"), COINS, lambda request: Reply(" and" * request.ask.max_tokens, finish="length"))
    assert max(len(call.prompt) for call in calls) == len(f"{Q}\nPlan:")
    assert len(calls) == 5


def test_planned_questions_are_asked_for_again_where_there_are_none_and_one_that_says_nothing_new_is_passed_over():
    planned = {"questions": "plan_first"}
    assert dialogue([" ", " How?", " 7", " 7"], **planned)[1] == ["Q1:", "Q1:", "A1:", "A:"]
    assert dialogue([" ", " ", " 2"], **planned)[1] == ["Q1:", "Q1:", "A:"]
    assert dialogue([" a?\nQ2: a?\nQ3: b?", " 1", " 1", " 2", " 2"], **planned)[1] == ["Q1:", "A1:", "A2:", "A2:", "A:"]
    thrice = [" a?\nQ2: a?\nQ3: a?\nQ4: b?", " 1", " 1", " 2", " 2"]
    assert dialogue(thrice, **planned)[1] == ["Q1:", "A1:", "A2:", "A2:", "A:"]
    assert dialogue([" a?\nQ2: b?", " 1", " 2"], max_steps=1, **planned)[1] == ["Q1:", "A1:", "A:"]


def test_without_any_question_the_solver_answers_at_once():
    solution, ends = dialogue([" [end]", " So the answer is: 2"])
    assert (ends, solution.text, solution.answer) == (["Q1:", "A:"], "A: So the answer is: 2", "2")


def test_the_limit_of_a_turn_is_in_the_calls_and_nowhere_else():
    (same, calls), (default, others) = (solved(Socratic(max_tokens=n), COINS, " [end]") for n in (7, 96))
    assert ({c.max_tokens for c in calls}, {c.max_tokens for c in others}) == ({7}, {96})
    assert (same, asked(calls)) == (default, asked(others))


@pytest.mark.parametrize("changed", [{"max_tokens": 7}, {"retries": 3}, {"max_steps": 5}])
def test_limits_and_guards_change_nothing_that_is_learned(changed):
    assert made(Socratic(**changed), COINS, [SOCRATIC]) == made(Socratic(), COINS, [SOCRATIC])


# what cannot be taught


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"steps": ()}, "no sub-questions"),
        ({"steps": (Step("7"), Step("2", "How many?"))}, "no sub-questions"),
        ({"steps": tuple(Step(f"{i}", f"{i}?") for i in range(11))}, "more than 10 sub-questions"),
        ({"steps": (Step(" ", "How many?"),)}, "a sub-question without an answer"),
        ({"steps": STEPS + STEPS[:1]}, "a sub-question and its answer twice"),
    ],
)
def test_a_chain_that_cannot_be_taught_says_why_and_gives_no_example(change, why):
    unfit = replace(SOCRATIC, rationale="Seven, two.", **change)
    assert Socratic().unfit(COINS, unfit) == why
    assert made(Socratic(), COINS, [unfit]) == []
    assert not Socratic().unfit(COINS, SOCRATIC)
    assert made(Socratic(), COINS, [replace(SOCRATIC, answer=None)]) == []


def test_a_chain_whose_rationale_is_written_in_questions_needs_no_steps():
    assert made(Socratic(), COINS, [replace(SOCRATIC, steps=(), rationale=f"{FIRST}\n{SECOND}")]) == [
        replace(e, chain=replace(SOCRATIC, steps=(), rationale=f"{FIRST}\n{SECOND}").id)
        for e in made(Socratic(), COINS, [SOCRATIC])
    ]


# gold in the place of a part


def with_gold(part, replies, **options):
    """The solution where ``part`` says what the chain says, and the others the ``replies``."""
    method, rest = Socratic(**options), iter(replies)
    return solved(method, COINS, lambda r: method.quote(COINS, SOCRATIC, r.ask) if r.ask.role == part else next(rest))[0]


def test_gold_questions_are_those_of_the_chain_whatever_was_answered():
    solution = with_gold("decomposer", [" 1", " 2", " So the answer is: 3"])
    assert solution.text == "Q1: How many has she then?\nA1: 1\nQ2: How many are left?\nA2: 2\nA: So the answer is: 3"
    assert with_gold("decomposer", [" 1", " 2", " 3"], questions="plan_first").text.startswith(
        "Q1: How many has she then?\nA1: 1\nQ2"
    )


def test_gold_answers_give_the_chains_answer_only_where_enough_was_asked():
    assert with_gold("solver", [" a?", " b?", " [end]"]).answer == "2"
    assert with_gold("solver", [" a?", " b?", " c?", " [end]"]).answer == "2"
    early = with_gold("solver", [" a?", " [end]"])
    assert (early.text, early.answer) == ("Q1: a?\nA1: She has 4 + 3 = 7.\nA: ", None)


def test_a_gold_plan_is_the_chains():
    assert Socratic(guidance="number").swaps == ("planner", "decomposer", "solver")
    assert (Socratic().swaps, Socratic(models="unified").swaps) == (("decomposer", "solver"), ())
    solution = with_gold("planner", [" [end]", " 2"], guidance="number")
    assert solution.turns[0] == ("planner", " 2 steps")


# the rest


def test_a_student_from_scratch_knows_every_mark_it_may_have_to_write():
    words = " ".join(Socratic(max_steps=12).words)
    assert all(mark in words for mark in ("Q12:", "A12:", "12 steps", "[end]", "Plan:", "none", " **"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"models": "unified", "guidance": "number"}, "unified"),
        ({"models": "unified", "questions": "plan_first"}, "unified"),
        ({"models": "unified", "context": "last"}, "unified"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Socratic(**options)


def test_a_teacher_is_asked_by_another_method():
    assert not hasattr(Socratic, "sample")


def test_one_in_six_real_dialogues_asks_a_question_twice_and_none_gets_an_answer_twice(real_data):
    rows = [json.loads(line) for line in (real_data / "gsm8k" / "test.jsonl").read_text("utf-8").splitlines()]
    problems = [Problem(r["id"], r["question"], "number", r["answer"], meta={"subquestions": r["subquestions"]}) for r in rows]
    chains = [working for problem in problems if (working := make_gold_chain(problem))]
    twice = sum(len({step.question for step in c.steps}) < len(c.steps) for c in chains)
    assert (len(chains), twice) == (660, 122)
    assert {Socratic().unfit(p, c) for p, c in zip(problems, chains, strict=True)} == {""}


def test_the_longest_answer_to_a_real_sub_question_fits_into_the_limit_of_a_turn(real_data):
    rows = [json.loads(line) for line in (real_data / "gsm8k" / "test.jsonl").read_text("utf-8").splitlines()]
    said = [re.findall(r"\w+|[^\w\s]", pair["answer"]) for row in rows for pair in row["subquestions"] or ()]
    assert (len(said), max(map(len, said))) == (2342, 88)
    assert Socratic().max_tokens > 88
