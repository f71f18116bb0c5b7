"""Sci-CoT: stage 1 writes a rationale, stage 2 answers from it; what each reads, learns and is asked, option by option."""

from dataclasses import replace

import pytest
from playing import CHOICE, CLAIM, SUM, asked, chain, made, play, solved, taught, texts

from understudy.core.asks import Reply, SamplePath
from understudy.core.errors import StudyError, TooLongError
from understudy.core.prompt_format import PromptFormat
from understudy.core.values import Outcome, Problem
from understudy.evaluation.metrics import judge_solution
from understudy.flows.cast import assign_fold
from understudy.methods.sci_cot import SciCoT
from understudy.methods.scotd import SCoTD
from understudy.sampling.pool import StudyPool

Q = "Q: What is 2 + 3?"
TWO = [chain(SUM, "2 + 3 = 5.", "5"), chain(SUM, "Count on.", "6", path=1)]
STAGE1 = [(f"{Q}\nRationale:", " 2 + 3 = 5.\n\n"), (f"{Q}\nRationale:", " Count on.\n\n")]


def read_by_stage2(method, problem, chains, pool=None, **more):
    return [source for source, _ in texts(made(method, problem, chains, pool or StudyPool(), **more), "answer")]


def shown(rationale, **options):
    """What stage 2 is shown of ``rationale`` for the question of which is cold, (a) the sun or (b) ice."""
    (source,) = read_by_stage2(SciCoT(**options), CHOICE, [chain(CHOICE, rationale, "B")])
    return source.partition("Rationale: ")[2].removesuffix("\nA:")


def test_two_students_learn_the_rationale_and_the_answer_to_it():
    examples = made(SciCoT(), SUM, TWO)
    assert texts(examples, "rationale") == STAGE1
    assert texts(examples, "answer") == [
        (f"{Q}\nRationale: 2 + 3 = 5.\nA:", " So the answer is: 5\n\n"),
        (f"{Q}\nRationale: Count on.\nA:", " So the answer is: 5\n\n"),
    ]
    assert {e.chain for e in examples} == {c.id for c in TWO}
    assert (SciCoT().roles, SciCoT().needs) == (("rationale", "answer"), {})


def test_in_messages_each_stage_is_a_chat_of_one_turn():
    examples = made(SciCoT(format=PromptFormat("messages", system="Brief.")), SUM, TWO[:1])
    assert texts(examples) == [
        (f"Brief.|{Q}\nRationale:", "2 + 3 = 5."),
        (f"Brief.|{Q}\nRationale: 2 + 3 = 5.\nA:", "So the answer is: 5"),
    ]


def test_asked_stage_2_reads_what_stage_1_wrote():
    replies = [
        Reply(" Four.\n", tokens=3, prompt_tokens=8, logprobs=(-1.0,)),
        Reply(" So the answer is: 4", tokens=5, prompt_tokens=9),
    ]
    solution, calls = solved(SciCoT(), SUM, replies)
    assert asked(calls) == [("rationale", f"{Q}\nRationale:"), ("answer", f"{Q}\nRationale: Four.\nA:")]
    assert [c.stop for c in calls] == [("\n\n",), ("\n\n",)]
    assert (solution.answer, solution.tokens, solution.prompt_tokens, solution.logprob) == ("4", 8, 17, -1.0)
    assert solution.turns == (("rationale", " Four.\n"), ("answer", " So the answer is: 4"))


def test_the_answer_is_read_from_stage_2_alone():
    solution, _ = solved(SciCoT(), SUM, [" So the answer is: 7", " I do not know."])
    assert solution.answer is None


def test_a_rationale_that_was_cut_off_is_read_as_far_as_it_goes_and_the_answer_stage_counts():
    cut, answer = Reply(" 2 + 3 =", finish="length"), Reply(" So the answer is: 5")
    solution, calls = solved(SciCoT(), SUM, [cut, answer])
    assert calls[1].prompt == f"{Q}\nRationale: 2 + 3 =\nA:"
    assert judge_solution(SUM, solution) is Outcome.CORRECT
    solution, _ = solved(SciCoT(), SUM, [Reply(" 5."), replace(answer, finish="length")])
    assert judge_solution(SUM, solution) is Outcome.TRUNCATED


def test_a_rationale_that_leaves_no_room_for_an_answer_is_a_solution_that_was_cut_off():
    def small(request):
        if request.ask.role == "answer":
            raise TooLongError("too long")
        return " r"

    solution, _ = solved(SciCoT(), SUM, small)
    assert (judge_solution(SUM, solution), solution.turns) == (Outcome.TRUNCATED, (("rationale", " r"),))
    with pytest.raises(AssertionError, match="too long"):
        solved(SciCoT(source="none"), SUM, small)


def test_the_rationale_that_is_taught_does_not_state_the_answer_and_the_answer_is_whole():
    problem = Problem("t", "Where?", "text", "the old harbour of Marseille")
    reply = Reply(" Ships lie there. So the answer is: the old harbour of Marseille")
    read, _ = play(SCoTD().sample(problem, SamplePath("t"), StudyPool()), reply)
    assert texts(made(SciCoT(), problem, [read])) == [
        ("Q: Where?\nRationale:", " Ships lie there.\n\n"),
        ("Q: Where?\nRationale: Ships lie there.\nA:", " So the answer is: the old harbour of Marseille\n\n"),
    ]


# source, folds


def test_out_of_fold_stage_2_learns_from_what_stage_1_wrote_for_problems_that_it_had_not_seen():
    method = SciCoT(source="out_of_fold")
    examples = made(method, SUM, TWO, folds={"rationale": [" By 0.", " By 1.", " By 2."]})
    assert texts(examples, "rationale") == STAGE1
    assert texts(examples, "answer") == [(f"{Q}\nRationale: By {assign_fold('p', 3)}.\nA:", " So the answer is: 5\n\n")]
    assert {e.group for e in examples} == {"main"}
    assert method.needs == {"answer": ("rationale",)}
    assert made(method, SUM, []) == []


@pytest.mark.parametrize("source", ["teacher", "out_of_fold", "mix", "shuffled"])
def test_stage_1_is_taught_before_there_is_anybody_to_ask(source):
    examples, calls = play(SciCoT(source=source).examples(SUM, TWO, StudyPool(), "rationale"))
    assert (texts(examples), calls) == (STAGE1, [])


def test_a_mix_has_half_of_the_loss_from_the_teachers_rationales_and_half_from_stage_1():
    examples = [e for e in made(SciCoT(source="mix"), SUM, TWO, folds={"rationale": [" Five?"]}) if e.role == "answer"]
    assert [(e.group, e.weight) for e in examples] == [("main", 0.5), ("main", 0.5), ("generated", 0.5)]
    assert [s for s, _ in texts(examples)] == [f"{Q}\nRationale: {r}\nA:" for r in ("2 + 3 = 5.", "Count on.", "Five?")]
    assert SciCoT(source="mix").needs == {"answer": ("rationale",)}


def test_shuffled_rationales_are_other_problems_by_the_seed_of_the_study():
    problems = [Problem(f"p{i}", "?", "number", "1") for i in range(9)]
    chains = [chain(p, f"Because of {p.id}.", "1") for p in problems]

    def drawn(seed):
        pool = StudyPool(learn=problems, chains=chains, seed=seed)
        return [read_by_stage2(SciCoT(source="shuffled"), p, [c], pool)[0] for p, c in zip(problems, chains, strict=True)]

    assert not any(f"of {p.id}." in source for p, source in zip(problems, drawn(0), strict=True))
    assert drawn(0) == drawn(0) != drawn(1)
    pool = StudyPool(learn=problems, chains=chains)
    assert texts(made(SciCoT(source="shuffled"), problems[0], chains[:1], pool), "rationale") == [
        ("Q: ?\nRationale:", " Because of p0.\n\n")
    ]
    assert read_by_stage2(SciCoT(source="shuffled"), problems[0], chains[:1], StudyPool()) == []
    three = [chain(problems[0], "r", "1", path) for path in range(3)]
    several = read_by_stage2(SciCoT(source="shuffled"), problems[0], three, pool)
    assert len(set(several)) > 1, "a draw for each chain"
    assert read_by_stage2(SciCoT(source="shuffled"), problems[0], three[1:], pool) == several[1:]


def test_without_rationales_there_is_no_stage_1_at_all():
    method = SciCoT(source="none")
    assert texts(made(method, SUM, TWO)) == [(f"{Q}\nA:", " So the answer is: 5\n\n")] * 2
    assert (method.roles, method.needs, method.parts) == (("answer",), {}, {"answer": "answer"})
    solution, calls = solved(method, SUM, " So the answer is: 5")
    assert asked(calls) == [("answer", f"{Q}\nA:")]
    assert (solution.answer, solution.text) == ("5", "So the answer is: 5")


@pytest.mark.parametrize("source", ["teacher", "out_of_fold", "mix", "shuffled"])
def test_the_source_changes_nothing_but_what_stage_2_learns_from(source):
    pool = StudyPool(learn=[SUM, CLAIM], chains=[*TWO, chain(CLAIM, "Ice.", "yes")])
    method, folds = SciCoT(source=source), {"rationale": [" r"]}
    assert texts(made(method, SUM, TWO, pool, folds=folds), "rationale") == STAGE1
    replies = [" r", " So the answer is: 5"]
    assert solved(method, SUM, replies) == solved(SciCoT(), SUM, replies)


def test_folds_are_the_plans_business():
    assert made(SciCoT(folds=2), SUM, TWO) == made(SciCoT(), SUM, TWO)


# rationales


def test_several_rationales_are_sampled_each_is_answered_and_the_majority_counts():
    replies = [" a", " b", " c", *(Reply(f" So the answer is: {n}", tokens=4) for n in (6, 5, 5))]
    solution, calls = solved(SciCoT(rationales=3), SUM, replies)
    assert [(c.role, c.attempt, c.decoding and c.decoding.temperature) for c in calls[:3]] == [
        ("rationale", 0, 0.7),
        ("rationale", 1, 0.7),
        ("rationale", 2, 0.7),
    ]
    assert [c.prompt for c in calls[3:]] == [f"{Q}\nRationale: {r}\nA:" for r in "abc"]
    assert all(c.decoding.temperature == 0 for c in calls[3:])
    assert (solution.answer, solution.text, len(solution.turns)) == ("5", "b\nSo the answer is: 5", 6)
    assert solution.tokens == 3 * 4 + 3


def test_of_several_rationales_a_cut_off_answer_does_not_vote_and_where_none_votes_the_solution_is_cut_off():
    cut, right = Reply(" So the answer is: 6", finish="length"), Reply(" So the answer is: 5")
    voted, _ = solved(SciCoT(rationales=3), SUM, [" a", " b", " c", cut, cut, right])
    assert (voted.answer, voted.finish) == ("5", "stop")
    nobody, _ = solved(SciCoT(rationales=2), SUM, [" a", " b", " Hm.", cut])
    assert judge_solution(SUM, nobody) is Outcome.TRUNCATED


def test_out_of_fold_as_many_rationales_are_learned_from_as_will_be_sampled():
    sources = read_by_stage2(SciCoT(source="out_of_fold", rationales=3), SUM, TWO, folds={"rationale": [" r"]})
    assert sources == [f"{Q}\nRationale: r\nA:"] * 3
    assert made(SciCoT(rationales=3), SUM, TWO) == made(SciCoT(), SUM, TWO)


# mask, answer_sees, label, limits


@pytest.mark.parametrize(
    ("rationale", "letters"),
    [
        ("It is (b).", "It is [...]."),
        ("So (B) it is, and not option A.", "So [...] it is, and not [...]."),
        ("Options A and B are left; B) wins.", "[...] are left; [...] wins."),
        ("The answer is B, since B is correct.", "The [...], since [...] is correct."),
        ("The correct answer is: B", "The correct [...]"),
        ("The answer is **B**.", "The [...]**."),
        (
            "A thing (s) of choice(s): vitamin B, an answer a child gives.",
            "A thing (s) of choice(s): vitamin B, an answer a child gives.",
        ),
        ("Nothing is (c), nor (d).", "Nothing is (c), nor (d)."),
    ],
)
def test_masked_letters_are_those_that_stand_for_options(rationale, letters):
    assert shown(rationale, mask="letters") == letters
    assert shown(rationale) == rationale


def test_masked_choices_are_their_letters_and_their_texts_longest_first():
    assert shown("The  SUN warms;\nice, iced (b).", mask="choices") == "The  SUN warms;\n[...], iced [...].".replace(
        "The  SUN", "[...]"
    )
    assert shown("The sun, ice.", mask="letters") == "The sun, ice."
    nested = replace(CHOICE, choices=("ice", "dry ice."))
    (source,) = read_by_stage2(SciCoT(mask="choices"), nested, [chain(nested, "Dry ice is no ice.", "B")])
    assert source.endswith("Rationale: [...] is no [...].\nA:")
    (source,) = read_by_stage2(SciCoT(mask="choices"), CLAIM, [chain(CLAIM, "Yes, it is. Nobody says no.", "yes")])
    assert source.endswith("Rationale: [...], it is. Nobody says [...].\nA:")


def test_a_mask_hides_from_stage_2_only_and_the_same_when_it_is_asked():
    method, one = SciCoT(mask="choices"), [chain(CHOICE, "Ice (b).", "B")]
    examples = made(method, CHOICE, one)
    assert texts(examples, "rationale") == texts(made(SciCoT(), CHOICE, one), "rationale")
    _, calls = solved(method, CHOICE, taught(method, examples))
    assert asked(calls) == [(e.role, e.source) for e in examples]


@pytest.mark.parametrize(("problem", "mask"), [(SUM, "choices"), (CLAIM, "letters")])
def test_a_mask_where_there_are_no_options_is_refused(problem, mask):
    with pytest.raises(StudyError, match=f'mask = "{mask}": problem {problem.id!r} has no options'):
        made(SciCoT(mask=mask), problem, [chain(problem, "r", problem.answer)])


def test_the_leak_probe_shows_stage_2_the_rationale_and_no_question():
    probe = SciCoT(answer_sees="rationale")
    assert read_by_stage2(probe, SUM, TWO) == ["Rationale: 2 + 3 = 5.\nA:", "Rationale: Count on.\nA:"]
    assert texts(made(probe, SUM, TWO), "rationale") == STAGE1
    _, calls = solved(probe, SUM, [" r", " 5"])
    assert asked(calls) == [("rationale", f"{Q}\nRationale:"), ("answer", "Rationale: r\nA:")]


def test_the_label_is_gold_or_what_the_chains_state_and_after_generated_rationales_what_most_of_them_state():
    assert [t for _, t in texts(made(SciCoT(label="teacher"), SUM, TWO), "answer")] == [
        " So the answer is: 5\n\n",
        " So the answer is: 6\n\n",
    ]
    assert texts(made(SciCoT(label="teacher"), SUM, TWO), "rationale") == STAGE1
    assert [e.role for e in made(SciCoT(), SUM.blind(), TWO)] == ["rationale", "rationale"]
    three = [*TWO, chain(SUM, "Six.", "6", path=2)]
    (generated,) = [
        e
        for e in made(SciCoT(source="out_of_fold", label="teacher"), SUM, three, folds={"rationale": [" r"]})
        if e.role == "answer"
    ]
    assert (generated.target[0].text, generated.chain) == (" So the answer is: 6\n\n", three[1].id)


def test_the_limits_are_those_of_the_two_stages():
    changed = SciCoT(max_tokens=7, answer_tokens=3)
    (same, calls), (default, others) = (solved(m, SUM, [" r", " 5"]) for m in (changed, SciCoT()))
    assert ([c.max_tokens for c in calls], [c.max_tokens for c in others]) == ([7, 3], [256, 32])
    assert (same, asked(calls)) == (default, asked(others))
    assert made(changed, SUM, TWO) == made(SciCoT(), SUM, TWO)


def test_gold_in_the_place_of_a_stage_says_what_the_chain_says():
    _, calls = solved(SciCoT(), SUM, [" r", " 5"])
    assert [SciCoT().quote(SUM, TWO[1], c) for c in calls] == [" Count on.\n\n", " So the answer is: 6\n\n"]
    assert (SciCoT().swaps, SciCoT(source="none").swaps) == (("rationale",), ())


def test_a_stage_2_that_would_see_nothing_is_refused():
    with pytest.raises(ValueError, match="would see nothing"):
        SciCoT(source="none", answer_sees="rationale")
