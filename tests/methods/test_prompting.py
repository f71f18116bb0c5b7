"""What is only asked: the options of answer_only's teacher, few_shot, zero_shot, decompose and rationalise."""

from dataclasses import replace

import pytest
from playing import CHOICE, CLAIM, COINS, EMPTY, SOCRATIC, SUM, asked, chain, made, play, solved, texts

from understudy.core.asks import Message, Reply, SamplePath
from understudy.core.errors import StudyError
from understudy.core.prompt_format import PromptFormat
from understudy.core.registry import METHODS, find
from understudy.core.values import Outcome, Problem
from understudy.evaluation.metrics import judge_solution
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.decompose import Decompose
from understudy.methods.few_shot import FewShot
from understudy.methods.rationalise import Rationalise
from understudy.methods.sci_cot import SciCoT
from understudy.methods.socratic import Socratic
from understudy.methods.zero_shot import ZeroShot
from understudy.sampling.pool import StudyPool
from understudy.studies.schema import build

OTHER = Problem("e", "What is 1 + 1?", "number", "2", meta={"rationale": "1 + 1 = 2."})
SUBJECTS = ("maths", "science", "commonsense")
HOUSE = {f"rationalise-{s}": f"{s}: {{{{question}}}}\nThe right answer is: {{{{answer}}}}\nA:" for s in SUBJECTS} | {
    f"decompose-{purpose}-{s}": f"{purpose} {s}: {{{{question}}}}{more}"
    for s in SUBJECTS
    for purpose, more in [
        ("questions", "\nQ1:"),
        ("answer", "\n{{questions}}\nA1:"),
        ("backfill", "\n{{steps}}\nQ1:"),
        ("feedback", "\n{{questions}}\nUseful 1:"),
    ]
}
POOL = StudyPool(prompts=HOUSE)
DIALOGUE = " How many has she?\nA1: 4 + 3 = 7.\nQ2: How many are left?\nA2: 7 - 5 = 2.\nThe answer is: 2"


def sampled(method, problem, script, pool=POOL):
    return play(method.sample(problem, SamplePath(problem.id), pool), script, problem=problem.id)


def limits(method, changed, problem, script, pool=POOL):
    """The limits of a method's and a changed method's calls, where all else about these is equal."""
    (same, calls), (default, others) = (solved(m, problem, script, pool) for m in (changed, method))
    assert (same, asked(calls)) == (default, asked(others))
    return [c.max_tokens for c in others], [c.max_tokens for c in calls]


@pytest.mark.parametrize(("method", "default"), [(AnswerOnly, 32), (FewShot, 256), (Decompose, 512), (Rationalise, 256)])
def test_the_limit_is_that_of_every_call_and_changes_nothing_else(method, default):
    (same, calls), (read, others) = (sampled(method(**more), SUM, " So the answer is: 5") for more in ({"max_tokens": 7}, {}))
    assert (same, calls) == (read, [replace(call, max_tokens=7) for call in others])
    assert {call.max_tokens for call in others} == {default}
    if method is not Rationalise:  # a teacher's method only
        assert limits(method(), method(max_tokens=7), SUM, " 5", POOL) == ([default], [7])
        assert made(method(max_tokens=7), SUM, [chain(SUM, "r", "5")]) == made(method(), SUM, [chain(SUM, "r", "5")])


# answer_only


def test_dummies_stand_after_the_question_when_learned_and_when_asked_and_nowhere_else():
    method, plain = AnswerOnly(dummies=3), AnswerOnly()
    ((source, target),) = texts(made(method, SUM, []))
    assert (source, target) == ("Q: What is 2 + 3? NOOP NOOP NOOP\nA:", " So the answer is: 5\n\n")
    assert asked(solved(method, SUM, " 5")[1]) == [("student", source)]
    assert sampled(method, SUM, " 5") == sampled(plain, SUM, " 5")
    assert texts(made(plain, SUM, [])) == [("Q: What is 2 + 3?\nA:", target)]
    assert (method.words, plain.words) == (("NOOP",), ())


def test_answers_alone_may_stand_in_context_as_chains_do():
    """The label-only student that learned to read examples (SCoTD's figure 6)."""
    pool = StudyPool(learn=[OTHER], chains=[chain(OTHER, "1 + 1 = 2.", "2")])
    ((learned, _),) = texts(made(AnswerOnly(in_context=1), SUM, [], pool))
    assert learned == "Q: What is 1 + 1?\nA: So the answer is: 2\n\nQ: What is 2 + 3?\nA:"
    _, (call,) = solved(AnswerOnly(in_context=1), SUM, " 5", pool)
    assert call.prompt == learned
    wrong = StudyPool(learn=[OTHER], chains=[chain(OTHER, "1 + 1 = 3.", "3")])
    ((gold, _),), ((theirs, _),) = (
        texts(made(AnswerOnly(label, in_context=1), SUM, [chain(SUM, "2 + 3 = 5.", "5")], wrong)) for label in ("gold", "teacher")
    )
    assert ("is: 2\n" in gold, "is: 3\n" in theirs) == (True, True), "whose answers it learns, those it is shown"


def test_the_label_of_answer_only_changes_what_is_learned_and_nothing_that_is_asked():
    two = [chain(SUM, "r", "5"), chain(SUM, "s", "6", path=1)]
    learned = texts(made(AnswerOnly(label="teacher"), SUM, two))
    assert [t for _, t in learned] == [" So the answer is: 5\n\n", " So the answer is: 6\n\n"]
    assert solved(AnswerOnly(label="teacher"), SUM, " 5") == solved(AnswerOnly(), SUM, " 5")


# few_shot, zero_shot


def test_few_shot_shows_the_same_exemplars_to_a_teacher_and_to_an_untrained_model():
    pool = StudyPool([OTHER, CLAIM])
    _, (teacher,) = sampled(FewShot(), SUM, " 5", pool)
    _, (untrained,) = solved(FewShot(), SUM, " 5", pool)
    assert (teacher.role, untrained.role, teacher.prompt) == ("teacher", "student", untrained.prompt)


def test_few_shot_without_chains_differs_by_the_rationales_of_its_exemplars_only():
    (_, (long,)), (_, (short,)) = (solved(FewShot(chain=c), SUM, " 5", StudyPool([OTHER])) for c in (True, False))
    assert short.prompt == long.prompt.replace(" 1 + 1 = 2.", "")


def test_zero_shot_has_a_limit_for_the_thought_and_one_for_the_answer():
    script = [" Two and three.", " 5"]
    assert limits(ZeroShot(), ZeroShot(max_tokens=7), SUM, script) == ([256, 32], [7, 32])
    assert limits(ZeroShot(), ZeroShot(answer_tokens=7), SUM, script) == ([256, 32], [256, 7])
    assert limits(ZeroShot(chain=False), ZeroShot(chain=False, answer_tokens=7), SUM, " 5") == ([32], [7])


def test_zero_shot_without_a_chain_is_its_second_call_after_the_question_itself():
    _, (first, second) = solved(ZeroShot(), SUM, [" Two and three.", " 5"])
    _, (alone,) = solved(ZeroShot(chain=False), SUM, " 5")
    assert alone == replace(second, prompt=first.prompt.replace("Let's think step by step.", "The answer (arabic numerals) is"))


def test_zero_shot_asks_for_each_kind_of_answer_in_its_own_words():
    ends = [solved(ZeroShot(chain=False), p, " B")[1][0].prompt.rpartition("A: ")[2] for p in (SUM, CLAIM, CHOICE)]
    assert ends == ["The answer (arabic numerals) is", "The answer (Yes or No) is", "Among A through B, the answer is"]


# decompose


def test_as_a_baseline_decompose_asks_once_for_questions_answers_and_the_conclusion():
    solution, (call,) = solved(Decompose(), COINS, DIALOGUE, POOL)
    assert (call.role, call.stop, call.max_tokens) == ("student", ("\nQ:",), 512)
    assert call.prompt == f"questions maths: {COINS.question}\nQ1:"
    assert (solution.answer, solution.text) == ("2", f"Q1: {DIALOGUE.strip()}")
    assert made(Decompose(), COINS, [chain(COINS, "r", "2")]) == []


@pytest.mark.parametrize("mode", ["answer", "backfill"])
def test_the_other_modes_are_no_baseline(mode):
    with pytest.raises(StudyError, match=f"mode = '{mode}': only \"decompose\" answers problems"):
        solved(Decompose(mode=mode), COINS, DIALOGUE, POOL)


def test_the_modes_of_decompose_are_three_ways_to_the_same_steps():
    problem = Problem(
        "n", COINS.question, "number", "2", meta={"subquestions": [{"question": "How many has she?", "answer": ""}] * 2}
    )
    taken = {}
    for mode, replies in {
        "decompose": [DIALOGUE],
        "answer": [" 4 + 3 = 7.\nA2: 7 - 5 = 2.\nThe answer is: 2"],
        "backfill": [" 4 + 3 = 7. 7 - 5 = 2. So the answer is: 2", " How many has she?\nQ2: How many are left?"],
    }.items():
        read, calls = sampled(Decompose(mode=mode), problem, replies)
        taken[mode] = [c.prompt.split(":")[0] for c in calls]
        assert [s.text for s in read.steps] == ["4 + 3 = 7.", "7 - 5 = 2."]
        assert (read.answer, read.rationale) == ("2", "4 + 3 = 7. 7 - 5 = 2.")
    assert taken == {"decompose": ["questions maths"], "answer": ["answer maths"], "backfill": ["Q", "backfill maths"]}


def test_of_the_data_sets_own_rationale_only_the_questions_are_asked_for():
    problem = Problem("n", COINS.question, "number", "2", meta={"rationale": "4 + 3 = 7. 7 - 5 = 2."})
    read, calls = sampled(Decompose(mode="backfill", of="human"), problem, " a?\nQ2: b?")
    assert asked(calls) == [("teacher", f"backfill maths: {COINS.question}\nA1: 4 + 3 = 7.\nA2: 7 - 5 = 2.\nQ1:")]
    assert [s.question for s in read.steps] == ["a?", "b?"]
    with pytest.raises(ValueError, match="of = \"human\", mode = 'decompose'"):
        Decompose(of="human")


def test_a_chain_that_was_cut_off_gets_no_questions():
    read, calls = sampled(Decompose(mode="backfill"), COINS, [Reply(" 4 + 3 = 7. And", finish="length")])
    assert (len(calls), read.steps, read.finish) == (1, (), "length")


def test_feedback_leaves_out_steps_that_most_opinions_find_useless_and_is_paid_for():
    opinions = [Reply(" Yes\nUseful 2: No", tokens=4, prompt_tokens=9)] * 2
    first = Reply(DIALOGUE, tokens=20, prompt_tokens=5)
    read, calls = sampled(Decompose(feedback=2), COINS, [first, *opinions])
    assert [(c.attempt, c.decoding.temperature) for c in calls[1:]] == [(0, 0.7), (1, 0.7)]
    assert ([s.question for s in read.steps], read.sampling["useful"]) == (["How many has she?"], [1.0, 0.0])
    assert (read.tokens, read.prompt_tokens) == (28, 23)
    plain, (call,) = sampled(Decompose(), COINS, first)
    assert (call, plain.text, len(plain.steps)) == (calls[0], read.text, 2)


@pytest.mark.parametrize("method", [Decompose, Rationalise])
def test_the_subject_is_taken_from_the_kind_of_answer_or_given(method):
    def subject(problem, **options):
        return sampled(method(**options), problem, " r")[1][0].prompt.split(": ")[0].rpartition(" ")[2]

    assert [subject(p) for p in (SUM, CHOICE, CLAIM)] == list(SUBJECTS)
    assert [subject(SUM, subject=s) for s in SUBJECTS] == list(SUBJECTS)
    _, (own,) = sampled(method(), SUM, " r")
    _, (other,) = sampled(method(subject="science"), SUM, " r")
    assert other == replace(own, prompt=own.prompt.replace("maths", "science"))


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [(AnswerOnly, "dummies", -1), (Decompose, "feedback", -1), (Socratic, "retries", -1), (SciCoT, "folds", 1)],
)
def test_a_number_below_its_least_is_refused(method, key, value):
    with pytest.raises(StudyError, match=rf"options.{key} = {value}: input should be greater than or equal to {value + 1}"):
        build(method, {key: value}, "options")


# rationalise


def test_the_teacher_is_told_the_answer_and_the_chain_says_so():
    read, (call,) = sampled(Rationalise(), CHOICE, " Water freezes.")
    assert call.prompt.endswith("(b) ice\nThe right answer is: (b)\nA:")
    assert (read.rationale, read.answer, read.layer, read.answer_conditioned) == ("Water freezes.", "B", "given", True)


@pytest.mark.parametrize(
    ("reply", "answer"), [(" It cannot be determined from the question.", None), (" Sand is wet. --> (a)", "A")]
)
def test_an_explanation_that_says_otherwise_does_not_get_the_given_answer(reply, answer):
    read, _ = sampled(Rationalise(), CHOICE, reply)
    assert read.answer == answer


@pytest.mark.parametrize(
    ("said", "rationale", "answer"),
    [
        (" Water. So the answer is: (b)", "Water.", "B"),
        (" Fire. So the answer is: (a)", "Fire.", "A"),
        (" ", "", None),
        ("<think>They say (b).</think>Water freezes.", "Water freezes.", "B"),
        ("<think>They say (b).</think>", "", None),
    ],
)
def test_what_it_explains_is_its_rationale_and_what_it_states_its_answer(said, rationale, answer):
    read, _ = sampled(Rationalise(), CHOICE, said)
    assert (read.rationale, read.answer, read.answer_conditioned) == (rationale, answer, True)


def test_what_it_thought_in_a_field_of_its_own_is_left_out_too():
    read, _ = sampled(Rationalise(), CHOICE, Reply("Water freezes.", reasoning="They say (b)."))
    assert (read.rationale, read.text) == ("Water freezes.", "Water freezes.")


def test_without_a_gold_answer_there_is_nothing_to_explain():
    with pytest.raises(StudyError, match="no gold answer"):
        sampled(Rationalise(), CHOICE.blind(), " r")


# style


@pytest.mark.parametrize("method", [Decompose, Rationalise])
def test_in_messages_the_house_prompts_are_one_turn_of_the_user(method):
    _, (raw,) = sampled(method(), SUM, " r")
    _, (chat,) = sampled(method(format=PromptFormat("messages", system="Brief.")), SUM, " r")
    assert (chat.prompt, chat.stop) == ((Message("system", "Brief."), Message("user", raw.prompt)), ())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_system_message_stands_before_every_prompt_and_changes_nothing_else(name):
    plain, told = (find("method", name)(format=PromptFormat("messages", system=text)) for text in ("", "Brief."))
    first = Message("system", "Brief.")
    if name == "rationalise":  # a teacher's method only
        (_, calls), (_, others) = (sampled(m, COINS, " 2") for m in (told, plain))
    else:
        (same, calls), (default, others) = (solved(m, COINS, " 2", POOL) for m in (told, plain))
        learned = made(plain, COINS, [SOCRATIC])
        assert made(told, COINS, [SOCRATIC]) == [replace(e, messages=(first, *e.messages)) for e in learned]
        assert (same.turns, same.answer) == (default.turns, default.answer)
    assert calls == [replace(call, prompt=(first, *call.prompt)) for call in others]


def test_a_thought_that_was_cut_off_is_counted_by_the_answer_after_it():
    solution, _ = solved(ZeroShot(), SUM, [Reply(" 2 +", finish="length"), " 5"], EMPTY)
    assert judge_solution(SUM, solution) is Outcome.CORRECT
