"""ScienceQA: school science with lectures and explanations (Lu et al. 2022, arXiv 2209.09513). CC BY-NC-SA 4.0.

    {"4": {"question": "Which word names a colour?", "choices": ["run", "green"], "answer": 1, "hint": "", "image": null, "task":
     "closed choice", "grade": "grade2", "subject": "language science", "topic": "vocabulary", "category": "Words", "skill": "...",
     "lecture": "...", "solution": "Green is a colour. ...", "split": "test"}, ...}

The hint is the question's context, and the solution is the rationale. About half of the questions come with a picture, which no
student here can see. They are dropped.

Get: github.com/lupantech/ScienceQA, data/scienceqa (problems.json: one object, id -> question, as public code reads it), or
huggingface.co/datasets/derek-thomas/ScienceQA (one row per question, with the picture). Splits as published: 12,726 train, 4,241
val (dev here), 4,241 test, with pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.core.errors import DataError
from understudy.core.values import Problem
from understudy.corpus.directories import read_json
from understudy.tasks.data_sets import ALL, FilePatterns, PublishedRow, PublishedSet, hub

_SPLITS = {"train": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class ScienceQA(PublishedSet):
    """ScienceQA: answers of kind ``option``. The hint is the context."""

    pictures: bool = False
    """Keep the questions with a picture, without the picture."""

    def layouts(self) -> list[FilePatterns]:
        return [{ALL: ["problems.json", "data/scienceqa/problems.json"]}, hub(train="train", dev="validation", test="test")]

    def rows(self) -> Iterator[tuple[str, PublishedRow]]:
        """Yield (split, row) for every question."""
        files = self.find_files()
        return _read_table(files[ALL][0]) if ALL in files else super().rows()

    def problem(self, row: PublishedRow) -> Problem | None:
        if row.get("image") is not None and not self.pictures:
            return None
        choices = row.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
            raise row.wrong("choices", "must be a list of texts")
        meta = {name: value for name in ("subject", "topic", "category", "skill", "grade", "lecture") if (value := row.get(name))}
        meta |= {"rationale": solution} if (solution := row.get("solution")) else {}
        return Problem(
            id=row.get("id") or "",
            question=row.text("question"),
            kind="option",
            answer=row.letter("answer", len(choices)),
            choices=tuple(choices),
            context=(row.get("hint") or "").strip(),
            meta=meta,
        )


def _read_table(path: Path) -> Iterator[tuple[str, PublishedRow]]:
    """Yield (split, row) for every question in problems.json."""
    table = read_json(path)
    if not all(isinstance(values, dict) for values in table.values()):
        raise DataError(f"{path}: must be one object, id -> question")
    for name, values in table.items():
        row = PublishedRow({"id": name, **values}, f"{path}, problem {name}")
        if values.get("split") not in _SPLITS:
            raise row.wrong("split", f"must be one of {', '.join(_SPLITS)}")
        yield _SPLITS[values["split"]], row
