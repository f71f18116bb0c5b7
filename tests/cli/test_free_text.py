"""A task of free text without gold answers: the whole job but the scores; which arm answers better is judged."""

import json

import pytest
from command import understudy

from understudy.runs.judgements import make_pairs
from understudy.runs.run import Run

STUDY = """
[study]
name = "advice"

[task]
name = "files"
path = "questions.jsonl"
kind = "text"
sizes = { train = 0.5, dev = 0.2, test = 0.3 }

[teacher]
engine = "recorded"
chains = ["chains.jsonl"]

[student]
hidden = 32
layers = 1
heads = 2

[training]
steps = 6
batch_size = 4

[evaluation]
scored = false

[[arms]]
name = "answers"
method = "answer_only"
options = { label = "teacher", max_tokens = 12 }
select = { keep = "all" }

[[arms]]
name = "chains"
method = "scotd"
options = { max_tokens = 24 }
select = { keep = "all" }
"""
WHAT = ["rain", "snow", "wind", "sun", "fog", "hail", "frost", "heat"]


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    where = tmp_path_factory.mktemp("advice")
    questions = [
        {"id": f"{what}{i}", "question": f"What do you take along for {i} days of {what}?"} for what in WHAT for i in range(5)
    ]
    chains = [
        {
            "question": q["question"],
            "text": f"Think of {q['id'][:-1]}. It lasts. So the answer is: a coat against {q['id'][:-1]} and a map",
        }
        for q in questions
    ]
    for name, rows in (("questions", questions), ("chains", chains)):
        (where / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (where / "advice.toml").write_text(STUDY)
    return where


def test_without_the_word_of_the_study_it_is_an_error_that_says_so(where):
    (where / "scored.toml").write_text(STUDY.replace("scored = false", ""))
    ran = understudy("run", "scored.toml", "--out", "runs/scored", cwd=where)
    assert ran.code == 2
    assert "evaluation.scored = false" in ran.err


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('select = { keep = "all" }', "", 'set keep = "all"'),
        ('label = "teacher", ', "", 'set label = "teacher"'),
    ],
)
def test_what_needs_gold_answers_is_refused_before_anything_is_asked(where, old, new, why):
    (where / "gold.toml").write_text(STUDY.replace(old, new))
    ran = understudy("run", "gold.toml", "--dry-run", cwd=where)
    assert (ran.code, why in ran.err) == (2, True)


def test_students_are_trained_and_asked_and_the_report_says_that_nothing_is_scored(where):
    ran = understudy("run", "advice.toml", "--seeds", "1", cwd=where)
    assert ran.code == 0, ran.err
    assert "Nothing is scored" in ran.out
    assert "accuracy" not in ran.out.lower()
    assert "checkpoints are the last ones" in ran.out
    page = (where / "runs/advice/report.html").read_text()
    assert "understudy judge RUN" in page
    assert json.loads(understudy("results", "runs/advice", "--json", cwd=where).out) == []
    shown = understudy("why", "runs/advice", next(iter(Run(where / "runs/advice").problems_of("test"))), cwd=where)
    assert shown.code == 0, shown.err


def test_their_answers_are_judged_side_by_side(where):
    run = Run(where / "runs/advice")
    pairs = make_pairs(run, ("answers", "chains"))
    assert len(pairs) == 12
    rows = [
        {
            "question": p.problem.id,
            "arms": ["answers", "chains"],
            "rater": "ana",
            "choice": "chains",
            "left": "answers",
            "texts": p.texts,
        }
        for p in pairs
    ]
    (where / "ana.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert understudy("judge", "runs/advice", "--import", "ana.jsonl", cwd=where).code == 0
    right = understudy("judge", "runs/advice", "--arms", "answers", "chains", "--rater", "bo", "--both-right", cwd=where)
    assert (right.code, "--both-right cannot choose" in right.err) == (2, True)
    more = understudy("run", "advice.toml", "--set", "evaluation.faithfulness=true", "--dry-run", cwd=where)
    assert (more.code, "leave faithfulness and contrast out" in more.err) == (2, True)
    said = understudy("report", "runs/advice", cwd=where)
    assert (said.code, "Answers side by side" in said.out) == (0, True)
    compared = understudy("compare", "runs/advice", cwd=where)
    assert (compared.code, "understudy judge runs/advice" in compared.err) == (2, True)
