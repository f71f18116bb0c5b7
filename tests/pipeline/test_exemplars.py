"""Exemplars are chosen by seed or given, and then are in no split that is sampled, trained on or evaluated."""

import json

import pytest

from understudy.core.errors import DataError, StudyError
from understudy.core.values import Problem
from understudy.pipeline.stages.problems import SPLIT, add_exemplars, choose_exemplars, make_pool
from understudy.studies.options import Exemplars

PROBLEMS = [
    Problem(f"p{i}", f"{i}?", "number", str(i), split="train" if i < 20 else "test", meta={"rationale": "r"} if i % 2 else {})
    for i in range(30)
]


def test_exemplars_are_training_problems_with_a_rationale_chosen_by_seed():
    marked = choose_exemplars(PROBLEMS, 4, seed=0)
    chosen = [p.id for p in marked if p.split == SPLIT]
    assert len(chosen) == 4
    assert all(int(name[1:]) < 20 and int(name[1:]) % 2 for name in chosen)
    assert [p.id for p in marked] == [p.id for p in PROBLEMS]
    assert chosen == [p.id for p in choose_exemplars(PROBLEMS, 4, seed=0) if p.split == SPLIT]
    assert chosen != [p.id for p in choose_exemplars(PROBLEMS, 4, seed=1) if p.split == SPLIT]


def test_one_more_question_changes_no_exemplar_but_where_it_is_one_itself():
    def chosen(problems):
        return {p.id for p in choose_exemplars(problems, 4, seed=0) if p.split == SPLIT}

    before = chosen(PROBLEMS)
    for i in range(100, 160):
        more = Problem(f"p{i}", f"{i}?", "number", str(i), split="train", meta={"rationale": "r"})
        after = chosen([*PROBLEMS[::-1], more])
        assert after == before or (more.id in after and len(after - before) == 1)


def test_too_few_rationales_are_an_error_that_says_what_to_do():
    with pytest.raises(StudyError, match=r"only 10 training problems.*exemplars.file"):
        choose_exemplars(PROBLEMS, 11, seed=0)


def test_exemplars_written_by_hand_come_from_a_file(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"question": "1 + 1?", "answer": 2, "rationale": "1 + 1 = 2."}) + "\n")
    options = Exemplars(file=str(path))
    pool = make_pool(add_exemplars(PROBLEMS, path, held_out=()), options)
    ((problem, chain),) = pool.exemplars(_path())
    assert (problem.id, problem.answer, chain.rationale, chain.teacher) == ("exemplar-1", "2", "1 + 1 = 2.", "human")
    path.write_text(json.dumps({"question": "1 + 1?", "answer": 2}) + "\n")
    with pytest.raises(DataError, match="no rationale"):
        add_exemplars(PROBLEMS, path, held_out=())


def test_exemplars_written_by_hand_are_read_as_the_answers_of_the_task_are_written(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"question": "When?", "answer": "03/04/2001", "rationale": "It is spring."}) + "\n")
    asked = Problem("p", "When was it?", "date", "1997-05-14", split="train", form="%d/%m/%Y")
    *_, exemplar = add_exemplars([asked], path, held_out=())
    assert (exemplar.answer, exemplar.form) == ("2001-04-03", "%d/%m/%Y")


def test_a_training_question_that_is_given_as_an_exemplar_leaves_training(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"question": " 3? ", "answer": 3, "rationale": "It is 3."}) + "\n")
    marked = add_exemplars(PROBLEMS, path, held_out=())
    assert {p.id for p in PROBLEMS} - {p.id for p in marked} == {"p3"}


def _path():
    from understudy.core.asks import SamplePath

    return SamplePath("p0")
