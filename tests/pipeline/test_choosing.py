"""Choosing a checkpoint by the answers to dev questions."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from understudy.core.errors import EngineError
from understudy.core.registry import find
from understudy.core.values import Problem
from understudy.engines.scripted import ScriptedEngine
from understudy.methods.scotd import SCoTD
from understudy.pipeline.stages import student
from understudy.sampling.pool import StudyPool


@pytest.mark.parametrize("fit", [3, 0])
def test_a_dev_question_that_cannot_be_asked_is_told_and_counts_as_not_answered(monkeypatch, fit):
    def script(request):
        if int(request.problem) >= fit:
            raise EngineError("the prompt has 621 tokens, the model's context only 128")
        return f" So the answer is: {request.problem if request.problem != '0' else 'many'}"

    monkeypatch.setattr(student, "open_student", lambda *_, **__: ScriptedEngine(script))
    dev = [Problem(str(i), f"What is {i}?", "number", str(i), split="dev") for i in range(4)]
    stage, told = SimpleNamespace(method=SCoTD(), answering=None, seed=0), []

    def score():
        check, pool = find("check", "answer"), StudyPool()
        return student.StudentStage._score(stage, dev, check, pool, lambda *facts: told.append(facts[-1]), Path("c"))

    if not fit:
        with pytest.raises(EngineError, match=r"choosing checkpoints on dev: .*621 tokens"):
            score()
        return
    assert score() == 2 / 4
    assert told == [
        "1 question cannot be asked; choosing checkpoints on dev: the prompt has 621 tokens, the model's context only 128"
    ]
