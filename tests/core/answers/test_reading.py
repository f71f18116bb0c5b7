"""How answers are read: what is found, by which layer, and what is left alone."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.answers import extract, layers, normalise
from understudy.core.answers.date import find_form
from understudy.core.prompt_format import write_answer
from understudy.core.thoughts import is_only_thought, split_thought
from understudy.core.values import COMMA, Problem

KINDS = ("option", "yes_no", "number", "date", "text", "expression")
TWO_UNITS = ["4 hours and 30 minutes", "1 hour 30 minutes", "5 feet, 3 inches", "2 dollars and 50 cents"]
TWO_UNITS += ["2 h 30 min", "1 hr 5 mins", "5 ft 3 in", "2 lbs 3 oz", "2 km 300 m"]
SHOW = ("show", "hide", "a dog")
COIN = "A coin is heads up. Ana flips the coin. Is the coin still heads up?"


@pytest.mark.parametrize(
    ("text", "value", "layer"),
    [
        ("She has 2 + 3 = 5. So the answer is: 5", "5", "marker"),
        ("The answer is 7. No, wait. The answer is 8.", "8", "marker"),
        ("The answer is not 5 but 6.", "6", "marker"),
        ("Answer: not $5, but rather $6", "6", "marker"),
        ("Answer: $1,650.50 per year", "1650.5", "marker"),
        ("**Final Answer:** -3", "-3", "marker"),
        ("Therefore, the final answer is 45%.", "45", "marker"),
        ("The answer is 5/12.", "5/12", "marker"),
        ("The answer is 1 1/2 cups.", "1.5", "marker"),
        ("Thus x = 4, and \\boxed{\\frac{3}{4}} is it.", "0.75", "boxed"),
        ("Some steps.\n#### 1,234", "1234", "hashes"),
        ("\\boxed{3\\quad4}", "3", "boxed"),
        ("First this --> 12", "12", "arrow"),
        ("She has 3 apples. Answer: 21st", "21", "marker"),
        ("He finished 9 in all. The answer is the 6th place.", "6", "marker"),
        ("4 places behind.\n#### 6th place.", "6", "hashes"),
        ("Answer: the 3rd friend gets the rest\nSo he gets 8.", "8", "conclusion"),
        ("The answer is 20 (out of 30) and 30 - 20 = 10 are left", "20", "marker"),
        ("Answer: 48 (April) + 24 (May) = 72", "72", "marker"),
        ("La respuesta es 42 manzanas, pues 3 de 5.", "42", "marker"),
        ("最终答案：42。检查：40 + 2", "42", "marker"),
        ("They have 3 + 4 = <<3+4=7>>7 bolts.\nA: 7", "7", "label"),
        ("<think>The answer is 3.</think>The answer is 4.", "4", "marker"),
        ("So 37 + 10 = 47 apples are left.", "47", "conclusion"),
        ("It takes two hundred and four steps. The answer is two hundred and four.", "204", "marker"),
        ("Answer: Kylar needs to pay 64 dollars for 16 glasses.", "64", "marker"),
        ("The answer is 12.\n\nQ: What is 3 + 4?\nA: The answer is 7.", "12", "marker"),
        (
            "Q1. How many red?\nThere are 7.\nQ2. And green?\nThere are 2.\nFinal Answer: How many?\n7 + 2 = 9. The answer is 9.",
            "9",
            "marker",
        ),
    ],
)
def test_numbers(text, value, layer):
    question = "The price of 16 glasses: how many dollars?"
    found = extract(text, "number", question=question)
    assert (found.value, found.layer, found.status) == (value, layer, "ok")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24 cm^2", "24"),
        ("\\boxed{24\\text{ cm}^2}", "24"),
        ("9.8 m/s^2", "9.8"),
        ("7 m²", "7"),
        ("\\boxed{1{,}234}", "1234"),
        ("1 234", "1234"),
        ("12\u00a0345\u202f678 people", "12345678"),
        ("$1,\\!500$", "1500"),
        ("\\boxed{33\\frac{1}{3}}", "100/3"),
        ("$3\\frac{1}{2}$", "3.5"),
        ("\\boxed{\\dfrac{2}{8}}", "0.25"),
        ("½", "0.5"),
        ("2¾ cups", "2.75"),
        ("$\\frac34$", "0.75"),
        ("\\boxed{\\cfrac{3}{4}}", "0.75"),
        ("$1.5\\times10^3$", "1500"),
        ("$6\\div3$", "2"),
        ("two thirds", "2/3"),
        ("three and a half", "3.5"),
        ("half", "0.5"),
        ("10^{3}", "1000"),
        ("1.5×10³", "1500"),
        ("4×10⁻²", "0.04"),
        ("1.2e3", "1200"),
        ("1\u2009234\u2009567", "1234567"),
        ("2 and a half", "2.5"),
        ("7 and a quarter", "7.25"),
        ("1'234", "1234"),
        ("1⁄2", "0.5"),
        ("５", "5"),
        ("√16", "4"),
        ("sqrt(16)", "4"),
        ("$2.5M", "2500000"),
        ("3 bn", "3000000000"),
        ("5 lakh", "500000"),
        ("\n1. 2 + 3 = 5\n2. 5 * 4 = 20", "20"),
        ("$\\sqrt{16}$", "4"),
        ("90^\\circ", "90"),
        ("minus 5", "-5"),
        ("negative five", "-5"),
        ("$-5", "-5"),
        ("5k", "5000"),
        ("3 dozen", "36"),
        ("half a dozen", "6"),
        ("fifty-two point six two", "52.62"),
        ("one hundred and two point eighty-seven dollars", "102.87"),
        ("minus three point zero five", "-3.05"),
        ("1 234.50", "1234.5"),
        ("5 km", "5"),
        ("$2.5 million", "2500000"),
        ("2." + "6" * 60, "2.66666666666666666667"),
        ("2.666666666666666666667e1", "26.66666666666666666667"),
    ],
)
def test_numbers_in_every_form(text, value):
    found = extract(f"It takes 7 steps. The answer is {text}.", "number")
    assert (found.value, found.status) == (value, "ok")
    assert normalise(text, "number") == value


@pytest.mark.parametrize(
    "text",
    [
        "3,5 kg",
        "1.234,50 €",
        "1,2,3",
        "16\\pi",
        "16π",
        "3+2i",
        "2\\sqrt{3}",
        "2**1000",
        "9**9**9**9",
        "sqrt(2)",
        "(1,2)",
        "(-1, 2)",
        "0.\\overline{3}",
        "5 ± 2",
        "16.5B",
        "1" * 6000,
        "1.2.3",
        *TWO_UNITS,
    ],
)
def test_a_number_that_cannot_be_decided_is_none_and_no_other_number_is_taken(text):
    assert extract(f"There are 7 steps. The answer is {text}.", "number").value is None
    assert extract(f"There are 7 steps. So it is {text}", "number").value is None
    assert normalise(text, "number") is None


@pytest.mark.parametrize(
    ("text", "question", "value"),
    [
        ("Answer: It will take him 48 hours to install the remaining 6 windows.", "How many hours will he need?", "48"),
        ("Answer: It will take him 48 hours to install the remaining 6 windows.", "", "48"),
        ("So John paid $1800 for all 4 phones.", "How much did he pay?", "1800"),
        ("So John paid $1800 for all 4 phones.", "", "1800"),
        ("Therefore, Mia needs 70 / 7 = 10 hours to earn $70.", "", "10"),
        ("That is $2 / 8 = $0.25, which is equal to 25 cents.", "How many cents is one?", "25"),
        ("Answer: 3 loaves cost $4 more than 2 bagels", "How much more do they cost?", "4"),
        ("Answer: The number of pens after he bought 13 pens is 52.", "How many pens has he?", "52"),
        ("Therefore, they had 8 balloons and 79 balls.", "How many balloons did they have?", "8"),
        ("So 2 and 3 make 5.", "What is 2 + 3?", "5"),
        ("Answer: 8 pens will cost $12.00", "How much will 8 pens cost?", "12"),
        ("Answer: 8 pens will cost $12.00", "", "12"),
        ("The answer is 3 dozen eggs.", "How many dozen eggs?", "3"),
        ("Answer:\nThere are 9 hens and 4 cats. Therefore, there are 5 more hens than cats.", "How many more hens are there?", "5"),
        ("Answer: She gives 4 of 9 away.\nHence, 5 are left. She had 7 before.", "How many are left?", "5"),
        ("Answer:\nThere are 9 hens left. Therefore, the", "How many are left?", "9"),
        ("The difference of correct and incorrect answers is 20. In all there are 35 + 15 = 50.", "How many are there?", "50"),
        ("It takes 1 hour 30 minutes, which is 90 minutes.", "How many minutes does it take?", "90"),
        ("Answer:\n3 + 4 = 7\n7 * 2 = 14\n14 - 5 = 9", "", "9"),
    ],
)
def test_of_the_numbers_of_a_sentence_the_one_that_is_asked_for_is_the_answer(text, question, value):
    assert extract(text, "number", question=question).value == value


@pytest.mark.parametrize(
    ("text", "value", "layer"),
    [
        ("So the answer is: (b)", "B", "marker"),
        ("B.", "B", "opening"),
        ("**B**", "B", "opening"),
        ("b", "B", "opening"),
        ("Option B", "B", "opening"),
        ("It must be B.", "B", "opening"),
        ("B is correct.", "B", "opening"),
        ("B because A and C are seen", "B", "opening"),
        ("The answer is B because A and C are seen", "B", "marker"),
        ("The answer is 'B'", "B", "marker"),
        ("\\boxed{\\text{B}}", "B", "boxed"),
        ("\\boxed{\\textbf{B}}", "B", "boxed"),
        ("<answer>B</answer>", "B", "boxed"),
        ("It wants to hide.\nA: hide", "B", "last_sentence"),
        ("The answer is B) hide.", "B", "marker"),
        ("the best answer is 2.", "B", "marker"),
        ("Among A through C, the answer is C.", "C", "marker"),
        ("So the answer is: hide", "B", "marker"),
        ("The answer is a dog.", "C", "marker"),
        ("(b) hide, since nobody should see it.", "B", "opening"),
        ("C", "C", "opening"),
        ("Nobody wants to be seen. (b) is the best choice.", "B", "conclusion"),
        ("It would rather hide.", "B", "last_sentence"),
        ("Which of them is unseen? B.", "B", "last_sentence"),
        ("A) show is no good. B) hide is no good. C) a dog is fine.", "C", "last_sentence"),
        ("`B`", "B", "opening"),
        ("It's B.", "B", "opening"),
        ("I'd go with B.", "B", "opening"),
        ("Therefore, B.", "B", "opening"),
        ("B, because A and C are seen", "B", "opening"),
        ("It is B, not C.", "B", "opening"),
        ("B</s>", "B", "opening"),
        ("（Ｂ）<|im_end|>", "B", "opening"),
        ("A: hide", "B", "opening"),
        ("Option A: show is seen.\nOption B: hide is not.\n\nTherefore, option B is correct.", "B", "conclusion"),
        (f"A) show {'is seen, ' * 60}so no.\n\nB) hide is not.\n\nTherefore, (b) is correct.", "B", "conclusion"),
        ("A: show, no. B: hide, no. C: a dog.", "C", "last_sentence"),
        ("A, because B is seen.", "A", "opening"),
        (f"(A) show\n\nExplanation: {'it wants to be seen ' * 30}\n\nB) hide is not.\nC) a dog is none.", "A", "opening"),
        ("A) show. Option B: hide is not the answer.", "A", "opening"),
        ("A is correct because it is seen. B: hide is not.", "A", "opening"),
        ("The answer is not A but B.", "B", "marker"),
        ("The answer is not A, it is B.", "B", "marker"),
        ("\\boxed{\\text{Option B}}", "B", "boxed"),
        ("<final_answer>B</final_answer>", "B", "boxed"),
        ("[ANSWER]B[/ANSWER]", "B", "boxed"),
        ('{"final_answer": "B"}', "B", "marker"),
        ("The answer is \\(B\\).", "B", "marker"),
        ("The most logical answer is B.", "B", "marker"),
        ("The answer is definitely B.", "B", "last_sentence"),
        ("A is seen. Therefore, B is correct.", "B", "conclusion"),
        ("The most common answer is A, but option (B) is right.", "B", "last_sentence"),
        ("不要选A。所以(B)", "B", "last_sentence"),
        ("A is seen. I pick B.", "B", "last_sentence"),
        ("A ist zu sehen. Die richtige Antwort ist B.", "B", "marker"),
        ("La respuesta correcta es B, porque A se ve.", "B", "marker"),
        ("La bonne réponse est : **B**", "B", "marker"),
        ("Правильный ответ: (B)", "B", "marker"),
        ("A看得见。所以，答案是：B。", "B", "marker"),
        ("因此，不选A，应选B。", "B", "marker"),
        ("正解はBです。", "B", "marker"),
        ("정답: B", "B", "marker"),
    ],
)
def test_options(text, value, layer):
    found = extract(text, "option", SHOW)
    assert (found.value, found.layer) == (value, layer)


@pytest.mark.parametrize(
    "text",
    [
        "Possible answers:\nA) show\nB) hide\nC) a dog",
        "Choose one.\nA) show\nB) hide\nC) a dog",
        "C) a dog barks, so this option is not correct.",
        "A) show\n\nThis answer is incorrect, for it is seen.",
        "C) a dog is wrong.",
        "C) a dog: this cannot be right.",
        "The options are:\nA. show\nB. hide\nC. a dog",
        "Die Antwort ist nicht A.",
        "La respuesta no es A.",
        "答案不是A。",
        "不选A，因为A看得见。",
        "为什么选A？",
        "I would not choose A.",
        "We can eliminate A, B.",
        "我们不应选B。",
    ],
)
def test_an_option_that_is_listed_or_denied_is_no_answer(text):
    assert extract(text, "option", SHOW).value is None


@pytest.mark.parametrize(
    "text",
    [
        "The answer is (A) or (B).",
        "the answer is A, B, or C.",
        "If it is wet, the answer is A. If it is dry, the answer is B.",
        "When it is wet, the answer is A. When it is dry, the answer is B.",
        "The answer is A when it is wet. Otherwise, the answer is B.",
        "The answer is B or maybe C.",
        "Answer: (A) show (C) a dog",
        "Die Antwort ist A oder B.",
        "答案是A或B。",
    ],
)
def test_several_answers_are_none(text):
    found = extract(text, "option", SHOW)
    assert (found.value, found.status) == (None, "ambiguous")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So the answer is: yes", "yes"),
        ("No, it is not possible. Hence it would be odd.", "no"),
        ("The final answer is that the coin is heads up.", "yes"),
        ("Final Answer: The coin is now tails up.", "no"),
        ("Ana flips it. Therefore, the coin is tails up.", "no"),
        ("The answer is not known.", None),
        ("B) False. Coins cannot.", "no"),
        ("Final answer: Is the coin still heads up?\nThere is no way to know.", None),
        ("It is not the case that the answer is yes", "no"),
        ("It isn't true that the answer is yes", "no"),
        ("I don't think the answer is yes.", "no"),
        ("I doubt that the answer is yes.", "no"),
        ("The answer isn't yes.", "no"),
        ("The answer can't be yes.", "no"),
        ("There is no correct answer.", None),
        ("Nope", "no"),
        ("The answer is yes and no.", None),
        ("Yes and no.", None),
        ("So the answer is (A) True or (B) False.", None),
        ("It is highly unlikely that the coin is heads up.", "no"),
        ("Step 2: Look at it.\n\nYes, it is. It also shines.", "yes"),
    ],
)
def test_yes_and_no_also_as_assertion_or_denial_of_the_question(text, value):
    assert extract(text, "yes_no", question=COIN).value == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("So the answer is 05/21/1999.", "date", "1999-05-21"),
        ("The answer is 05/01/21.", "date", "2021-05-01"),
        ("The answer is 01-May-2021.", "date", "2021-05-01"),
        ("The answer is 7-Mar-98.", "date", "1998-03-07"),
        ("The answer is 2021年5月1日.", "date", "2021-05-01"),
        ("Today is 04/30/2021, so tomorrow is 05/01/2021.", "date", "2021-05-01"),
        ('The answer is "nsny".', "text", "nsny"),
        ("Paris", "text", "Paris"),
        ("\\boxed{\\text{Paris}}", "text", "Paris"),
        ("<answer>Lisbon</answer>", "text", "Lisbon"),
        ("So the answer is: -3", "text", "-3"),
        ("The answer is > 3.", "text", "> 3"),
        ("<|begin_of_thought|>A<|end_of_thought|>\n\n<|begin_of_solution|>\nLima\n<|end_of_solution|>", "text", "Lima"),
        ("Answer: (10 - 6) * (4 + 5) = 36", "expression", "(10 - 6) * (4 + 5)"),
        ("The answer is $2x + 3$.", "expression", "2x + 3"),
        ("The answer is y = 2x + 3.", "expression", "2x + 3"),
        ("The answer is x**2+1", "expression", "x**2+1"),
        ("The answer is **2*x**2**", "expression", "2*x**2"),
        ("The answer is not far but near.", "text", "not far but near"),
        ("The answer is x > 3.", "expression", "x > 3"),
        ("So the answer is: 2x + 3 for all x.", "expression", None),
    ],
)
def test_dates_texts_and_expressions(text, kind, value):
    assert extract(text, kind).value == value


def test_the_question_says_whether_the_day_or_the_month_comes_first():
    assert extract("The answer is 05/01/2021.", "date", question="What is the date in DD/MM/YYYY?").value == "2021-01-05"
    assert extract("The answer is 05/01/2021.", "date", question="What is the date in MM/DD/YYYY?").value == "2021-05-01"


@pytest.mark.parametrize(
    ("dates", "form", "read"),
    [
        (["05/14/1997", "03/04/2001"], "%m/%d/%Y", "2001-03-04"),
        (["03/04/2001", "14/05/1997"], "%d/%m/%Y", "2001-04-03"),
        (["03/04/2001", "05/14/1997", "14/05/1997"], "%m/%d/%Y", "2001-03-04"),
        (["5/14/1997", "12/11/1998"], "%-m/%-d/%Y", "2001-03-04"),
        (["14.05.1997"], "%d.%m.%Y", "2001-04-03"),
        (["05.14.1997"], "%m.%d.%Y", "2001-03-04"),
        (["May 5, 2020", "June 12, 2021"], "%B %-d, %Y", "2001-03-04"),
        (["05-Mar-20"], "%d-%b-%y", "2001-03-04"),
        (["2020年3月5日"], "%Y年%-m月%-d日", "2001-03-04"),
        (["1997-05-14"], "%Y-%m-%d", "2001-03-04"),
        (["spring"], "", "2001-03-04"),
        ([], "", "2001-03-04"),
    ],
)
def test_the_dates_of_the_data_say_how_dates_are_read_and_written(dates, form, read):
    assert find_form(dates) == form
    assert extract("So the answer is 03/04/2001.", "date", form=form).value == read
    if form:
        assert write_answer(normalise(dates[0], "date", form=form), Problem("", "", "date", form=form)) == dates[0]


def test_the_dates_of_the_data_come_before_what_a_question_asks_for():
    assert extract("It is 03/04/2001.", "date", question="Write DD/MM/YYYY as MM/DD/YYYY.", form="%m/%d/%Y").value == "2001-03-04"
    assert extract("It is 03/04/2001.", "date", question="Which day (DD/MM/YYYY)?", form="%Y-%m-%d").value == "2001-04-03"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3,5 kg", "3.5"),
        ("1.234,50 €", "1234.5"),
        ("1 234,50 €", "1234.5"),
        ("1.234", "1234"),
        ("3,5 + 2 = 5,5", "5.5"),
        ("7", "7"),
        ("5.5", None),
        ("1,234.5", None),
        ("3,5,7", None),
    ],
)
def test_numbers_with_a_decimal_comma_are_read_where_the_data_have_them(text, value):
    assert normalise(text, "number", form=COMMA) == value
    assert extract(f"It weighs 1,5 and more. The answer is {text}.", "number", form=COMMA).value == value
    if value:
        assert normalise(write_answer(value, Problem("", "", "number", form=COMMA)), "number", form=COMMA) == value


def test_of_the_numbers_with_a_decimal_comma_the_one_that_the_question_does_not_have_is_taken():
    question = "Ana has 2,5 m. How much is left of 4,5 m?"
    assert extract("So 2 m are left of 4,5 m.", "number", question=question, form=COMMA).value == "2"


def test_the_initial_of_a_name_ends_no_sentence():
    question = "Would Bo Bar ever insult L. Ron Fox?"
    assert extract("It is highly unlikely that Bo Bar would ever insult L. Ron Fox.", "yes_no", question=question).value == "no"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("No.\nWell.\nFinal answer: It cannot be determined from the information.", "yes_no"),
        ("She has some. The answer is unknown.", "number"),
        ("Yes. Final answer: I don't know.", "yes_no"),
        ("Yes.\n\nFinal answer: There isn't enough information.", "yes_no"),
        ("The answer is none of the above.", "option"),
        ("She has 3. We cannot determine how many there are.", "number"),
        ("The answer is not possible to determine, but 5 is likely.", "number"),
        ("Answer: not enough information, but if she has 3 cats it would be 6.", "number"),
    ],
)
def test_a_reply_that_says_that_there_is_no_answer_abstains(text, kind):
    found = extract(text, kind, SHOW if kind == "option" else ())
    assert (found.value, found.layer, found.status) == (None, "abstained", "abstained")


def test_an_option_may_say_that_it_cannot_be_determined():
    assert extract("The answer is that it cannot be determined.", "option", ("yes", "it cannot be determined")).value == "B"


@pytest.mark.parametrize(
    ("text", "question", "kind", "value"),
    [
        ("Step 1: restate.\nQuestion: What colour?\n\nThe correct answer is B) hide.", "What colour is it?", "option", "B"),
        ("There are 2 parts.\n\nProblem: 9 plus 2.\n\nThe answer is 11.", "What is 9 plus 2?", "number", "11"),
        ("There are 2 parts.\n\nProblem: 9 plus 2.\n\nThe answer is 11.", "", "number", "11"),
        ("She has 4 left.\n\nProblem: Tom buys 9 hats.\n\nThe answer is 11.", "How many are left of 6?", "number", "4"),
        ("The answer is 4.\n\nProblem: 9 plus 2.\n\nThe answer is 11.", "What is 9 plus 2?", "number", "4"),
    ],
)
def test_a_reply_ends_at_a_new_question_and_not_where_the_same_one_is_told_again(text, question, kind, value):
    assert extract(text, kind, SHOW if kind == "option" else (), question).value == value


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("<Thinking>", "</Thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("<reflection>", "</reflection>"),
        ("<scratchpad>", "</scratchpad>"),
        ("<think >", "</think >"),
        ("<|think|>", "<|/think|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ],
)
def test_every_mark_of_a_thought_is_known(begin, end):
    thought = "Maybe the answer is: 9. Hmm"
    assert extract(f"{begin}{thought}{end}She has 8", "number").value == "8"
    assert split_thought(f"{begin}{thought}{end}She has 8") == (thought, len(begin + thought + end))
    cut = extract(f"{begin}{thought}", "number")
    assert (cut.value, cut.status) == (None, "truncated")
    assert is_only_thought(f"{begin}{thought}")


def test_the_step_from_which_an_answer_is_concluded_stays_in_the_rationale():
    text = "She buys 2. So she has 3 + 2 = 5 pens."
    found = extract(text, "number")
    assert (found.value, text[: found.start]) == ("5", text)


def test_the_rationale_ends_where_the_statement_begins():
    text = "She has 2 + 3 = 5. So the answer is: 5"
    assert text[: extract(text, "number").start] == "She has 2 + 3 = 5. "


def test_what_opens_with_its_answer_is_rationale_as_a_whole():
    text = "No, since nobody flips it. It stays as it is, and that is all."
    found = extract(text, "yes_no", question=COIN)
    assert (found.value, found.layer, text[: found.start]) == ("no", "opening", text)


def test_a_thought_that_never_ends_has_no_answer():
    found = extract("<think>The answer is 3. But then", "number")
    assert (found.value, found.status) == (None, "truncated")


@given(st.text(max_size=400), st.sampled_from(KINDS), st.lists(st.text(max_size=12), max_size=5), st.text(max_size=80))
@settings(max_examples=400)
def test_any_text_is_read_without_failing_and_only_canonical_answers_come_out(text, kind, choices, question):
    found = extract(text, kind, choices, question)
    assert 0 <= found.start <= len(text)
    assert (found.value is None) == (found.status != "ok")
    if found.value is not None and kind != "text":
        assert normalise(found.value, kind, choices) == found.value


@given(st.text(max_size=60), st.sampled_from(KINDS), st.lists(st.text(max_size=12), max_size=5))
@settings(max_examples=300)
def test_canonical_form_is_stable(value, kind, choices):
    once = normalise(value, kind, choices)
    if once is not None:
        assert normalise(once, kind, choices) == once


HOSTILE = [
    "(" * 20_000,
    "x" * 20_000,
    "x^" * 20_000 + "x",
    "x>" * 20_000 + "x",
    "9**" * 10_000 + "9",
    "The answer is " * 8_000,
    "A) " * 15_000,
    "1," * 20_000,
    "\\boxed{" * 8_000,
    "= " * 20_000,
    "-" * 50_000,
    "so " * 20_000,
    "#### " * 9_000,
    "a-" * 20_000 + " antwort",
    "die antwort " * 4_000,
    "答案" * 20_000,
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_million_of_any_sign_that_a_pattern_names_takes_a_reader_a_moment(kind):
    spec, begin = layers.AnswerSpec(kind, SHOW, COIN), time.process_time()
    for sign in "-=–#*_>~|`'\"([{<.,:;?/\\$€%^+ \n0aA½²√":
        text = f"5{sign * 1_000_000}"
        layers.read_statement(text, spec, firm=False)
        normalise(text, kind, SHOW)
        if sign in "-= \n":
            extract(text, kind, SHOW, COIN)
    assert time.process_time() - begin < 60, "quadratic time would be hours"


def test_a_million_of_any_sign_that_a_layer_names_takes_a_moment():
    begin = time.process_time()
    for sign in "-=#*_>:.([<\\ \n":
        extract(f"5 of them. The answer is {sign * 1_000_000}", "number", SHOW, COIN)
    assert time.process_time() - begin < 60, "quadratic time would be hours"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].strip())
def test_hostile_lengths_take_time_in_proportion(text, kind):
    def seconds(shown):
        begin = time.process_time()
        extract(shown, kind, SHOW, COIN)
        normalise(shown, kind, SHOW)
        return time.process_time() - begin

    short = text[: len(text) // 8]
    assert min(seconds(text) for _ in range(2)) < 0.1 + 32 * min(seconds(short) for _ in range(2))


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 1/0.",
        "So the answer is: 12 / (6 - 6)",
        "So x = 7 or x = -7.",
        "The answer is x = 2, or y = 3.",
        "The answer is 5'6\".",
    ],
)
def test_two_solutions_feet_and_inches_and_what_is_divided_by_nothing_are_no_number(text):
    found = extract(text, "number")
    assert (found.value, found.status) == (None, "ambiguous")


@pytest.mark.parametrize(
    ("text", "value"), [("Answer: (10 - 4) / (6 - 6) * 5 = 24", "24"), ("The answer is 1'000.", "1000"), ("It is 7 or so.", "7")]
)
def test_what_only_looks_like_them_is_read(text, value):
    assert extract(text, "number").value == value
