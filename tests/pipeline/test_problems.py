"""The problems stage freezes its splits as a list of ids that a study can name."""

import dataclasses
import json

import pytest
from here import perform

from understudy.core.errors import DataError, StudyError
from understudy.core.values import Problem
from understudy.pipeline.stages.problems import ProblemsStage, require_fields
from understudy.studies.options import Exemplars
from understudy.tasks.files import Files


def test_the_splits_that_a_study_drew_are_a_file_that_another_study_takes(tmp_path):
    rows = [{"id": f"q{i}", "question": f"What is {i}?", "answer": str(i), "rationale": "So."} for i in range(20)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Files("number", root=str(tmp_path), path="q.jsonl", sizes={"dev": 3, "test": 0.25})
    stage = ProblemsStage(
        name="files",
        task=task,
        files={},
        exemplars=Exemplars(n=2),
        seed=4,
        overlap="error",
        held_out=("test",),
        used=("dev",),
    )
    sizes = perform(stage, tmp_path).sizes
    assert {name: sizes[name] for name in ("train", "dev", "test")} == {"train": 10, "dev": 3, "test": 5}
    (splits,) = tmp_path.glob("stages/problems-*/splits.json")
    again = Files("number", root=str(tmp_path), path="q.jsonl", splits=str(splits)).problems(seed=99)
    assert again == task.problems(seed=4)


QUESTIONS = {
    "a": ("train", "Ann has 3 pears and buys 4 more of them."),
    "b": ("train", "Who sang?"),
    "c": ("dev", "Bob has 5 pears and buys 6 more of them."),
    "d": ("dev", "Who danced?"),
    "t": ("test", "Ann has 7 pears and buys 8 more of them."),
    "u": ("test", "Who slept?"),
}


def overlapping(tmp_path, questions, overlap):
    rows = [{"id": name, "question": question, "answer": "1"} for name, (_, question) in questions.items()]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = {split: [name for name, (own, _) in questions.items() if own == split] for split in ("train", "dev", "test")}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    task = Files("number", root=str(tmp_path), path="q.jsonl", splits="splits.json")
    return ProblemsStage(
        name="files", task=task, files={}, exemplars=Exemplars(), seed=0, overlap=overlap, held_out=("test",), used=("dev",)
    )


def test_a_task_of_a_plug_in_that_repeats_an_id_across_splits_is_refused(tmp_path):
    class Repeats:
        def problems(self, *, seed):
            return [Problem("1", "How many?", "number", "2", split=split) for split in ("train", "dev", "test")]

    stage = dataclasses.replace(overlapping(tmp_path, QUESTIONS, "error"), task=Repeats())
    with pytest.raises(
        DataError, match=r"1 id given more than once, first '1'; give each problem its own, e\.g\. task\.fields\.id"
    ):
        stage.prepare()


def test_near_questions_are_counted_and_listed_and_leave_training_where_that_is_asked_for(tmp_path):
    stage = overlapping(tmp_path, QUESTIONS, "error")
    summary = perform(stage, tmp_path)
    assert summary.sizes == {"train": 2, "dev": 2, "test": 2}
    near = "1 held-out question is near one outside (other numbers 1; t ~ a by other numbers)"
    assert summary.describe_near() == near
    listed = json.loads((stage.directory(tmp_path) / "near.json").read_text())
    assert listed == [{"held_out": "t", "outside": "a", "kind": "other numbers"}]
    dropping = perform(overlapping(tmp_path, QUESTIONS, "drop-near"), tmp_path)
    assert dropping.sizes == {"train": 1, "dev": 1, "test": 2}
    assert dropping.describe_near() == f"{near}; 2 outside were dropped"


@pytest.mark.parametrize(("limit", "stops"), [(0.49, True), (0.5, False), (0.0, True)])
def test_more_near_questions_than_the_study_allows_stop_it(tmp_path, limit, stops):
    stage = dataclasses.replace(overlapping(tmp_path, QUESTIONS, "error"), near_limit=limit)
    if not stops:
        assert perform(stage, tmp_path).near == 1
        return
    with pytest.raises(
        DataError, match=r"near_limit = .*: 1 of 2 held-out questions are near one outside \(t ~ a by other numbers"
    ):
        perform(stage, tmp_path)
    dropping = dataclasses.replace(stage, overlap="drop-near")
    assert perform(dropping, tmp_path).near_dropped == 2


def test_dropping_what_overlaps_may_not_empty_training(tmp_path):
    questions = {name: row for name, row in QUESTIONS.items() if name != "b"}
    with pytest.raises(DataError, match=r'study.overlap = "drop-near": no training problem is left'):
        perform(overlapping(tmp_path, questions, "drop-near"), tmp_path)


def test_exemplars_are_chosen_among_what_the_overlap_rule_leaves(tmp_path):
    rows = {f"r{i}": ("train", f"Who {word}?") for i, word in enumerate(["ran", "ate", "won", "fell"])}
    stage = overlapping(tmp_path, QUESTIONS | rows, "drop-near")
    task = dataclasses.replace(stage.task, path="with.jsonl")
    written = [json.loads(line) | {"rationale": "So."} for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    (tmp_path / "with.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    for seed in range(5):
        stage = dataclasses.replace(stage, task=task, exemplars=Exemplars(n=3), seed=seed)
        problems = stage.prepare().problems
        assert sum(problem.split == "exemplars" for problem in problems) == 3
        assert {"a", "c"}.isdisjoint(problem.id for problem in problems), "which are near a test question"


@pytest.mark.parametrize("overlap", ["error", "drop", "drop-near"])
def test_a_given_exemplar_is_never_dropped_and_may_not_be_asked(tmp_path, overlap):
    stage = overlapping(tmp_path, {name: row for name, row in QUESTIONS.items() if name in ("b", "d", "t", "u")}, overlap)
    given = tmp_path / "shown.jsonl"
    stage = dataclasses.replace(stage, exemplars=Exemplars(file=str(given)))
    given.write_text(json.dumps({"question": "Ann has 1 pears and buys 2 more of them.", "answer": "3", "rationale": "So."}))
    assert [problem.id for problem in stage.prepare().problems if problem.split == "exemplars"] == ["exemplar-1"]
    given.write_text(json.dumps({"question": "Who slept?", "answer": "3", "rationale": "So."}))
    with pytest.raises(DataError, match=r"exemplars\.file: exemplar-1 has the question of u, which is evaluated"):
        stage.prepare()


def test_a_field_that_evaluation_names_and_no_held_out_question_has_is_named(tmp_path):
    stage = dataclasses.replace(overlapping(tmp_path, QUESTIONS, "drop"), fields={"cluster": "pasage"})
    with pytest.raises(StudyError, match=r"evaluation\.cluster: no question that is evaluated has a field 'pasage'"):
        perform(stage, tmp_path)


def test_a_contrast_field_that_no_two_questions_share_is_refused_and_one_that_may_be_missing_is_not():
    problems = [Problem(str(i), "Who?", "text", "Ann", meta={"pair": pair, "own": i}) for i, pair in enumerate((0, 0, 1))]
    fields = {"contrast": "pair", "cluster": "own"}
    require_fields([*problems, Problem("x", "Who?", "text", "Ann")], fields)
    with pytest.raises(StudyError, match=r"evaluation\.contrast = 'own': no two evaluated questions share a value"):
        require_fields(problems, {"contrast": "own"})
