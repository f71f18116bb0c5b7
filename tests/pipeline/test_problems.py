"""The problems stage freezes its splits as a list of ids that a study can name."""

import json

from here import perform

from understudy.pipeline.stages.problems import ProblemsStage
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
