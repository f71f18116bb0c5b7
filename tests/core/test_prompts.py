"""Prompt files: what is sent of them, a user's own in their place, and whether the house's say what they mean."""

import re

import pytest

from understudy.core.answers import extract
from understudy.core.answers.equations import find_equations
from understudy.core.errors import StudyError
from understudy.core.prompt_format import write_question
from understudy.core.prompts import choose_subject, fill, load_prompts
from understudy.core.subquestions import match_answers, match_questions, read_opinions, read_steps
from understudy.core.values import Problem

SUBJECTS = ("maths", "science", "commonsense")

HOUSE = {name: text for method in ("decompose", "rationalise", "scotd") for name, text in load_prompts(method).items()}
KINDS = {"maths": "number", "science": "option", "commonsense": "yes_no"}
OF_CHAINS = (*SUBJECTS, "everyday", "reviews")
"""Subjects of the prompt for chains."""
FORM = {"maths": r"\d+", "science": r"\([a-d]\)", "commonsense": "yes|no", "everyday": r"\([a-e]\)", "reviews": r"\([ab]\)"}
LAYOUT = {
    "decompose-questions": "Q: {{question}}\nQ1:\n",
    "decompose-answer": "Q: {{question}}\n{{questions}}\nA1:\n",
    "decompose-backfill": "Q: {{question}}\n{{steps}}\nQ1:\n",
    "decompose-feedback": "Q: {{question}}\n{{questions}}\nUseful 1:\n",
    "rationalise": "Q: {{question}}\nThe right answer is: {{answer}}\nA:\n",
    "scotd-chains": "Q: {{question}}\nA:\n",
}
TEXT = "# from somewhere\n# for something\n\nDo it.\n\n[examples]\nQ: 1 + 1?\nA: 2\n\n[/examples]\nQ: {{question}}\nA:\n"


def test_the_head_is_not_sent_and_a_field_is_filled_in():
    assert fill(TEXT, {"question": "2 + 2?"}) == "Do it.\n\nQ: 1 + 1?\nA: 2\n\nQ: 2 + 2?\nA:"


def test_a_studys_examples_take_the_place_of_the_houses():
    assert fill(TEXT, {"question": "2 + 2?"}, examples="Q: 3?\nA: 3\n\n") == "Do it.\n\nQ: 3?\nA: 3\n\nQ: 2 + 2?\nA:"


@pytest.mark.parametrize("said", ["{{question}}", "{{other}}", "[examples]\n{{x}}[/examples]\n", "\\1 \\g<0>", "# no head"])
def test_what_a_problem_or_an_exemplar_says_is_never_read_as_a_template(said):
    assert fill(TEXT, {"question": said}, examples=said) == f"Do it.\n\n{said}Q: {said}\nA:"


def test_a_field_without_a_value_is_an_error_that_names_the_nearest():
    with pytest.raises(StudyError, match=r"\{\{question\}\}.*questions"):
        fill(TEXT, {"questions": "x"})


def test_the_subject_goes_by_the_kind_of_answer():
    problems = [Problem("p", "?", kind) for kind in ("number", "expression", "option", "yes_no", "text", "date")]
    assert [choose_subject(p) for p in problems] == ["maths", "maths", "science", "commonsense", "commonsense", "commonsense"]
    assert choose_subject(Problem("p", "?", "text", choices=("x", "y"))) == "science"
    assert choose_subject(problems[0], "everyday") == "everyday"


def test_a_users_own_file_takes_the_place_of_ours_and_all_others_stay(tmp_path):
    (tmp_path / "scotd-chains-maths.txt").write_bytes(TEXT.replace("\n", "\r\n").encode())
    (tmp_path / "notes.md").write_text("mine")
    found = load_prompts("scotd", tmp_path)
    assert found["scotd-chains-maths"] == TEXT
    assert found["scotd-chains-science"] == HOUSE["scotd-chains-science"]
    assert [*found] == [f"scotd-chains-{subject}" for subject in sorted(OF_CHAINS)]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("scotd-chains-math.txt", TEXT, "scotd-chains-maths"),
        ("scotd-chains-maths.txt", TEXT.replace("{{question}}", "question"), r"\{\{question\}\} is missing"),
        ("scotd-chains-maths.txt", TEXT.replace("A:\n", "{{answer}}"), r"\{\{answer\}\} is unknown.*must use \{\{question\}\}"),
        ("scotd-chains-maths.txt", TEXT.replace("[/examples]\n", ""), r"\[/examples\]"),
        ("scotd-chains-maths.txt", TEXT.replace("[examples]\n", ""), r"\[examples\]"),
        ("scotd-chains-maths.txt", b"\xff{{question}}", "byte 0 is not UTF-8"),
    ],
)
def test_a_users_own_file_that_cannot_be_used_is_named(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError, match=says) as error:
        load_prompts("scotd", tmp_path)
    assert name in str(error.value)


def test_a_directory_of_prompts_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StudyError, match="nowhere"):
        load_prompts("scotd", tmp_path / "nowhere")


def test_there_is_a_prompt_for_every_purpose_and_subject():
    chains = [f"scotd-chains-{subject}" for subject in OF_CHAINS]
    assert sorted(HOUSE) == sorted({f"{purpose}-{subject}" for purpose in LAYOUT for subject in SUBJECTS} | {*chains})


def shown(name):
    """The worked examples of a prompt."""
    return re.search(r"\[examples\]\n(.*)\[/examples\]\n", HOUSE[name], re.S)[1].removesuffix("\n\n").split("\n\n")


@pytest.mark.parametrize("name", HOUSE)
def test_a_house_prompt_says_where_its_idea_is_from_and_ends_as_its_reader_expects(name):
    text, purpose = HOUSE[name], name.rpartition("-")[0]
    assert re.match(r"# Idea: .*\n(#.*\n)*# Asks for: .*\n(#.*\n)*\n", text)
    assert re.search(r"arXiv|GSM8K", text.split("\n\n")[0])
    assert text.endswith(f"[/examples]\n{LAYOUT[purpose]}")
    assert {len(shown(name))} <= ({5, 6, 7} if purpose == "scotd-chains" else {2, 3})


def test_the_examples_answers_differ_so_that_none_is_taught():
    for subject in OF_CHAINS:
        stated = [example.rpartition(": ")[2] for example in shown(f"scotd-chains-{subject}")]
        assert len(set(stated)) >= (2 if subject in ("commonsense", "reviews") else 4)
        assert max(map(stated.count, stated)) <= len(stated) / 2


def solved(name):
    """(problem, its lines below the question, the answer that it states) of each example."""
    subject = name.rpartition("-")[2]
    for example in shown(name):
        asked, _, rest = example.removeprefix("Q: ").partition("\nA1:" if "\nQ1:" not in example else "\nQ1:")
        question, *choices = re.split(r"\n(?:Answer Choices:\n)?\([a-d]\) ", asked)
        problem = Problem("p", question, KINDS[subject], choices=tuple(choices))
        assert write_question(problem) == asked
        yield problem, example[len("Q: ") + len(asked) + 1 :], rest


@pytest.mark.parametrize("subject", SUBJECTS)
def test_examples_with_sub_questions_are_read_by_the_codes_own_parsers(subject):
    plain = []
    for problem, lines, _ in solved(f"decompose-questions-{subject}"):
        steps = read_steps(lines)
        stated = lines.rpartition("\nThe answer is: ")[2]
        assert re.fullmatch(FORM[subject], stated)
        assert extract(lines, problem.kind, problem.choices).layer == "marker"
        assert len(steps) == lines.count("\nA") and steps[-1].question.rstrip("?") != steps[0].question
        plain.append((problem.question, [s.question for s in steps], [s.text for s in steps], stated))
    for (_, lines, _), (_, asked, said, stated) in zip(solved(f"decompose-answer-{subject}"), plain, strict=True):
        assert list(match_questions(lines, len(asked))) == asked
        assert list(match_answers(lines, len(said))) == said
        assert lines.endswith(f"The answer is: {stated}")
    for (_, lines, _), (_, asked, said, _) in zip(solved_backfill(subject), plain, strict=True):
        assert list(match_questions(lines, len(asked))) == asked
        assert list(match_answers(lines, len(said))) == said
    for (_, lines, _), (_, asked, _, _) in zip(solved(f"decompose-feedback-{subject}"), plain, strict=True):
        n = lines.count("Useful ")
        judged = dict(zip(match_questions(lines, n), read_opinions(lines, n), strict=True))
        assert [question for question, good in judged.items() if good] == asked and len(judged) > len(asked)


def solved_backfill(subject):
    for example in shown(f"decompose-backfill-{subject}"):
        yield None, example[example.index("\nA1:") + 1 :], None


@pytest.mark.parametrize("subject", OF_CHAINS)
def test_no_example_gives_an_answer_away_before_it_is_found(subject):
    for problem, lines, _ in solved(f"decompose-questions-{subject}") if subject in SUBJECTS else ():
        known = set(re.findall(r"[0-9.]*[0-9]", problem.question))
        for step in read_steps(lines):
            assert set(re.findall(r"[0-9.]*[0-9]", step.question)) <= known, "a sub-question has no number of an earlier answer"
    for name in (f"rationalise-{subject}", f"scotd-chains-{subject}"):
        for example in shown(name) if name in HOUSE else ():
            chain = example.rpartition("\nA: ")[2]
            reasons, _, stated = chain.partition(" So the answer is: ")
            assert re.fullmatch(FORM[subject], stated)
            assert not re.search(r"\([a-e]\)|\b(?:yes|no)\b,", reasons, re.I)
            assert f"The right answer is: {stated}\n" in example or not name.startswith("rationalise")


@pytest.mark.parametrize("name", [name for name in HOUSE if name.endswith("maths")])
def test_the_houses_sums_hold(name):
    found = [equation for example in shown(name) for equation in find_equations(example)]
    assert all(equation.value is not None for equation in found), [e.text for e in found if e.value is None]
    assert len(found) >= 9 or "feedback" in name


def test_what_an_example_concludes_is_its_last_result():
    for example in shown("scotd-chains-maths"):
        assert example.rpartition(": ")[2] == str([*find_equations(example)][-1].value)


@pytest.mark.parametrize(
    ("question", "choices", "listed"),
    [
        ("Which melts? (A) ice (B) grass", ("ice", "grass"), True),
        ("Which melts? A: Ice B. grass", (" ice", "grass"), True),
        ("Which melts? A) ice", ("ice", "grass"), False),
        ("Which melts? (A) grass (B) ice", ("ice", "grass"), False),
        ("Which melts? ice, grass", ("ice", "grass"), False),
        ("A) " * 20_000, ("ice", "grass"), False),
    ],
)
def test_options_are_listed_unless_the_question_lists_them(question, choices, listed):
    text = write_question(Problem("p", question, "option", choices=choices))
    assert text == (question if listed else f"{question}\nAnswer Choices:\n(a) {choices[0]}\n(b) {choices[1]}")
