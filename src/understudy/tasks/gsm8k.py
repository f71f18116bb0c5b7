"""GSM8K: grade school mathematics in two to eight steps (Cobbe et al. 2021, arXiv 2110.14168). MIT licence.

    {"question": "Ana buys 12 pens and gives half of them to Ben. How many pens do they have altogether if Ben had 3?", "answer":
     "Ana gives Ben 12/2 = <<12/2=6>>6 pens.\\nBen has 3+6 = <<3+6=9>>9 pens.\\nThey have 6+9 = <<6+9=15>>15 pens.\\n#### 15"}

Socratic: each line of the answer is "How many pens does Ana give to Ben? ** Ana gives Ben 12/2 = <<12/2=6>>6 pens."

Get: github.com/openai/grade-school-math, grade_school_math/data (train.jsonl, test.jsonl, train_socratic.jsonl,
test_socratic.jsonl: read there), or huggingface.co/datasets/openai/gsm8k (main, socratic). Splits: 7,473 train, 1,319 test. There
is no dev split, so `dev` problems are held out of train, never of test.
"""

import re
from dataclasses import dataclass
from typing import Literal

from understudy.core.values import Problem
from understudy.tasks.data_sets import AtLeastOne, FilePatterns, PublishedRow, PublishedSet, hub

_MARK = re.compile(r"<<[^<>\n]*>>")


@dataclass(frozen=True)
class GSM8K(PublishedSet):
    """GSM8K: answers of kind ``number``, with rationales."""

    layout: Literal["plain", "socratic"] = "plain"
    """``socratic`` gives each problem its sub-questions."""
    marks: bool = False
    """Keep the calculator's marks, ``<<48/2=24>>``, in the rationales."""
    dev: AtLeastOne = 500
    """The number of problems held out of train by seed."""

    def layouts(self) -> list[FilePatterns]:
        end = "_socratic" if self.layout == "socratic" else ""
        published = {"train": [f"train{end}.jsonl"], "test": [f"test{end}.jsonl"]}
        return [published, hub("socratic" if end else "main", train="train", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        rationale, sign, answer = row.text("answer").rpartition("#### ")
        if not sign:
            raise row.wrong("answer", "must end with '#### ' and the answer")
        steps = [line.strip() for line in (rationale if self.marks else _MARK.sub("", rationale)).split("\n") if line.strip()]
        meta: dict[str, object] = {"steps": len(steps)}
        if self.layout == "socratic":
            pairs = [step.partition(" ** ") for step in steps]
            if not all(sign for _, sign, _ in pairs):
                raise row.wrong("answer", "must have 'sub-question ** step' on each line")
            meta["subquestions"] = [{"question": question, "answer": step} for question, _, step in pairs]
            steps = [step for _, _, step in pairs]
        meta["rationale"] = "\n".join(steps)
        return Problem("", row.text("question"), "number", row.gold(answer, "answer", "number"), meta=meta)
