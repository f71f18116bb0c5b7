"""Sub-questions and steps read back from what models write: whole, damaged, hostile, and real."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from understudy.core.subquestions import (
    join_lines,
    list_steps,
    make_gold_chain,
    match_answers,
    match_questions,
    read_opinions,
    read_questions,
    read_steps,
    restore_mark,
    split_sentences,
    write_steps,
)
from understudy.core.values import Chain, Problem, Step

STEPS = (Step("It is 1.", "How much white?"), Step("It is **3**.", "In all?"))
LINES = st.text(max_size=40).map(join_lines).filter(bool)
MARKS = st.sampled_from(
    "Q1:|A1:|Q2.|A2)|Q:|A:|Question 3:|1.|**Q1:**|- Q2:|Final answer:|The answer is: 5|####|Useful 1:|Yes|no|? ** |How many?|5|**"
    "|<think>|</think>|\r\n|\n\n|\u00a0|\u2028".split("|")
)
REPLIES = st.lists(MARKS | st.text(max_size=12), max_size=30).map(" ".join) | st.lists(MARKS, max_size=30).map("\n".join)


@given(st.lists(st.builds(Step, LINES, LINES), max_size=6))
@example([Step("Q2: no? ** yes", "Really? ** 5"), Step("The answer is 5", "Final answer: 5"), Step("**5** *", "__a__ 1. b")])
def test_any_steps_of_one_line_come_back_as_they_were_written(steps):
    assert read_steps(write_steps(steps)) == tuple(steps)
    assert read_questions("\n".join(f"Q{i}: {s.question}" for i, s in enumerate(steps, 1))) == tuple(s.question for s in steps)
    numbered = "\n".join(f"A{i}: {s.text}" for i, s in enumerate(steps, 1))
    assert match_answers(numbered, len(steps)) == tuple(s.text for s in steps)


@given(REPLIES, st.integers(1, 4))
def test_of_a_damaged_reply_nothing_is_raised_and_no_word_is_made_up(text, n):
    said = join_lines(text)
    for step in read_steps(text):
        assert step.question in said and all(part in said for part in step.text.split(" "))
    assert all(question in said for question in (*read_questions(text), *match_questions(text, n)))
    assert all(part in said for answer in match_answers(text, n) for part in answer.split(" "))
    assert {len(match_questions(text, n)), len(match_answers(text, n))} <= {0, n}
    assert len(read_opinions(text, n)) == n
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@given(st.lists(st.builds(Step, LINES, LINES), min_size=1, max_size=4), st.data())
def test_a_reply_that_was_cut_off_gives_the_steps_before_and_no_more_than_a_part_of_the_last(steps, data):
    text = write_steps(steps)
    found = read_steps(text[: data.draw(st.integers(0, len(text)))])
    assert len(found) <= len(steps)
    if found:
        assert found[:-1] == tuple(steps[: len(found) - 1])
        whole = steps[len(found) - 1]
        assert whole.question == found[-1].question
        assert whole.text.startswith(found[-1].text)


@given(st.lists(st.builds(Step, LINES, LINES), min_size=2, max_size=5, unique_by=lambda s: s.question), st.data())
def test_of_lines_that_were_dropped_the_rest_is_paired_as_it_was(steps, data):
    lines = write_steps(steps).split("\n")
    kept = data.draw(st.sets(st.integers(0, len(lines) - 1)))
    assert set(read_steps("\n".join(lines[i] for i in sorted(kept)))) <= set(steps)


def test_lines_that_were_said_twice_or_swapped_pair_nothing_that_does_not_belong_together():
    one, two, three, four = write_steps(STEPS).split("\n")
    assert read_steps("\n".join([one, one, two, two, three, four, four])) == STEPS
    assert read_steps("\n".join([three, four, one, two])) == STEPS[::-1]
    assert read_steps("\n".join([one, four, three, two])) == ()
    assert read_steps("\n".join([two, three, four])) == STEPS[1:]
    assert read_steps("\n".join([one, two, four, "And so on."])) == STEPS[:1]


@pytest.mark.parametrize(
    "text",
    [
        "Q1: How much white?\r\nA1: It is 1.\r\nQ2: In all?\r\nA2: It is **3**.\r\n",
        "**Q1:** How much white?\n**A1:** It is 1.\n**Q2**: In all?\n**A2**: It is **3**.",
        "**Q1: How much white?**\nA1: It is 1.\n\n**Q2: In all?**\nA2: It is **3**.",
        "Question 1: How much white?\nAnswer 1: It is 1.\n### Sub-question 2: In all?\nAnswer: It is **3**.",
        "Here they are:\n\n- Q1: How much white?\n- A1: It is 1.\n- Q2) In all?\n- A2) It is **3**.",
        "Q1.\u00a0How much white?\nIt is\n1.\n\u2003Final Answer: In all?\nIt is **3**.\nThe answer is 3.",
        "1. How much white?\nIt is 1.\n2. **In all?**\nIt is **3**.\n#### 3",
        "How much white? ** It is 1.\nIn all? ** It is **3**.\n#### 3",
        "Q1: How much\nwhite?\nA1: It is 1.\nQ2: In all?\nA2: It is **3**.\nSo the answer is: 3\n\nI hope this helps!",
        "Q1: How much white?\nA1: It is 1.\nQ2: In all?\nA2: It is **3**.\n\nQ: Ana has 3 coins.\nQ1: How many?\nA1: 5",
    ],
)
def test_one_text_in_many_dresses(text):
    assert [step.text for step in read_steps(text)] == [step.text for step in STEPS]
    assert [step.question.strip("*") for step in read_steps(text)] == [step.question for step in STEPS]


def test_questions_and_answers_for_n_steps_go_by_their_numbers():
    assert match_answers("A2: b\nmore\nA1: a", 2) == ("a", "b more")
    assert match_answers("Q1: x?\nA1: a\nQ2: y?\nA2: b\nThe answer is: b", 2) == ("a", "b")
    assert match_answers("A1: a\nA1: a\nA2: b", 2) == ("a", "b")
    for wrong in ("A1: a", "A1: a\nA3: b", "A1: a\nA1: c\nA2: b", "A1: a\nA2:", "A1: a\nA2: b\nA3: c", ""):
        assert match_answers(wrong, 2) == (), wrong
    assert match_questions("Of course:\nQ2: y?\nQ1: x?\nIs that what you want?", 2) == ("x?", "y?")
    assert match_questions("x?\ny?", 2) == ("x?", "y?")
    for wrong in ("Q1: x?", "Q1: x?\nQ1: z?\nQ2: y?", "Q1: x?\nQ2: y?\nQ3: z?", "x?"):
        assert match_questions(wrong, 2) == (), wrong


def test_an_opinion_is_found_by_its_number_or_its_place_and_silence_is_none():
    assert read_opinions("Useful 1: Yes\nUseful 2: No", 3) == (True, False, True)
    assert read_opinions("My opinions:\nyes\n**No**, it is given.\nuseless", 3) == (True, False, False)
    assert read_opinions("**Q2:** not useful\nQ9: no\n1. Useful", 2) == (True, False)
    assert read_opinions("Nothing was asked. Notably so.", 2) == (True, True)


def test_the_mark_of_the_prompt_goes_before_a_reply_that_has_none():
    assert restore_mark("Q1:", " How many?\nA1: 5") == "Q1: How many?\nA1: 5"
    assert restore_mark("A1:", "Sure:\n\n**A1:** 5") == "Sure:\n\n**A1:** 5"
    assert restore_mark("Useful 1:", " Yes\nUseful 2: No") == "Useful 1: Yes\nUseful 2: No"
    assert restore_mark("Useful 1:", "1. No\n2. Yes") == "1. No\n2. Yes"


@pytest.mark.parametrize(
    "piece", ["Q1: a?\nA1: b\n", "A. ", "Q", "? ** ", " ", "*", "**Q1:** ", ". ", "\n", "Yes ", "1.", "A1:", "J. K. "]
)
def test_hostile_lengths_take_time_in_proportion(piece):
    def seconds(n):
        text = (piece * n)[:n]
        begin = time.process_time()
        (
            read_steps(text),
            read_questions(text),
            match_questions(text, 9),
            match_answers(text, 9),
            read_opinions(text, 9),
            restore_mark("Q1:", text),
            split_sentences(text),
        )
        return time.process_time() - begin

    assert min(seconds(100_000) for _ in range(2)) < 0.1 + 40 * min(seconds(10_000) for _ in range(2))


def chain(text, rationale, **more):
    return Chain("p", 0, text, rationale, "3", "marker", "t", **more)


def test_a_chains_steps_are_those_that_it_carries_or_those_that_it_is_written_in():
    assert list_steps(chain("", write_steps(STEPS))) == STEPS
    assert list_steps(chain("x", "y", steps=STEPS)) == STEPS
    refused = chain("x", write_steps(STEPS), steps=(Step("without a question"),))
    assert list_steps(refused) == (), "its pairs were read before and refused"
    assert list_steps(chain("x", "It takes 3 bolts.")) == ()
    whole = write_steps(STEPS)
    assert list_steps(chain(whole, whole[: whole.index("A2")])) == STEPS, "the answer was found in the last pair"


def test_the_steps_of_a_plain_rationale_are_its_lines_or_its_sentences():
    assert split_sentences("He has 5.\n\nPlan:\nAdd 3. Then stop.\n") == ("He has 5.", "Plan: Add 3. Then stop.")
    assert split_sentences('Mr. J. K. Hill said "Go." He left at 5 p.m. The bus (No. 7) came.') == (
        'Mr. J. K. Hill said "Go."',
        "He left at 5 p.m.",
        "The bus (No. 7) came.",
    )
    assert split_sentences("1. Add 2.5 to x. 2. So x = 5! $5 is left.") == ("1. Add 2.5 to x.", "2. So x = 5!", "$5 is left.")
    assert split_sentences(" \n ") == ()


def test_a_worked_problem_is_the_chain_of_its_data_set_with_its_sub_questions():
    pairs = [{"question": "x?", "answer": "a"}, {"question": "y?", "answer": "b"}]
    found = make_gold_chain(Problem("p", "?", "number", "3", meta={"subquestions": pairs}))
    assert (found.rationale, [s.question for s in found.steps]) == ("a b", ["x?", "y?"])
    assert (
        make_gold_chain(Problem("p", "?", "number", "3", meta={"subquestions": [{"question": "x?"}], "rationale": "r"})).steps == ()
    )
    assert make_gold_chain(Problem("p", "?", "number", "3")) is None


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def recorded(row):
    return tuple(Step(join_lines(pair["answer"]), join_lines(pair["question"])) for pair in row["subquestions"])


@pytest.mark.parametrize(("name", "alike", "differ"), [("chatgpt", 3079, 1), ("llama13b", 649, 0), ("mistral", 645, 0)])
def test_real_sub_questions_are_read_as_their_authors_recorded_them(real_data, name, alike, differ):
    """The one that differs is damaged: each question of it stands again as a statement; those without a record have more questions
    than answers."""
    found = rows(real_data / "gsm8k-subq" / f"chains-{name}.jsonl")
    same = [read_steps(row["text"]) == recorded(row) for row in found if row["subquestions"] is not None]
    assert (same.count(True), same.count(False)) == (alike, differ)
    assert all(read_steps(row["text"]) for row in found)


def test_real_least_to_most_chains_differ_from_the_record_where_a_pair_has_no_answer_or_a_line_of_its_own_states_it(real_data):
    found = rows(real_data / "gsm8k-fewshot" / "chains-ltm-3models.jsonl")
    differ = [row for row in found if read_steps(row["text"]) != recorded(row)]
    without = [row for row in differ if not all(pair["answer"] for pair in row["subquestions"])]
    states = [row for row in differ if "\nThe answer is" in row["text"] and row not in without]
    assert (len(found), len(differ), len(without), len(states)) == (1980, 68, 62, 6)


@pytest.mark.parametrize("name", ["gsm8k-fewshot", "strategyqa-fewshot", "svamp", "asdiv"])
def test_every_real_least_to_most_chain_has_steps(real_data, name):
    files = [*(real_data / name).glob("chains-*ltm*.jsonl")]
    assert [row["text"] for file in files for row in rows(file) if not read_steps(row["text"])] == []


def test_real_rationales_part_into_steps_that_are_the_same_words(real_data):
    texts = [row["text"] for file in sorted(real_data.glob("*/chains*.jsonl")) for row in rows(file)[::40]]
    parts = [split_sentences(text) for text in texts]
    assert [join_lines(text) for text in texts] == [join_lines(" ".join(steps)) for steps in parts]
    assert all(step.strip() for steps in parts for step in steps)
