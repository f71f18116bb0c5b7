"""AQuA-RAT: algebra with five options and rationales (Ling et al. 2017, arXiv 1705.04146). Apache-2.0.

    {"question": "A shop sells a pen for $2 and makes 10% profit on it. What is the profit on 50 pens?", "options": ["A)10", "B)15",
     "C)20", "D)25", "E)30"], "rationale": "Profit per pen = 2 * 0.10 = 0.2\\nTotal = 50 * 0.2 = 10\\nAnswer is A.", "correct": "A"}

Get: github.com/google-deepmind/AQuA (train.json, dev.json, test.json, one object per line, as the loading script of `datasets`
reads them), or huggingface.co/datasets/deepmind/aqua_rat (raw). Splits as published: 97,467 train, 254 dev, 254 test.
"""

import re
from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.tasks.data_sets import FilePatterns, PublishedRow, PublishedSet, hub

_OPTION = re.compile(r"\s*\(?([A-E])\s*\)\s*(.*)", re.S)


@dataclass(frozen=True)
class AQuA(PublishedSet):
    """AQuA-RAT: answers of kind ``option``, with rationales."""

    def layouts(self) -> list[FilePatterns]:
        published = {split: [f"{split}.json", f"{split}.jsonl"] for split in ("train", "dev", "test")}
        return [published, hub("raw", train="train", dev="validation", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        options = row.get("options")
        matches = [_OPTION.fullmatch(option) for option in options if isinstance(option, str)] if isinstance(options, list) else []
        labelled = [match for match in matches if match]
        if not labelled or len(labelled) != len(options) or [match[1] for match in labelled] != list("ABCDE")[: len(labelled)]:
            raise row.wrong("options", 'must be a list like ["A)21", "B)22", ...]')
        correct = row.text("correct")
        if correct not in [match[1] for match in labelled]:
            raise row.wrong("correct", "must be the letter of an option")
        meta = {"rationale": rationale} if (rationale := row.get("rationale")) else {}
        return Problem("", row.text("question"), "option", correct, choices=tuple(m[2].strip() for m in labelled), meta=meta)
