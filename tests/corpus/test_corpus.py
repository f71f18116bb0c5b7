"""Chains at rest come back exactly; chains of others come in with every loss counted."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.answers import compare
from understudy.core.errors import DataError
from understudy.core.prompt_format import PromptFormat
from understudy.core.values import Chain, Outcome, Problem, Solution, Step, Verdict, from_json
from understudy.corpus.import_ import import_chains
from understudy.corpus.store import read_rows, write_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
CHAIN = st.builds(
    Chain,
    problem=TEXT,
    path=st.integers(0, 99),
    text=TEXT,
    rationale=TEXT,
    answer=st.none() | TEXT,
    layer=TEXT,
    teacher=TEXT,
    steps=st.lists(st.builds(Step, text=TEXT, question=st.none() | TEXT), max_size=2).map(tuple),
    tokens=st.none() | st.integers(0, 10**6),
    logprob=st.none() | NUMBER,
    prompt=st.none() | TEXT,
    answer_conditioned=st.booleans(),
    sampling=st.dictionaries(TEXT, NUMBER | TEXT | st.none(), max_size=2),
)


@given(st.lists(CHAIN, max_size=4))
@settings(max_examples=60, deadline=None)
def test_chains_come_back_exactly(tmp_path_factory, chains):
    path = tmp_path_factory.mktemp("store") / "c.parquet"
    write_rows(path, Chain, chains)
    assert list(read_rows(path, Chain)) == chains


def test_a_check_reads_a_solution_as_it_reads_a_chain():
    solution = Solution("p", 1, "2 + 2 is 4. #### 4", "4", "marker", "length", 9, -0.5, (("student", "..."),), 7)
    chain = solution.as_chain()
    for name in ("problem", "path", "text", "answer", "layer", "finish", "tokens", "logprob", "prompt_tokens"):
        assert getattr(chain, name) == getattr(solution, name)
    assert (chain.rationale, chain.steps, chain.answer_conditioned) == (solution.text, (), False)


def test_steps_of_older_files_which_had_more_fields_are_still_read():
    row = asdict(Chain("p", 0, "t", "r", "4", "marker", "e", steps=(Step("2 + 2 = 4", "How many?"),)))
    row["steps"] = [{**step, "equation": None, "value": None} for step in row["steps"]]
    assert from_json(Chain, row).steps == (Step("2 + 2 = 4", "How many?"),)


def test_the_other_values_come_back_exactly(tmp_path):
    problem = Problem("p", "q?", "option", "A", ("B",), ("x", "y"), "ctx", "train", {"steps": 2, "deep": [1, {"a": None}]})
    verdict = Verdict("c", Outcome.NO_GOLD, "why", "answer")
    solution = Solution("p", 1, "t", None, "", "length", 4, -0.125, (("student", "t"),))
    for kind, value in ((Problem, problem), (Verdict, verdict), (Solution, solution)):
        write_rows(tmp_path / "x.parquet", kind, [value])
        assert list(read_rows(tmp_path / "x.parquet", kind)) == [value]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="not a Parquet file"):
        list(read_rows(tmp_path / "x.parquet", Chain))
    write_rows(tmp_path / "y.parquet", Verdict, [])
    with pytest.raises(DataError, match="not Chain"):
        list(read_rows(tmp_path / "y.parquet", Chain))


PROBLEMS = {"p": Problem("p", "What is 2 + 3?", "number", "5"), "o": Problem("o", "Which?", "option", "B", choices=("sun", "moon"))}


def bring(tmp_path, rows, **options):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"fields": options.pop("fields", {}), "prefer": options.pop("prefer", "text")}
    chains, report = import_chains([path], problems=PROBLEMS, **given)
    return list(chains), report


def test_an_answer_in_words_stays_as_the_teacher_wrote_it(tmp_path):
    problem = Problem("c", "Which city?", "text", "washington d.c")
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"problem_id": "c", "text": "It lies there. The answer is Washington, D.C.", "teacher": "t"}))
    (chain,), _ = import_chains([path], problems={"c": problem}, fields={}, prefer="text")
    assert chain.answer == "Washington, D.C."
    assert compare(chain.answer, problem.golds, "text") is Outcome.CORRECT
    assert "So the answer is: Washington, D.C.\n" in PromptFormat().join_reply(chain.rationale, chain.answer, problem)


def test_the_text_comes_first_then_the_record_then_what_is_only_concluded(tmp_path):
    rows = [
        {"problem_id": "p", "text": "2 + 3 = 5. The answer is 5.", "answer": "6", "teacher": "t"},
        {"problem_id": "p", "text": "Take 2 and 3.", "answer": "5", "teacher": "t"},
        {"problem_id": "p", "text": "2 and 3 make 5.", "teacher": "t"},
        {"problem_id": "o", "text": "The sun is far.", "answer": "(b)", "teacher": "u"},
        {"problem_id": "o", "text": "The answer is (A) or (B).", "teacher": "u"},
        {"problem_id": "elsewhere", "text": "x", "teacher": "u"},
    ]
    chains, report = bring(tmp_path, rows)
    assert [(c.answer, c.layer) for c in chains] == [
        ("5", "marker"),
        ("5", "recorded"),
        ("5", "last_sentence"),
        ("B", "recorded"),
        (None, "marker"),
    ]
    assert [(c.problem, c.path) for c in chains] == [("p", 0), ("p", 1), ("p", 2), ("o", 0), ("o", 1)]
    assert [c.rationale for c in chains[:4]] == ["2 + 3 = 5.", "Take 2 and 3.", "2 and 3 make 5.", "The sun is far."]
    counted = report.to_json()
    assert counted["rows"] == 6
    assert counted["chains"] == 5
    assert counted["of unknown problems"] == 1
    assert counted["without an answer"] == 1
    assert counted["with the recorded answer"] == 2
    assert counted["teachers"] == {"t": 3, "u": 2}
    preferred, _ = bring(tmp_path, rows, prefer="recorded")
    assert (preferred[0].answer, preferred[0].layer) == ("6", "recorded")


def test_the_last_step_stays_in_the_rationale_where_the_recorded_answer_counts(tmp_path):
    working = "He has 10 - 2 = 8.\nAfter the cookies he has 8 - 3 = 5 left"
    rows = [{"problem_id": "p", "text": text, "answer": "5"} for text in (working, f"{working}. The answer is 5.")]
    chains, _ = bring(tmp_path, rows, prefer="recorded")
    assert [(c.answer, c.layer, c.rationale) for c in chains] == [("5", "recorded", working), ("5", "marker", f"{working}.")]


def test_fields_are_mapped_and_wrong_ones_named(tmp_path):
    chains, _ = bring(tmp_path, [{"q": "p", "completion": "The answer is 5."}], fields={"problem": "q", "text": "completion"})
    assert chains[0].answer == "5"
    with pytest.raises(DataError, match=r"c\.jsonl, line 2: no field 'text'.* for text; map it"):
        bring(tmp_path, [{"problem_id": "p", "text": "x"}, {"problem_id": "p", "completion": "x"}])
    with pytest.raises(DataError, match="unknown field 'txt'; did you mean 'text'"):
        bring(tmp_path, [{"problem_id": "p", "text": "x"}], fields={"txt": "x"})
    with pytest.raises(DataError, match="'maybe': must be stop, length or refused"):
        bring(tmp_path, [{"problem_id": "p", "text": "x", "finish": "maybe"}])


def test_an_imported_corpus_is_imported_again_the_same(tmp_path):
    chains, _ = bring(tmp_path, [{"problem_id": "p", "text": "The answer is 5."}, {"problem_id": "o", "text": "C"}])
    write_rows(tmp_path / "c.parquet", Chain, chains)
    again, report = import_chains([tmp_path / "c.parquet"], problems=PROBLEMS, fields={}, prefer="text")
    assert list(again) == chains
    assert report.rows == 2
