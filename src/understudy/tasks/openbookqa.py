"""OpenBookQA: elementary science, four options, an open book of facts (Mihaylov et al. 2018, arXiv 1809.02789). The data state no
licence.

    {"id": "7-1", "question": {"stem": "A puddle is gone at noon because the water", "choices": [{"text": "froze", "label": "A"},
     {"text": "evaporated", "label": "B"}, {"text": "burned", "label": "C"}, {"text": "rusted", "label": "D"}]}, "answerKey": "B"}

Get: allenai.org/data/open-book-qa, OpenBookQA-V1-Sep2018/Data (Main/train.jsonl, dev.jsonl, test.jsonl; Additional has the same as
train_complete.jsonl with "fact1", the fact of the book that the question is about), or huggingface.co/datasets/allenai/openbookqa
(main and additional; question_stem, choices as lists of labels and texts; as public code reads them). Splits as published: 4,957
train, 500 dev, 500 test.
"""

from dataclasses import dataclass
from typing import Literal

from understudy.core.values import Problem
from understudy.tasks.data_sets import FilePatterns, PublishedRow, PublishedSet, hub


@dataclass(frozen=True)
class OpenBookQA(PublishedSet):
    """OpenBookQA: answers of kind ``option``."""

    part: Literal["main", "additional"] = "main"
    """``additional`` also has the fact of each question, which goes to ``meta`` and is shown to nobody."""

    def layouts(self) -> list[FilePatterns]:
        folder, end = ("Main", "") if self.part == "main" else ("Additional", "_complete")
        prefixes = (f"Data/{folder}/", f"{folder}/", "")
        published = {split: [f"{prefix}{split}{end}.jsonl" for prefix in prefixes] for split in ("train", "dev", "test")}
        return [published, hub(self.part, train="train", dev="validation", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        return row.labelled_question(fact="fact1")
