"""StrategyQA: yes/no questions whose steps are implicit in the question (Geva et al. 2021, arXiv 2101.02235). MIT licence.

    {"qid": "e0", "term": "Penguin", "description": "Bird", "question": "Could a penguin see over a tall hedge?", "answer": false,
     "facts": ["A penguin is about 1 metre tall", "A tall hedge is 2 metres"], "decomposition": ["How tall is a penguin?", "How tall
     is a tall hedge?", "Is #1 more than #2?"], "evidence": [...]}

In a decomposition ``#1`` is the answer to the first question; the data do not have those answers. The facts are the rationale.

Get: allenai.org/data/strategyqa (strategyqa_train.json, 2,290 questions; strategyqa_test.json has no answers), the authors'
github.com/eladsegal/strategyqa, data/strategyqa (train.json, dev.json), or huggingface.co/datasets/ChilleD/StrategyQA (train,
test) and wics/strategy-qa (one split). The fields have the names that public code uses. The published test has no answers, so the
authors' dev is test. If that is not separate, `test` questions are drawn by seed. `dev` questions are held out of train.
"""

from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.tasks.data_sets import ALL, AtLeastOne, FilePatterns, PublishedRow, PublishedSet, hub


@dataclass(frozen=True)
class StrategyQA(PublishedSet):
    """StrategyQA: answers of kind ``yes_no``. Test is the authors' dev, if that is separate from train."""

    dev: AtLeastOne = 200
    """The number of questions held out of train by seed."""
    test: AtLeastOne = 229
    """The number of test questions, drawn by seed, if the authors' dev is not separate."""

    def layouts(self) -> list[FilePatterns]:
        separate = {"train": ["train.json"], "test": ["dev.json"]}
        return [{ALL: ["strategyqa_train.json"]}, separate, hub(train="train", test="test"), hub(all="test")]

    def problem(self, row: PublishedRow) -> Problem:
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
