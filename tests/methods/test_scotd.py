"""SCoTD's options: the label, the weight of wrong chains, the control token, chains in context, the house's exemplars."""

import pytest
from playing import EMPTY, SUM, asked, chain, made, play, solved, texts

from understudy.core.asks import SamplePath
from understudy.core.errors import StudyError
from understudy.core.prompt_format import PromptFormat
from understudy.core.prompts import fill, load_prompts
from understudy.core.values import Outcome, Problem
from understudy.methods.scotd import SCoTD
from understudy.sampling.pool import StudyPool

RIGHT, WRONG, OPEN = chain(SUM, "2 + 3 = 5.", "5"), chain(SUM, "Six.", "6", path=1), chain(SUM, "Hm, 5?", "5", path=2)
CHAINS = [RIGHT, WRONG, OPEN]
JUDGED = {RIGHT.id: Outcome.CORRECT, WRONG.id: Outcome.WRONG, OPEN.id: Outcome.UNDECIDABLE}
OTHERS = [Problem(f"o{i}", f"{i} + 0?", "number", str(i)) for i in range(6)]
SHOWN = [chain(problem, f"{i}.", str(i), path) for i, problem in enumerate(OTHERS) for path in (0, 1)]


def pool(seed=0):
    return StudyPool(learn=[SUM, *OTHERS], chains=[*CHAINS, *SHOWN], outcomes=JUDGED, seed=seed)


def learned(**options):
    return [(s, t, e.weight) for e in made(SCoTD(**options), SUM, CHAINS, pool()) for s, t in texts([e])]


PLAIN = [
    ("Q: What is 2 + 3?\nA:", " 2 + 3 = 5. So the answer is: 5\n\n", 1.0),
    ("Q: What is 2 + 3?\nA:", " Six. So the answer is: 6\n\n", 1.0),
    ("Q: What is 2 + 3?\nA:", " Hm, 5? So the answer is: 5\n\n", 1.0),
]


def test_every_chain_is_an_example_of_weight_one():
    assert learned() == PLAIN


def test_the_label_changes_the_answer_of_wrong_chains_only():
    assert learned(label="gold") == [PLAIN[0], (PLAIN[1][0], " Six. So the answer is: 5\n\n", 1.0), PLAIN[2]]
    assert solved(SCoTD(label="gold"), SUM, " 5") == solved(SCoTD(), SUM, " 5")


def test_the_weight_is_that_of_wrong_chains_only_and_at_zero_they_are_left_out():
    assert learned(wrong_weight=-0.1) == [PLAIN[0], (*PLAIN[1][:2], -0.1), PLAIN[2]]
    assert learned(wrong_weight=0.0) == [PLAIN[0], PLAIN[2]]
    assert solved(SCoTD(wrong_weight=-0.1), SUM, " 5") == solved(SCoTD(), SUM, " 5")


def test_a_control_token_says_whether_a_chain_is_right_where_that_is_known_and_right_ones_are_asked_for():
    told = [source.replace("What", f"{token}What") for token, (source, *_) in zip(("[right] ", "[wrong] ", ""), PLAIN, strict=True)]
    assert learned(control=True) == [(s, *rest) for s, (_, *rest) in zip(told, PLAIN, strict=True)]
    solution, calls = solved(SCoTD(control=True), SUM, " 5")
    assert (asked(calls), solution.answer) == ([("student", "Q: [right] What is 2 + 3?\nA:")], "5")
    assert (SCoTD(control=True).words, SCoTD().words) == (("[right] [wrong]",), ())


def test_in_context_stand_chains_of_other_training_problems_by_seed_problem_and_path():
    examples = learned(in_context=2)
    assert [(t, w) for _, t, w in examples] == [(t, w) for _, t, w in PLAIN]
    for (source, *_), (plain, *_) in zip(examples, PLAIN, strict=True):
        *shown, last = source.split("\n\n")
        assert (len(shown), len(set(shown)), last) == (2, 2, plain)
        assert set(shown) <= {
            f"Q: {p.question}\nA: {c.rationale} So the answer is: {c.answer}" for p, c in zip(OTHERS, SHOWN[::2], strict=True)
        }
    assert len({source for source, *_ in examples}) == 3
    assert learned(in_context=2) == examples
    assert [s for s, _ in texts(made(SCoTD(in_context=2), SUM, CHAINS, pool(seed=1)))] != [s for s, *_ in examples]


def test_what_stands_in_context_does_not_depend_on_which_other_chains_were_selected():
    alone = made(SCoTD(in_context=2), SUM, [OPEN], pool())
    assert alone == made(SCoTD(in_context=2), SUM, CHAINS, pool())[2:]


def test_in_context_chains_are_shown_to_the_student_that_is_asked_too():
    solution, (call,) = solved(SCoTD(in_context=2), SUM, " 5", pool())
    assert (call.prompt.count("Q: "), call.prompt.endswith("\n\nQ: What is 2 + 3?\nA:")) == (3, True)
    assert solution.answer == "5"
    assert {solved(SCoTD(in_context=2), SUM, " 5", pool(), index=i)[1][0].prompt for i in (0, 1)} != {call.prompt}


def test_the_houses_examples_stand_in_a_teachers_prompt_only_where_the_study_has_none():
    own, house = StudyPool([OTHERS[1]]), StudyPool(prompts={"scotd-chains-maths": "# idea\nQ: 1?\nA: 1\n\nQ: {{question}}\nA:"})
    method = SCoTD(house_exemplars=True)
    sampled, (call,) = play(method.sample(SUM, SamplePath("p"), house), " 5")
    assert call.prompt == sampled.prompt == "Q: 1?\nA: 1\n\nQ: What is 2 + 3?\nA:"
    assert play(method.sample(SUM, SamplePath("p"), own), " 5") == play(SCoTD().sample(SUM, SamplePath("p"), own), " 5")
    assert play(SCoTD().sample(SUM, SamplePath("p"), house), " 5")[1][0].prompt == "Q: What is 2 + 3?\nA:"
    with pytest.raises(StudyError, match="scotd-chains-maths"):
        play(method.sample(SUM, SamplePath("p"), EMPTY), " 5")
    assert made(method, SUM, CHAINS) == made(SCoTD(), SUM, CHAINS)
    assert solved(method, SUM, " 5") == solved(SCoTD(), SUM, " 5")


@pytest.mark.parametrize(("subject", "shown"), [("auto", "maths"), ("everyday", "everyday"), ("reviews", "reviews")])
def test_the_subject_of_the_houses_examples_is_by_the_kind_of_answer_or_given(subject, shown):
    house = StudyPool(prompts=load_prompts("scotd"))
    _, (call,) = play(SCoTD(house_exemplars=True, subject=subject).sample(SUM, SamplePath("p"), house), " 5")
    assert call.prompt == fill(load_prompts("scotd")[f"scotd-chains-{shown}"], {"question": "What is 2 + 3?"})
    assert play(SCoTD(subject=subject).sample(SUM, SamplePath("p"), house), " 5")[1][0].prompt == "Q: What is 2 + 3?\nA:"
    assert solved(SCoTD(subject=subject), SUM, " 5") == solved(SCoTD(), SUM, " 5")


def test_the_limit_is_that_of_every_reply():
    for flow in ("sample", "solve"):
        (same, (call,)), (default, (other,)) = (
            play(getattr(SCoTD(max_tokens=n), flow)(SUM, SamplePath("p"), EMPTY), " So the answer is: 5") for n in (7, 256)
        )
        assert (call.max_tokens, other.max_tokens, call.prompt, same) == (7, 256, other.prompt, default)
    assert made(SCoTD(max_tokens=7), SUM, CHAINS) == made(SCoTD(), SUM, CHAINS)


def test_the_answer_that_is_taught_is_the_whole_answer():
    place = Problem("t", "Where?", "text", "the old harbour of Marseille")
    (taught,) = made(SCoTD(), place, [chain(place, "Ships.", place.answer)])
    assert taught.target[0].text == " Ships. So the answer is: the old harbour of Marseille\n\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [({"wrong_weight": -2.0}, "wrong_weight = -2.* must be from"), ({"in_context": -1}, "in_context = -1.* at least 0")],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        SCoTD(**options)


def test_the_style_changes_how_prompts_are_written_and_no_word_of_them():
    examples = made(SCoTD(format=PromptFormat("messages")), SUM, CHAINS, pool())
    assert texts(examples) == [(s.removeprefix("Q: ").removesuffix("\nA:"), t.strip()) for s, t, _ in PLAIN]


def test_chains_are_read_only_by_a_method_that_asks_for_them():
    def chains():
        yield from SHOWN
        raise AssertionError("they are read")

    answering = StudyPool(learn=OTHERS, chains=chains())
    assert solved(SCoTD(), SUM, " 5", answering)[0].answer == "5"
    with pytest.raises(AssertionError, match="they are read"):
        solved(SCoTD(in_context=2), SUM, " 5", answering)
