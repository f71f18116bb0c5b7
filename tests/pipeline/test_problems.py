"""The problems stage freezes its splits as a list of ids that a study can name."""

import json

from understudy.core.protocols import silent
from understudy.pipeline.stages.problems import run
from understudy.tasks.files import Files


def test_the_splits_that_a_study_drew_are_a_file_that_another_study_takes(tmp_path):
    rows = [{"id": f"q{i}", "question": f"What is {i}?", "answer": str(i), "rationale": "So."} for i in range(20)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"kind": "number", "root": str(tmp_path), "path": "q.jsonl", "sizes": {"dev": 3, "test": 0.25}}
    arguments = {
        "task": "files",
        "options": options,
        "seed": 4,
        "used": ["dev"],
        "held_out": ["test"],
        "overlap": "error",
        "exemplars": {"n": 2},
    }
    says = run(tmp_path, {}, arguments, silent)
    assert {name: says[f"in {name}"] for name in ("train", "dev", "test")} == {"train": 10, "dev": 3, "test": 5}
    drawn = Files("number", root=str(tmp_path), path="q.jsonl", sizes=options["sizes"]).problems(seed=4)
    again = Files("number", root=str(tmp_path), path="q.jsonl", splits="splits.json").problems(seed=99)
    assert again == drawn
