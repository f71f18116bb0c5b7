"""ARC: science exam questions, easy and challenge (Clark et al. 2018, arXiv 1803.05457). CC BY-SA 4.0.

    {"id": "Mercury_1", "question": {"stem": "What does a plant need to make food?", "choices": [{"text": "light", "label": "A"},
     {"text": "sound", "label": "B"}, {"text": "salt", "label": "C"}, {"text": "wind", "label": "D"}]}, "answerKey": "A"}

Some questions label their options A to E, others 1 to 5. In both cases the answer here is the letter of the option's position.

Get: allenai.org/data/arc, ARC-V1-Feb2018-2 (ARC-Easy/ARC-Easy-Train.jsonl, ...-Dev.jsonl, ...-Test.jsonl, and the same for
ARC-Challenge; the layout that its public readers use), or huggingface.co/datasets/allenai/ai2_arc (the question is a text, the
choices are lists of labels and texts). Splits as published: 2,251 / 570 / 2,376 easy, 1,119 / 299 / 1,172 challenge.
"""

from dataclasses import dataclass
from typing import Literal

from understudy.core.values import Problem
from understudy.tasks.data_sets import FilePatterns, PublishedRow, PublishedSet, hub


@dataclass(frozen=True)
class ARC(PublishedSet):
    """ARC: answers of kind ``option``."""

    part: Literal["easy", "challenge"] = "easy"
    """Which of the two sets to use."""

    @property
    def prefix(self) -> str:
        return f"arc-{self.part}"

    def layouts(self) -> list[FilePatterns]:
        name = f"ARC-{self.part.capitalize()}"
        names = (("train", "Train"), ("dev", "Dev"), ("test", "Test"))
        published = {split: [f"{name}/{name}-{label}.jsonl", f"{name}-{label}.jsonl"] for split, label in names}
        return [published, hub(name, train="train", dev="validation", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        return row.labelled_question()
