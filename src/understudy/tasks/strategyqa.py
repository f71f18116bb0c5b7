"""StrategyQA: yes/no questions whose steps are implicit in the question (Geva et al. 2021, arXiv 2101.02235). MIT licence.

    {"qid": "e0", "term": "Penguin", "description": "Bird", "question": "Could a penguin see over a tall hedge?", "answer": false,
     "facts": ["A penguin is about 1 metre tall", "A tall hedge is 2 metres"], "decomposition": ["How tall is a penguin?", "How tall
     is a tall hedge?", "Is #1 more than #2?"], "evidence": [...]}

In a decomposition ``#1`` is the answer to the first question; those answers are not in the data. Facts are the rationale.

Get: allenai.org/data/strategyqa (strategyqa_train.json, 2,290 questions; strategyqa_test.json has no answers), the authors'
github.com/eladsegal/strategyqa, data/strategyqa (train.json, dev.json), or huggingface.co/datasets/ChilleD/StrategyQA (train,
test) and wics/strategy-qa (one split); fields as public code that reads them names them. Since the published test has no answers,
the authors' dev is test, and where that is not parted, `test` questions are drawn by seed; `dev` questions are held out of train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.core.values import Problem
from understudy.tasks.data_sets import ALL, Row, all_files, at_least_one, find, hold_out, hub, read


@dataclass(frozen=True)
class StrategyQA:
    """StrategyQA: answers of kind ``yes_no``. Test is the authors' dev, where that is parted from train."""

    root: str = "."
    """The directory that holds the set (docs/tasks.md), relative to the study file."""
    dev: int = 200
    """So many questions are held out of train by seed."""
    test: int = 229
    """So many questions, drawn by seed, where the authors' dev is not parted."""

    def __post_init__(self) -> None:
        at_least_one(dev=self.dev, test=self.test)

    def _found(self) -> dict[str, list[Path]]:
        parted = {"train": ["train.json"], "test": ["dev.json"]}
        return find(self.root, {ALL: ["strategyqa_train.json"]}, parted, hub(train="train", test="test"), hub(all="test"))

    def files(self) -> list[Path]:
        """What the problems are read from."""
        return all_files(self._found())

    def problems(self, *, seed: int) -> list[Problem]:
        """Every problem with its split. Raises DataError naming file, row and field."""
        return hold_out(read(self._found(), _problem, name="strategyqa"), seed=seed, dev=self.dev, test=self.test)


def _problem(row: Row) -> Problem:
    answer, facts, decomposition = row.get("answer"), row.get("facts"), row.get("decomposition") or []
    if not isinstance(answer, bool):
        raise row.wrong("answer", "must be true or false")
    if not isinstance(decomposition, list):
        raise row.wrong("decomposition", "must be a list of questions")
    meta = {
        "term": row.get("term"),
        "description": row.get("description"),
        "rationale": (" ".join(facts) if isinstance(facts, list) else facts or "").strip(),
        "subquestions": [{"question": question, "answer": None} for question in decomposition],
        "steps": len(decomposition),
    }
    meta = {name: value for name, value in meta.items() if value}
    return Problem(row.get("qid") or "", row.text("question"), "yes_no", "yes" if answer else "no", meta=meta)
