"""SVAMP: one- and two-step word problems, varied so that shallow reading fails (Patel et al. 2021, arXiv 2103.07191). MIT licence.

    {"ID": "chal-1", "Body": "A box of chalk costs 9 coins. There is a discount of 2 coins on each box", "Question": "How much do
     you pay for a box?", "Equation": "( 9.0 - 2.0 )", "Answer": 7.0, "Type": "Subtraction"}

Get: github.com/arkilpatel/SVAMP, SVAMP.json, or huggingface.co/datasets/ChilleD/SVAMP (the same fields, 700 train and 300 test; as
public code uses both). SVAMP.json, 1,000 problems, has no splits: `test` and `dev` problems are drawn by seed, and the rest is
train. From the hub's copy, `dev` problems are held out of train.
"""

from dataclasses import dataclass

from understudy.core.answers import numbers_used
from understudy.core.values import Problem
from understudy.tasks.data_sets import ALL, AtLeastOne, FilePatterns, PublishedRow, PublishedSet, hub


@dataclass(frozen=True)
class SVAMP(PublishedSet):
    """SVAMP: answers of kind ``number``. With the hub's copy, test is the published one."""

    dev: AtLeastOne = 100
    """The number of dev problems, drawn by seed."""
    test: AtLeastOne = 300
    """The number of test problems, drawn by seed, if none are published. The rest is train."""

    def layouts(self) -> list[FilePatterns]:
        return [{ALL: ["SVAMP.json"]}, hub(train="train", test="test")]

    def problem(self, row: PublishedRow) -> Problem:
        body, equation = row.text("Body"), row.text("Equation")
        return Problem(
            id=row.text("ID"),
            question=f"{body}{'' if body[-1] in '.?!,;' else '.'} {row.text('Question')}",
            kind="number",
            answer=row.gold(row.get("Answer"), "Answer", "number"),
            meta={"equation": equation, "type": row.text("Type"), "steps": max(1, len(numbers_used(equation)) - 1)},
        )
