"""QuaRel: stories about qualitative relations, two options (Tafjord et al. 2019, arXiv 1811.08048). The hub's card states no
licence.

    {"id": "QuaRel_V1_1", "answer_index": 0, "logical_forms": [...], "logical_form_pretty": "qrel(smoothness, higher, world1) ...",
     "world_literals": {...}, "question": "A sled goes over ice and then over grass. Where is it faster? (A) ice (B) grass"}

The question contains the options, at its end or within its last sentence. They stay there, as SCoTD shows them, and are
``choices`` too: what follows "(A)" up to "(B)", and what follows that.

Get: allenai.org/data/quarel, quarel-dataset-v1 (quarel-v1-train.jsonl, -dev, -test), or a copy on the hub with the same fields
(the loading script of `datasets` reads both). Splits as published: 1,941 train, 278 dev, 552 test.
"""

import re
from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.tasks.data_sets import FilePatterns, PublishedRow, PublishedSet, hub

_OPTIONS = re.compile(r"\(A\)(?P<a>.+?)(?:[\s,;]+or)?[\s,;]*\(B\)(?P<b>.+)", re.S)


@dataclass(frozen=True)
class QuaRel(PublishedSet):
    """QuaRel: answers of kind ``option``. The options stay in the question."""

    def layouts(self) -> list[FilePatterns]:
        published = {split: [f"quarel-v1-{split}.jsonl"] for split in ("train", "dev", "test")}
        return [published, hub(train="train", dev="validation", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        question = row.text("question")
        match = _OPTIONS.search(question)
        if match is None:
            raise row.wrong("question", "must have its options (A) and (B)")
        choices = tuple(match[name].strip().rstrip(".?!").strip() for name in ("a", "b"))
        meta = {"logical_form": form} if (form := row.get("logical_form_pretty")) else {}
        return Problem(row.get("id") or "", question, "option", row.letter("answer_index", 2), choices=choices, meta=meta)
